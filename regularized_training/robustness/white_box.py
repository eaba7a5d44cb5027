"""Accuracy under weak projected gradient descent in three norms: Dapello et al. 2020."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from predictive_model.randomness import seeded
from regularized_training.networks.v1 import noise_of
from regularized_training.robustness.attacks import without_parameter_gradients
from regularized_training.robustness.autoattack.asked import AskedNetwork
from regularized_training.robustness.autoattack.config import BallNorm
from regularized_training.robustness.foolbox_compat import foolbox
from regularized_training.robustness.pgd import attack_in_balls, unit_starts
from regularized_training.robustness.white_box_config import WhiteBoxConfig
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.chosen_images import chosen_images, evaluating, in_batches


@dataclass(frozen=True, eq=False)
class WhiteBoxAccuracy:
    """Which images a network classifies correctly, without and under each attack.

    Attributes
    ----------
    index : (n,) int64
        Numbers of the images.
    norms : tuple of str
    strengths : tuple of float
    radii : (norm, strength) float64
        Of the balls, of images of this size.
    right : (n,) bool
        Without an attack.
    withstood : (norm, strength, n) bool
        Under it; an image that is misclassified as it is has not withstood.
    varies : bool
        Whether the network says something else of the same image in another pass: it has noise of
        its own, by which the measured accuracies are a matter of chance.
    """

    index: NDArray[np.int64]
    norms: tuple[BallNorm, ...]
    strengths: tuple[float, ...]
    radii: NDArray[np.float64]
    right: NDArray[np.bool_]
    withstood: NDArray[np.bool_]
    varies: bool

    @property
    def clean_accuracy(self) -> float:
        """Without an attack."""
        return float(self.right.mean())

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Under each attack, (norm, strength)."""
        accuracy: NDArray[np.float64] = self.withstood.mean(-1)
        return accuracy

    @property
    def mean_accuracy(self) -> NDArray[np.float64]:
        """White-box accuracy of Dapello et al. 2020, (strength,): the mean over the norms."""
        mean: NDArray[np.float64] = self.accuracy.mean(0)
        return mean


def white_box_accuracy(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    config: WhiteBoxConfig,
    device: str | torch.device = "cpu",
) -> WhiteBoxAccuracy:
    """Attack images by untargeted projected gradient descent in each ball.

    Images that are misclassified as they are count as such, and are not attacked. Each ball is
    attacked by itself, so that accuracy in a larger one is not bound to be lower.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; moved to `device` and left in the mode it came in.
    images : (m, channels, height, width) uint8
    labels : (m,) int64
    config : WhiteBoxConfig
    device : str or torch.device

    Raises
    ------
    ValueError
        If images and labels do not fit together, are fewer than asked for, or an L-inf ball is
        larger than 1.
    """
    n = None if config.n_images == "all" else config.n_images
    chosen = chosen_images(images, labels, n, config.seed)
    height, width = images.shape[2:]
    norms = tuple(config.radii)
    radii = np.array(
        [[config.radius(norm, s, height, width) for s in config.strengths] for norm in norms]
    )
    right, withstood = [], []
    with (
        evaluating(network, device),
        without_parameter_gradients(network),
        seeded(config.seed, device),
        noise_of(network, config.noise, config.seed),
    ):
        model = foolbox.PyTorchModel(network, bounds=(0, 1), device=torch.device(device))
        first = to_float(torch.from_numpy(images[chosen[:16]]).to(device))
        varies = _varies(network, first)
        eot = config.eot if varies else 1  # the mean of equal passes is one of them
        asked = AskedNetwork(network, eot)
        for part in in_batches(chosen, config.batch_size):
            x = to_float(torch.from_numpy(images[part]).to(device))
            y = torch.from_numpy(labels[part]).to(device)
            correct = asked.logits(x).argmax(1) == y
            stands = np.zeros((*radii.shape, len(part)), bool)
            of_batch = correct.cpu().numpy()
            if of_batch.any():
                stands[..., of_batch] = _attacked(
                    model, x[correct], y[correct], part[of_batch], norms, radii, config, eot
                )
            right.append(of_batch)
            withstood.append(stands)
    return WhiteBoxAccuracy(
        index=chosen,
        norms=norms,
        strengths=config.strengths,
        radii=radii,
        right=np.concatenate(right),
        withstood=np.concatenate(withstood, axis=-1),
        varies=varies,
    )


def _varies(network: nn.Module, x: Tensor) -> bool:
    """Whether two passes differ by more than rounding does."""
    with torch.no_grad():
        first, second = network(x), network(x)
    return not torch.allclose(first, second, rtol=1e-3, atol=1e-5)


def _attacked(
    model: foolbox.PyTorchModel,
    x: Tensor,
    y: Tensor,
    index: NDArray[np.int64],
    norms: tuple[BallNorm, ...],
    radii: NDArray[np.float64],
    config: WhiteBoxConfig,
    eot: int,
) -> NDArray[np.bool_]:
    """Which images are classified correctly in each of the balls, (norm, strength, n)."""
    shape, stands = tuple(x.shape[1:]), np.zeros((*radii.shape, len(x)), bool)
    for i, norm in enumerate(norms):
        start = None
        if config.random_start:
            start = unit_starts(index, shape, config.seed, norm).to(x.device)
        for j, radius in enumerate(radii[i]):
            sizes = torch.full((len(x),), float(radius), device=x.device)
            _, fooled = attack_in_balls(
                model,
                x,
                y,
                sizes,
                norm=norm,
                step_size=config.step_size * sizes,
                steps=config.steps,
                start=start,
                eot=eot,
            )
            stands[i, j] = ~fooled.cpu().numpy()
    return stands
