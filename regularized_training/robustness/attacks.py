"""Minimal adversarial perturbations, found by Foolbox: Fig. 5 of Li et al. 2019."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from predictive_model.scoring.bootstrap import percentile_intervals
from regularized_training.robustness.attack_config import AttackConfig
from regularized_training.robustness.boundary_attacks import (
    L0BoundaryAttack,
    L1BoundaryAttack,
    L2BoundaryAttack,
    LinfBoundaryAttack,
)
from regularized_training.robustness.foolbox_compat import foolbox
from regularized_training.robustness.pgd import attack_in_balls, unit_starts
from regularized_training.robustness.queries import QueryCount, counted
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.chosen_images import chosen_images, evaluating, in_batches

BOUNDARY_ATTACKS: dict[str, Any] = {
    "L2": L2BoundaryAttack,
    "Linf": LinfBoundaryAttack,
    "L1": L1BoundaryAttack,
    "L0": L0BoundaryAttack,
}
DISTANCES = {
    "L2": foolbox.distances.l2,
    "Linf": foolbox.distances.linf,
    "L1": foolbox.distances.l1,
    "L0": foolbox.distances.l0,
}
LEVELS_AN_OCTAVE = 8  # of the sizes that PGD tries, so that a minimum is known to 9 %
OCTAVES = 14  # below the largest perturbation
STARTS = 512  # images among which a starting point is looked for


@dataclass(frozen=True, eq=False)
class AdversarialDistances:
    """How small a perturbation fools a network, image by image.

    Attributes
    ----------
    index : (n,) int64
        Numbers of the images.
    distance : (n,) float64
        Of the closest adversarial image found: 0 for one that is misclassified as it is, infinity
        where the attack failed.
    queries : (n,) int64
        How often the network was asked about the image, with or without a gradient. Finding
        starting points is not counted.
    curve_queries : (q,) int64
        Rising numbers of queries, over all step sizes and numbers of iterations.
    curve : (q, n) float64
        Distance reached after each number of queries. In which order step sizes and numbers of
        iterations are listed does not count: those of the boundary attack take turns, a query
        each; PGD goes from the longest step to the shortest, and with each from the fewest
        iterations to the most, since what is found by one only has to be beaten by the next.
    """

    index: NDArray[np.int64]
    distance: NDArray[np.float64]
    queries: NDArray[np.int64]
    curve_queries: NDArray[np.int64]
    curve: NDArray[np.float64]

    @property
    def misclassified(self) -> NDArray[np.bool_]:
        """(n,) bool: no attack was needed."""
        return self.distance == 0

    @property
    def failed(self) -> NDArray[np.bool_]:
        """(n,) bool: no adversarial image was found."""
        return np.isinf(self.distance)

    def median(self, *, correct_only: bool = False) -> float:
        """Median minimal distance; failed attacks count as infinitely far.

        Parameters
        ----------
        correct_only : bool
            Leave out images that are misclassified as they are, which the paper counts as 0: the
            median then does not fall with a network's accuracy. NaN if none is left.
        """
        return _median(self.distance[~self.misclassified] if correct_only else self.distance)

    def median_interval(
        self, *, correct_only: bool = False, confidence: float = 0.95
    ) -> tuple[float, float]:
        """Bootstrap interval of :meth:`median` over images; NaN where it is undefined."""
        d = self.distance[~self.misclassified] if correct_only else self.distance
        if len(d) < 2:
            return float("nan"), float("nan")
        # Infinity would count as undefined; a number beyond all others keeps the order.
        beyond = 2 * d[np.isfinite(d)].max(initial=1.0)
        finite = np.where(np.isinf(d), beyond, d)
        low, high = percentile_intervals(
            lambda drawn: np.median(finite[drawn]), len(d), confidence=confidence
        )[0]
        largest = d[np.isfinite(d)].max(initial=0.0)
        # An end beyond every distance there is lies among the images that withstood.
        return tuple(float("inf") if end > largest else float(end) for end in (low, high))  # type: ignore[return-value]


def adversarial_distances(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    config: AttackConfig,
    device: str | torch.device = "cpu",
) -> AdversarialDistances:
    """Smallest adversarial perturbation that an attack finds for each image.

    The attacks are Foolbox's own. What is added: starting points that are images of the set; the
    trust region of the boundary attack is that of a single image whatever the batch, where
    Foolbox's grows with it; PGD is asked about ever smaller balls, of a size of its own for each
    image; images that are misclassified as they are, or for which no starting point exists, are
    left out instead of ending the whole batch; parameters need no gradients meanwhile, which halves
    the time.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; moved to `device` and left in the mode it came in.
    images : (m, channels, height, width) uint8
    labels : (m,) int64
    config : AttackConfig
    device : str or torch.device

    Raises
    ------
    ValueError
        If images and labels do not fit together, or are fewer than asked for.
    """
    n = None if config.n_images == "all" else config.n_images
    chosen = chosen_images(images, labels, n, config.seed)
    with evaluating(network, device), without_parameter_gradients(network):
        attack = _Attack(network, images, labels, config, device)
        counts = [attack.run(part) for part in in_batches(chosen, config.batch_size)]
    points = _query_grid(max(int(count.queries.max()) for count in counts))
    return AdversarialDistances(
        index=chosen,
        distance=np.concatenate([count.best for count in counts]),
        queries=np.concatenate([count.queries for count in counts]),
        curve_queries=points,
        curve=np.concatenate([count.curve(points) for count in counts], axis=1),
    )


class _Attack:
    """One attack on one network: what stays the same from batch to batch."""

    def __init__(
        self,
        network: nn.Module,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        config: AttackConfig,
        device: str | torch.device,
    ) -> None:
        self.network, self.config, self.device = network, config, torch.device(device)
        self.images, self.labels = images, labels
        self.model = foolbox.PyTorchModel(network, bounds=(0, 1), device=self.device)
        self.distance = DISTANCES[config.norm]
        self.pool, self.pool_answers = self._starts()

    def run(self, index: NDArray[np.int64]) -> QueryCount:
        """Attack a batch."""
        x = self._floats(self.images[index])
        y = torch.from_numpy(self.labels[index]).to(self.device)
        count = QueryCount(len(index))
        with torch.no_grad():
            right = self.network(x).argmax(1) == y
        count.update(torch.where(right, torch.inf, 0.0).cpu().numpy(), queries=1)
        rows = np.flatnonzero(right.cpu().numpy())
        if self.config.method == "pgd":
            self._pgd(x, y, rows, index, count)
        else:
            self._boundary(x, y, rows, index, count)
        return count

    def _boundary(
        self,
        x: Tensor,
        y: Tensor,
        rows: NDArray[np.int64],
        index: NDArray[np.int64],
        count: QueryCount,
    ) -> None:
        starts, found = self._starting_points(y[rows], index[rows])
        rows, starts = rows[found], starts[torch.from_numpy(found).to(self.device)]
        if not len(rows):
            return
        settings = product(self.config.step_sizes, self.config.steps)
        attacks = [self._walk(x[rows], y[rows], starts, *setting) for setting in settings]
        count.take_turns(attacks, rows)

    def _walk(
        self, x: Tensor, y: Tensor, starts: Tensor, step_size: float, steps: int
    ) -> QueryCount:
        """The boundary attack with one step size and number of iterations."""
        # Foolbox multiplies this by the size of the whole batch.
        attack = BOUNDARY_ATTACKS[self.config.norm](steps=steps, lr=step_size / len(x))
        count = QueryCount(len(x))
        with counted(self.network, x, y, self.distance, count) as network:
            model = foolbox.PyTorchModel(network, bounds=(0, 1), device=self.device)
            attack.run(model, x, _FromStarts(y, starts), starting_points=starts)
        return count

    def _pgd(
        self,
        x: Tensor,
        y: Tensor,
        rows: NDArray[np.int64],
        index: NDArray[np.int64],
        count: QueryCount,
    ) -> None:
        sizes = self._sizes(x)
        smallest = np.full(len(x), len(sizes))  # place of the smallest ball that holds one
        start = None
        for number, step_size in enumerate(sorted(self.config.step_sizes, reverse=True)):
            if self.config.random_start:
                seed, shape = self.config.seed + number, tuple(x.shape[1:])
                start = unit_starts(index, shape, seed, self.config.norm).to(x.device)
            for steps in sorted(self.config.steps):
                # Balls of places in low ... high - 1 are still to be tried: by halving, or, where
                # one is known that only has to be beaten, by ever longer jumps downwards.
                low, high = np.zeros(len(x), np.int64), smallest.copy()
                unknown, jump = smallest == len(sizes), 1
                middle = high - 1
                while len(some := rows[low[rows] < high[rows]]):
                    attacked, success = attack_in_balls(
                        self.model,
                        x[some],
                        y[some],
                        torch.from_numpy(sizes[middle[some]]).to(x.device),
                        norm=self.config.norm,
                        step_size=step_size,
                        steps=steps,
                        start=None if start is None else start[some],
                    )
                    far = self.distance(x[some], attacked).double()
                    reached = torch.where(success, far, torch.inf).cpu().numpy()
                    won = np.isfinite(reached)
                    count.update(reached, queries=steps + 1, rows=some)
                    high[some[won]] = smallest[some[won]] = middle[some[won]]
                    low[some[~won]] = middle[some[~won]] + 1
                    jump *= 2
                    halving = unknown | (low > 0)
                    middle = np.where(halving, (low + high) // 2, np.maximum(high - jump, 0))

    def _sizes(self, x: Tensor) -> NDArray[np.float64]:
        """Radii of the balls that PGD may try, rising, each a little larger than the last."""
        n_pixels = x[0].numel()
        farthest = n_pixels**0.5 if self.config.norm == "L2" else 1.0
        largest = min(self.config.max_distance or farthest, farthest)
        n = OCTAVES * LEVELS_AN_OCTAVE + 1
        return largest * 2.0 ** (np.arange(1 - n, 1) / LEVELS_AN_OCTAVE)

    def _starts(self) -> tuple[Tensor, NDArray[np.int64]]:
        """Images that may serve as starting points, and how the network classifies them."""
        rng = np.random.default_rng(self.config.seed)
        pool = self._floats(self.images[rng.permutation(len(self.images))[:STARTS]])
        with torch.no_grad():
            answers = torch.cat([self.network(part).argmax(1) for part in pool.split(128)])
        return pool, answers.cpu().numpy()

    def _starting_points(
        self, y: Tensor, index: NDArray[np.int64]
    ) -> tuple[Tensor, NDArray[np.bool_]]:
        """For each image one of the pool that the network takes for another class, if there is."""
        fits = self.pool_answers[None] != y.cpu().numpy()[:, None]
        # Each image goes through the pool from a place of its own.
        order = (np.arange(len(self.pool))[None] + 7919 * index[:, None]) % len(self.pool)
        place = order[np.arange(len(y)), np.take_along_axis(fits, order, 1).argmax(1)]
        return self.pool[torch.from_numpy(place).to(self.device)], fits.any(1)

    def _floats(self, images: NDArray[np.uint8]) -> Tensor:
        return to_float(torch.from_numpy(images).to(self.device))


class _FromStarts(foolbox.Misclassification):
    """Wrong answers, and the starting points themselves.

    Foolbox ends the whole batch unless all of these are adversarial. That they are was found in
    another batch, and in this one rounding may tip an answer that hangs in the balance. The attack
    then starts from the boundary's other side, and only what is adversarial is counted.
    """

    def __init__(self, labels: Tensor, starts: Tensor) -> None:
        super().__init__(labels)
        self.starts = starts

    def __call__(self, perturbed: Any, outputs: Any) -> Any:
        """Which of the perturbed images are adversarial, (n,) bool."""
        adversarial = super().__call__(perturbed, outputs)
        return adversarial.ones_like() if perturbed.raw is self.starts else adversarial


@contextmanager
def without_parameter_gradients(network: nn.Module) -> Iterator[None]:
    """Gradients are wanted for images alone."""
    wanted = [p for p in network.parameters() if p.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


def _median(distances: NDArray[np.float64]) -> float:
    if not len(distances):
        return float("nan")
    # The mean of a finite and an infinite middle is infinite, but that of two infinities is NaN.
    middle = np.sort(distances)[[(len(distances) - 1) // 2, len(distances) // 2]]
    return float("inf") if np.isinf(middle).any() else float(middle.mean())


def _query_grid(last: int) -> NDArray[np.int64]:
    """Numbers of queries up to the last, about ten a decade."""
    points = np.unique(np.geomspace(1, max(last, 1), 60).round().astype(np.int64))
    return np.append(points[points < last], last)
