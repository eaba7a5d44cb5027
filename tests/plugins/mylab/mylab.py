"""A network, a control teacher and an evaluation with a figure, of another laboratory."""

import numpy as np

from pipeline.figures.drawing import new_figure
from pipeline.results.frames import ORDER, network_frame, over_seeds, sort_frame
from pipeline.results.registry import Drawing, Result, register
from predictive_model.config import Config
from schemas.base import Found
from schemas.evaluations.base import Evaluation, Settings


def mylab_net(n_channels, n_classes, *, width=8):
    from torch import nn

    area = nn.Sequential(nn.Conv2d(n_channels, width, 3, padding=1), nn.ReLU())
    return nn.Sequential(area, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, n_classes))


def brightness(stimuli, seed):
    mean = stimuli.reshape(len(stimuli), -1).mean(1, dtype=float)
    far = np.abs(mean[:, None] - mean)
    return 1 - 2 * far / far.max()


class FlipConfig(Config):
    n_images: int = 20


class FlipAgreement(
    Evaluation, name="flips", plan="FlipPlan", settings=Settings("mylab:FlipConfig", "flips")
):
    """Share of test images whose mirror image gets the same answer."""

    result = "agreement : float64"

    def evaluate(self, subject, settings, device):
        from regularized_training.analysis.errors import answers_of

        images = subject.images[: settings.n_images]
        both = [answers_of(subject.network, x, device) for x in (images, images[..., ::-1].copy())]
        return Found({"agreement": float((both[0] == both[1]).mean())})


def flips(selection):
    frame = network_frame(FlipAgreement(), FlipAgreement.Plan, selection, ["agreement"])
    return sort_frame(over_seeds(frame, ["agreement"]), ORDER)


def figure(selection):
    drawn = new_figure((4, 3))
    drawn.subplots().bar(*RESULT.frame(selection)[["teacher", "agreement"]].to_numpy().T)
    return drawn


SHOWN = {"flips": Drawing(figure, "agreement on mirror images")}
RESULT = Result("flips", "Mirror images", "Same answers?", flips, evaluation="flips", figures=SHOWN)
register(RESULT)
