"""Draws from torch's global generators that follow a seed, and leave the caller's as they were.

Dropout, a readout that samples positions, Foolbox and most initialisations take no generator.
``torch.manual_seed`` would seed every GPU too, also those that are not put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Within it torch's generators of the CPU and of a GPU begin at a seed.

    Parameters
    ----------
    seed : int
    device : torch.device or str

    Examples
    --------
    >>> with seeded(0):
    ...     first = torch.rand(3)
    >>> with seeded(0):
    ...     second = torch.rand(3)
    >>> bool((first == second).all())
    True
    """
    with Draws(seed, device).own():
        yield


class Draws:
    """A stream of torch's global generators that belongs to one computation.

    Parameters
    ----------
    seed : int
    device : torch.device or str
        Where the computation draws, beside the CPU.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        device = torch.device(device)
        self._gpus = [device] if device.type == "cuda" else []
        self._inside = False
        with torch.random.fork_rng(devices=self._gpus):
            torch.default_generator.manual_seed(seed)
            for gpu in self._gpus:
                with torch.cuda.device(gpu):
                    torch.cuda.manual_seed(seed)
            self._state = self._now()

    @contextmanager
    def own(self) -> Iterator[None]:
        """Within it the global generators go on where this stream was left."""
        with torch.random.fork_rng(devices=self._gpus):
            self._put(self._state)
            self._inside = True
            try:
                yield
            finally:
                self._state, self._inside = self._now(), False

    def state(self) -> list[Tensor]:
        """Where the stream is, of the CPU and of the GPU."""
        return self._now() if self._inside else self._state

    def restore(self, state: list[Tensor]) -> None:
        """Go on where :meth:`state` was taken."""
        self._state = state
        if self._inside:
            self._put(state)

    def _now(self) -> list[Tensor]:
        return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._gpus)]

    def _put(self, state: list[Tensor]) -> None:
        torch.set_rng_state(state[0])
        # A checkpoint may come from a machine without a GPU, or go to one.
        for gpu, of_gpu in zip(self._gpus, state[1:], strict=False):
            torch.cuda.set_rng_state(of_gpu, gpu)
