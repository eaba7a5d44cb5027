"""Robust accuracy in given balls, by an ensemble of attacks: Croce and Hein 2020."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from predictive_model.randomness import seeded
from regularized_training.networks.v1 import noise_of
from regularized_training.robustness.attacks import without_parameter_gradients
from regularized_training.robustness.autoattack.apgd import apgd
from regularized_training.robustness.autoattack.asked import (
    AskedNetwork,
    Loss,
    cross_entropy,
    likeliest_others,
    targeted_dlr,
)
from regularized_training.robustness.autoattack.config import AttackName, AutoAttackConfig
from regularized_training.robustness.autoattack.fab import fab
from regularized_training.robustness.autoattack.geometry import size
from regularized_training.robustness.autoattack.square import square
from regularized_training.robustness.pgd import unit_starts
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.chosen_images import chosen_images, evaluating, in_batches

STREAMS = 10_000  # of random starts that one seed has
ROUNDING = 1e-4  # by which a perturbation may be longer than its ball's radius, as a share of it


@dataclass(frozen=True, eq=False)
class RobustAccuracy:
    """In which of the balls each image was fooled, and by which attack.

    Attributes
    ----------
    index : (n,) int64
        Numbers of the images.
    epsilons : tuple of float
        Radii of the balls, rising.
    attacks : tuple of str
        Those that were run, in their order: of networks with two classes ``apgd_t`` is not, since
        the ratio of its loss is constant there.
    n_targets : int
        Classes that targeted attacks aimed at.
    smallest : (n,) int64
        Place of the smallest ball in which the image was fooled; -1 for one that is misclassified
        as it is, and the number of balls for one that withstood all.
    first : (n,) int64
        Which attack was the first to fool it there; -1 where none did or had to.
    """

    index: NDArray[np.int64]
    epsilons: tuple[float, ...]
    attacks: tuple[AttackName, ...]
    n_targets: int
    smallest: NDArray[np.int64]
    first: NDArray[np.int64]

    @property
    def clean_accuracy(self) -> float:
        """Share of images that are classified correctly without an attack."""
        return float((self.smallest >= 0).mean())

    def accuracy(self, place: int) -> float:
        """Robust accuracy: share of images that no attack fools in this ball."""
        return float((self.smallest > place).mean())

    def first_fooled(self, place: int, attack: AttackName) -> int:
        """How many of the images fooled in this ball, or a smaller one, this attack fooled first.

        Over the attacks they sum to all that are fooled, without those misclassified as they are.
        """
        number = self.attacks.index(attack)
        return int(((self.smallest <= place) & (self.first == number)).sum())


def robust_accuracy(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    config: AutoAttackConfig,
    device: str | torch.device = "cpu",
) -> RobustAccuracy:
    """Attack images in balls of different radii, by one attack after the other.

    An image that one attack has fooled is not attacked again, and counts as fooled in all larger
    balls too, since it lies in them. What an attack reports is looked at again: whether it lies in
    the ball, and whether the network, asked anew, is wrong about it.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; moved to `device` and left in the mode it came in.
    images : (m, channels, height, width) uint8
    labels : (m,) int64
    config : AutoAttackConfig
    device : str or torch.device

    Raises
    ------
    ValueError
        If images and labels do not fit together, are fewer than asked for, or the network answers
        with a single class, or with too few for all attacks that were asked for.
    """
    n = None if config.n_images == "all" else config.n_images
    chosen = chosen_images(images, labels, n, config.seed)
    asked = AskedNetwork(network, config.eot)
    with (
        evaluating(network, device),
        without_parameter_gradients(network),
        seeded(config.seed, device),
        noise_of(network, config.noise, config.seed),
    ):
        n_classes = _n_classes(asked, images[chosen[:1]], device)
        attacks = _possible(config.attacks, n_classes)
        found = []
        for part in in_batches(chosen, config.batch_size):
            x = to_float(torch.from_numpy(images[part]).to(device))
            y = torch.from_numpy(labels[part]).to(device)
            found.append(_Batch(asked, x, y, part, config).attacked(attacks))
    smallest, first = (np.concatenate(part) for part in zip(*found, strict=True))
    return RobustAccuracy(
        index=chosen,
        epsilons=config.epsilons,
        attacks=attacks,
        n_targets=min(config.n_targets, n_classes - 1),
        smallest=smallest,
        first=first,
    )


def _n_classes(network: AskedNetwork, image: NDArray[np.uint8], device: str | torch.device) -> int:
    logits = network.logits(to_float(torch.from_numpy(image).to(device)))
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"network: answers of shape {tuple(logits.shape)} to one image, expected (1, classes) "
            "with at least two classes"
        )
    return int(logits.shape[1])


def _possible(attacks: tuple[AttackName, ...], n_classes: int) -> tuple[AttackName, ...]:
    possible = tuple(name for name in attacks if n_classes > 2 or name != "apgd_t")
    if not possible:
        raise ValueError(
            f"attacks: {attacks}, which needs three classes, of a network with {n_classes}; ask "
            "for apgd_ce, fab_t or square"
        )
    return possible


class _Batch:
    """Images that are attacked together."""

    def __init__(
        self,
        network: AskedNetwork,
        x: Tensor,
        y: Tensor,
        index: NDArray[np.int64],
        config: AutoAttackConfig,
    ) -> None:
        self.network, self.x, self.y, self.index, self.config = network, x, y, index, config
        logits = network.logits(x)
        self.right = (logits.argmax(1) == y).cpu().numpy()
        self.targets = likeliest_others(logits, y, config.n_targets)
        # FAB looks for the closest image whatever the ball, so that one answer serves for all.
        self.closest = x.clone()
        self.looked = np.zeros(self.targets.shape, bool)

    def attacked(
        self, attacks: tuple[AttackName, ...]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Place of the smallest ball that holds an adversarial image, and who found it, (n,)."""
        smallest = np.where(self.right, len(self.config.epsilons), -1)
        first = np.full(len(smallest), -1)
        for place, epsilon in enumerate(self.config.epsilons):
            for number, attack in enumerate(attacks):
                targeted = attack in ("apgd_t", "fab_t")
                for target in range(self.targets.shape[1] if targeted else 1):
                    rows = np.flatnonzero(smallest > place)
                    if not len(rows):
                        return smallest, first
                    made = self._made(attack, rows, target, epsilon)
                    fooled = rows[self._fooled(made, rows, epsilon)]
                    smallest[fooled], first[fooled] = place, number
        return smallest, first

    def _fooled(self, made: Tensor, rows: NDArray[np.int64], epsilon: float) -> NDArray[np.bool_]:
        """Which images lie in their balls, can be shown, and are misclassified."""
        inside = size(made - self.x[rows], self.config.norm) <= epsilon * (1 + ROUNDING)
        shown = ((made >= 0) & (made <= 1)).flatten(1).all(1)
        wrong = self.network.logits(made).argmax(1) != self.y[rows]
        return (inside & shown & wrong).cpu().numpy()

    def _made(
        self, attack: AttackName, rows: NDArray[np.int64], target: int, epsilon: float
    ) -> Tensor:
        """What one attack makes of some images, at one target."""
        if attack == "fab_t":
            return self._closest(rows, target, epsilon)
        x, y, index, config = self.x[rows], self.y[rows], self.index[rows], self.config
        if attack == "square":
            return square(
                self.network, x, y, index,
                norm=config.norm, epsilon=epsilon, queries=config.queries, seed=config.seed,
            )  # fmt: skip
        aimed = self.targets[rows, target]

        def loss(some: Tensor) -> Loss:
            if attack == "apgd_ce":
                return cross_entropy(y[some])
            return targeted_dlr(y[some], aimed[some])

        stream = 0 if attack == "apgd_ce" else 1 + target
        seed = STREAMS * config.seed + stream
        start = unit_starts(index, tuple(x.shape[1:]), seed, config.norm).to(x)
        return apgd(
            self.network, x, y, loss, start, norm=config.norm, epsilon=epsilon, steps=config.steps
        )

    def _closest(self, rows: NDArray[np.int64], target: int, epsilon: float) -> Tensor:
        """What FAB has found so far, at this target and those before."""
        new = rows[~self.looked[rows, target]]
        if len(new):
            x, y = self.x[new], self.y[new]
            norm, steps = self.config.norm, self.config.steps
            made = fab(
                self.network, x, y, self.targets[new, target],
                norm=norm, steps=steps, enough=epsilon,
            )  # fmt: skip
            before = size(self.closest[new] - x, norm)
            now = size(made - x, norm)
            closer = (now > 0) & ((before == 0) | (now < before))
            self.closest[new] = torch.where(closer.view(-1, 1, 1, 1), made, self.closest[new])
            self.looked[new, target] = True
        return self.closest[rows]
