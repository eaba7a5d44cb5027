"""A step that is recorded once and played again: all of its operators as one CUDA graph.

A small network leaves a GPU waiting for the host, which launches some hundreds of operators in
each step; a graph launches them at once. A step can be recorded if all that it reads and writes
stays in its place, and if nothing waits for the device: what changes from step to step, the
learning rate and the strength of a lesson too, is copied to tensors that stay.

Recording itself has run on no GPU yet. What is recorded is an ordinary function of tensors that
stay, and as that it runs, and is tested, on processors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regularized_training.step import Step

# Steps of a kind before it is recorded: in the first ones libraries choose algorithms, and lessons
# and optimisers make what they keep.
WARM_UP = 3


class Recorder(Protocol):
    """How a function of tensors that stay is run, recorded and played."""

    def warm_up(self, run: Callable[[], None]) -> None:
        """Run it before it is recorded."""

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """Record it without running it; what is returned plays it."""


class OrdinaryFunction:
    """A recorder of devices that have no graphs: the function itself is called every time."""

    def warm_up(self, run: Callable[[], None]) -> None:
        """Run it."""
        run()

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """The function itself."""
        return run


class CudaGraphs:
    """A recorder of CUDA graphs, as the section "CUDA Graphs" of torch's notes on CUDA says.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def warm_up(self, run: Callable[[], None]) -> None:
        """Run it on another stream, as it will be recorded."""
        with torch.cuda.device(self._device):
            now, beside = torch.cuda.current_stream(), torch.cuda.Stream()
            beside.wait_stream(now)
            with torch.cuda.stream(beside):
                run()
            now.wait_stream(beside)

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """A graph's ``replay``; other threads, which read images, may go on meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(self._device),
            torch.cuda.graph(graph, capture_error_mode="thread_local"),
        ):
            run()
        replay: Callable[[], None] = graph.replay
        return replay


@dataclass
class _Kind:
    """Steps of which all tensors have the same shapes, and the tensors that stay for them.

    Attributes
    ----------
    images, labels, drawn
        As :class:`~regularized_training.step.Step` takes them.
    learning_rate, strength : scalar Tensor
    made : (3,) Tensor
        What the last step came to.
    n_made : int
        Steps made so far.
    play : callable or None
        Makes a step, once it is recorded.
    """

    images: Tensor
    labels: Tensor
    drawn: list[list[Tensor]]
    learning_rate: Tensor
    strength: Tensor
    made: Tensor
    n_made: int = 0
    play: Callable[[], None] | None = None


class RecordedStep(Step):
    """Makes the same steps as :class:`~regularized_training.step.Step`, recorded.

    Each number of batches that a lesson draws is a recording of its own. Whenever a state is loaded
    they are made anew, since tensors may have changed their places.

    Parameters
    ----------
    losses, optimizer
        See :class:`~regularized_training.step.Step`; in one process.
    recorder : Recorder
    """

    def __init__(self, losses: nn.Module, optimizer: Optimizer, recorder: Recorder) -> None:
        super().__init__(losses, optimizer)
        self._recorder = recorder
        self._kinds: dict[object, _Kind] = {}
        optimizer.register_load_state_dict_post_hook(self._forget)
        for part in losses.children():
            part.register_load_state_dict_post_hook(self._forget)

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        learning_rate: float | Tensor,
        strength: float | Tensor | None,
        drawn: Sequence[Sequence[Tensor]],
    ) -> Tensor:
        """As of an ordinary step, which it is but for its place."""
        kind = self._kind(images, labels, drawn)
        kind.images.copy_(images)
        kind.labels.copy_(labels)
        for stays, batch in zip(kind.drawn, drawn, strict=True):
            for place, value in zip(stays, batch, strict=True):
                place.copy_(value)
        kind.learning_rate.fill_(learning_rate)
        kind.strength.fill_(0.0 if strength is None else strength)
        self._make(kind)
        # What a checkpoint has to say is the number.
        self.set_learning_rate(learning_rate)
        return kind.made.clone()

    def _kind(self, images: Tensor, labels: Tensor, drawn: Sequence[Sequence[Tensor]]) -> _Kind:
        shapes = tuple(tuple((part.shape, part.dtype) for part in batch) for batch in drawn)
        key = (images.shape, images.dtype, labels.shape, shapes)
        if key not in self._kinds:
            scalar = torch.zeros((), device=images.device)
            self._kinds[key] = _Kind(
                images=torch.empty_like(images),
                labels=torch.empty_like(labels),
                drawn=[[torch.empty_like(part) for part in batch] for batch in drawn],
                learning_rate=scalar,
                strength=scalar.clone(),
                made=scalar.new_zeros(3),
            )
        return self._kinds[key]

    def _make(self, kind: _Kind) -> None:
        def run() -> None:
            made = super(RecordedStep, self).__call__(
                kind.images, kind.labels, kind.learning_rate, kind.strength, kind.drawn
            )
            kind.made.copy_(made)

        if kind.n_made < WARM_UP:
            self._recorder.warm_up(run)
        else:
            if kind.play is None:
                kind.play = self._recorder.record(run)
            kind.play()
        kind.n_made += 1

    def _forget(self, *_: object) -> None:
        self._kinds.clear()


def step_of(losses: nn.Module, optimizer: Optimizer, *, recorded: bool) -> Step:
    """How a training makes its steps.

    Parameters
    ----------
    losses, optimizer
        See :class:`~regularized_training.step.Step`.
    recorded : bool
        Whether as a CUDA graph, on a GPU; elsewhere as the function that would be recorded.
    """
    if not recorded:
        return Step(losses, optimizer)
    device = next(losses.parameters()).device
    recorder = CudaGraphs(device) if device.type == "cuda" else OrdinaryFunction()
    return RecordedStep(losses, optimizer, recorder)
