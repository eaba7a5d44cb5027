"""How well the brain's responses to held-out stimuli are predicted from a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas.base import Found
from schemas.evaluations.base import Settings, Subject
from schemas.evaluations.judged import Judged
from schemas.teacher_plan import ScanGroup, TeacherConfig  # noqa: F401 - named in definitions
from schemas.teaching import Teacher  # noqa: F401 - likewise
from schemas.training import ImageSet

if TYPE_CHECKING:
    from torch import nn

    from regularized_training.networks.config import NetworkConfig as NetworkSettings


class NeuralPrediction(
    Judged,
    name="neural_prediction",
    plan="NeuralPredictionPlan",
    settings=Settings(
        model="regularized_training.alignment.prediction:PredictionConfig",
        entry="neural_prediction",
        table="NeuralPredictionConfig",
        columns={"layer": ("varchar(255)", lambda s: s.layer)},
    ),
):
    """Correlation of a teacher's responses with what a layer's readout predicts of them.

    The readout is fitted to the trained network on the stimuli that the teacher does not hold out,
    and judged on the others, whatever the network was taught: so all are judged alike.
    """

    judged_by = "responses"
    judges_what = "predicts what is said by"
    result = """
        correlation  : float64          # mean over neurons
        n_neurons    : int32
        n_compared   : int32            # stimuli
        correlations : <npy@main>       # (neuron,) float32
    """

    @classmethod
    def check_network(
        cls, settings: Any, network: NetworkSettings, built: nn.Module | None = None
    ) -> None:
        """Raise a ValueError if a network lacks the layer."""
        from regularized_training.networks.compared import compared_layers

        compared_layers(network, (settings.layer,), built=built)

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Predict from one network."""
        import numpy as np

        from regularized_training.alignment.prediction import neural_prediction

        key = subject.key
        judge = self.judge(key)
        assert judge.says == "responses", "only such are planned as judges"
        channels = (ImageSet & key).fetch1("channels")
        found = neural_prediction(
            subject.network, judge, settings, n_channels=channels, device=device
        ).single_trial
        return Found(
            {
                "correlation": float(found.mean()),
                "n_neurons": len(found),
                "n_compared": len(judge.held_out),
                "correlations": found.astype(np.float32),
            }
        )


NeuralPredictionConfig, NeuralPredictionPlan = NeuralPrediction.Config, NeuralPrediction.Plan
