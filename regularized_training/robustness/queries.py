"""Distance an attack has reached as a function of the number of queries to the network.

An attacker who has several settings of an attack, and does not know which suits an image, lets them
take turns: each of them gets a query, then each its next, and those that have ended are passed
over (:meth:`QueryCount.take_turns`). After so many queries in all, the closest image that any of
them has found counts. So the order in which settings are listed decides nothing, and none has a
start over the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class QueryCount:
    """Closest adversarial image so far, and the questions that it took, for a batch of images.

    Parameters
    ----------
    n : int
        Number of images.

    Attributes
    ----------
    best : (n,) float64
        Distance of the closest one; infinite as long as there is none.
    queries : (n,) int64

    Examples
    --------
    >>> count = QueryCount(2)
    >>> count.update(np.array([3.0, np.inf]), queries=1)
    >>> count.update(np.array([2.0]), queries=10, rows=np.array([0]))
    >>> count.curve(np.array([1, 11])).tolist()
    [[3.0, inf], [2.0, inf]]
    """

    def __init__(self, n: int) -> None:
        self.best = np.full(n, np.inf)
        self.queries = np.zeros(n, np.int64)
        self._when: list[NDArray[np.int64]] = []
        self._reached: list[NDArray[np.float64]] = []

    def update(
        self, distance: NDArray[Any], *, queries: int, rows: NDArray[np.int64] | None = None
    ) -> None:
        """Note what some images' next queries found.

        Parameters
        ----------
        distance : (k,)
            Infinite where nothing adversarial was found.
        queries : int
            How many there were for each of them.
        rows : (k,) int64, optional
            Which images; all by default.
        """
        rows = np.arange(len(self.best)) if rows is None else rows
        self.best[rows] = np.minimum(self.best[rows], distance)
        self.queries[rows] += queries
        self._when.append(self.queries.copy())
        self._reached.append(self.best.copy())

    def take_turns(self, attacks: Sequence[QueryCount], rows: NDArray[np.int64]) -> None:
        """Note what several attacks on some images found, each of which gets a query in turn.

        A round of one query to each is noted as a whole, so that their order decides nothing.

        Parameters
        ----------
        attacks : sequence of QueryCount
            What each found by itself, after how many of its own queries.
        rows : (k,) int64
            Which images they attacked.

        Examples
        --------
        >>> slow, fast = QueryCount(1), QueryCount(1)
        >>> for distance in (3.0, 2.0, 1.0):
        ...     slow.update(np.array([distance]), queries=1)
        >>> fast.update(np.array([2.5]), queries=1)
        >>> both = QueryCount(1)
        >>> both.take_turns([slow, fast], rows=np.array([0]))
        >>> both.curve(np.array([1, 2, 3, 4]))[:, 0].tolist()
        [inf, 2.5, 2.0, 1.0]
        """
        lasted = np.array([attack.queries.max(initial=0) for attack in attacks])
        rounds = np.arange(1, lasted.max(initial=0) + 1)
        reached = np.array([attack.curve(rounds) for attack in attacks])
        for turn, closest in zip(rounds, reached.min(0), strict=True):
            self.update(closest, queries=int((lasted >= turn).sum()), rows=rows)

    def curve(self, points: NDArray[np.int64]) -> NDArray[np.float64]:
        """Distance of the closest one after each number of queries, (point, n); infinite before."""
        if not self._when:
            return np.full((len(points), len(self.best)), np.inf)
        when, reached = np.stack(self._when), np.stack(self._reached)
        # Of each image the last entry whose queries do not exceed the point.
        last = (when[None] <= points[:, None, None]).sum(1) - 1
        curve = np.take_along_axis(reached, last.clip(0), axis=0)
        return np.where(last >= 0, curve, np.inf)


@contextmanager
def counted(
    network: nn.Module,
    clean: Tensor,
    labels: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    count: QueryCount,
) -> Iterator[nn.Module]:
    """The network, noting each time it is asked about all of these images at once.

    Parameters
    ----------
    network : nn.Module
    clean : (k, channels, height, width) Tensor
        The images as they were.
    labels : (k,) Tensor
        Their classes; any other answer is adversarial.
    distance : callable
        Of two batches of images.
    count : QueryCount
        Of these images; it is added to at the end, so that a GPU is not waited for meanwhile.
    """
    found: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Tensor], logits: Tensor) -> None:
        asked = inputs[0]
        if asked.shape != clean.shape:
            return
        with torch.no_grad():
            adversarial = logits.argmax(1) != labels
            far = distance(clean, asked.detach()).double()
            found.append(torch.where(adversarial, far, torch.inf))

    hook = network.register_forward_hook(note)
    try:
        yield network
    finally:
        hook.remove()
        for far in torch.stack(found).cpu().numpy() if found else ():
            count.update(far, queries=1)
