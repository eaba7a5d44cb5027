"""A recorded step makes the same network, by the operators it was recorded with alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from regularized_training.graph import WARM_UP, RecordedStep
from regularized_training.networks.config import NetworkConfig
from regularized_training.training import Training
from regularized_training.training_config import DistortedConfig, TrainingConfig
from tests.regularized_training.test_host_work import LAYER, LESSONS
from tests.regularized_training.test_randomness import TASK


class Tape(TorchDispatchMode):
    """A processor's stand-in for a CUDA graph: what was called, with which tensors, and no more.

    Played, each operator is called again with the tensors of then, into which the results go, and
    nothing of Python between operators runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def warm_up(self, run: Callable[[], None]) -> None:
        run()

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        # Running is making a step, which the first playing has to make: it does not count.
        self._calls = []
        kept = [(tensor, tensor.clone()) for tensor in self.changed()]
        with torch.random.fork_rng(), self:
            run()
        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)
        calls = self._calls
        return lambda: _play(calls)

    def changed(self) -> Iterator[Tensor]:
        """All that a step may change; set by the test."""
        yield from ()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self._calls.append((func, args, kwargs or {}, _tensors(made)))
        return made


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _play(calls: list[tuple[Any, Any, Any, list[Tensor]]]) -> None:
    with torch.no_grad():
        for func, args, kwargs, places in calls:
            given = {t.untyped_storage().data_ptr() for t in _tensors((args, kwargs))}
            for place, value in zip(places, _tensors(func(*args, **kwargs)), strict=True):
                if place.untyped_storage().data_ptr() not in given:  # neither a view nor in place
                    place.copy_(value)


def training(
    lesson: str, ratio: str = "1:1", optimizer: str = "sgd", *, graph: bool, distorted: bool = False
) -> Training:
    regularizer, teacher = LESSONS[lesson]
    if regularizer is not None:
        regularizer = regularizer.model_copy(update={"batch_ratio": ratio})
    config = TrainingConfig(
        epochs=4,
        schedule="one_cycle",  # another learning rate in each step
        batch_size=16,
        learning_rate=1e-3,
        optimizer=optimizer,
        regularizer=regularizer,
        distorted=DistortedConfig(by={"gaussian": (0.1,)}, layer=LAYER) if distorted else None,
        graph=graph,
    )
    return Training(TASK, NetworkConfig(width=4), config, 0, teacher=teacher)


def taped(*args: Any, **kwargs: Any) -> Training:
    """A training whose steps are recorded by a tape."""
    made = training(*args, **kwargs, graph=True)
    tape = Tape()

    def changed() -> Iterator[Tensor]:
        for part in made._parts().values():
            yield from part.state_dict().values()
        for state in made.optimizer.state.values():
            yield from _tensors(state)

    tape.changed = changed  # type: ignore[method-assign]
    made._step = RecordedStep(made._losses, made.optimizer, tape)
    return made


def weights(made: Training) -> dict[str, Tensor]:
    parts = made._parts().items()
    return {f"{name}.{k}": v.clone() for name, p in parts for k, v in p.state_dict().items()}


def assert_close(found: Training, expected: Training) -> None:
    ours, theirs = weights(found), weights(expected)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        close = {"rtol": 1e-3, "atol": 1e-4, "equal_nan": True}
        torch.testing.assert_close(ours[name], value, msg=name, **close)


CASES = [
    *((lesson, "1:1", "sgd") for lesson in LESSONS if lesson != "cca"),
    ("li", "1:1", "adam"),
    *((lesson, ratio, "sgd") for lesson in ("li", "responses") for ratio in ("1:4", "4:1")),
]


@pytest.mark.parametrize(("lesson", "ratio", "optimizer"), CASES)
def test_a_recorded_training_ends_with_the_same_network(
    lesson: str, ratio: str, optimizer: str
) -> None:
    """Also where the strength of the lesson is learned, and where it rests in some steps."""
    ordinary, recorded = (
        training(lesson, ratio, optimizer, graph=False),
        taped(lesson, ratio, optimizer),
    )
    n_steps = 12
    assert n_steps > 2 * WARM_UP
    for _ in range(4):
        expected, found = ordinary.run_epoch(), recorded.run_epoch()
        assert found.task_loss == pytest.approx(expected.task_loss, rel=1e-3)
        assert found.similarity_loss == pytest.approx(expected.similarity_loss, rel=1e-3)
    assert_close(recorded, ordinary)


def test_distorted_images_are_drawn_anew_in_each_step() -> None:
    ordinary = training("none", graph=False, distorted=True)
    recorded = taped("none", distorted=True)
    for _ in range(4):
        ordinary.run_epoch()
        recorded.run_epoch()
    assert_close(recorded, ordinary)


class Killed(Exception):
    pass


@pytest.mark.parametrize(("lesson", "optimizer"), [("li", "sgd"), ("responses", "adam")])
def test_a_recorded_training_goes_on_from_a_state_to_the_same_bits(
    lesson: str, optimizer: str
) -> None:
    """Also where the recording was made before the state was loaded."""
    whole, other = (taped(lesson, "1:4", optimizer) for _ in range(2))
    for made in (whole, other):
        made.run_epoch()

    def kill() -> None:
        raise Killed

    with pytest.raises(Killed):
        whole.run_epoch(kill)
    state = copy.deepcopy(whole.state_dict())
    assert all(isinstance(g["lr"], float) for g in state["optimizer"]["param_groups"])
    for _ in range(3):
        whole.run_epoch()
    other.run_epoch()
    for made in (other, taped(lesson, "1:4", optimizer)):
        made.load_state_dict(copy.deepcopy(state))
        for _ in range(3):
            made.run_epoch()
        expected = weights(whole)
        for name, value in weights(made).items():
            assert torch.equal(value, expected[name]), name


def test_a_tape_plays_what_was_known_when_it_was_recorded() -> None:
    """So that a number that a step kept on the host would be found out."""
    x, on_host, on_device = torch.zeros(2), [1.0], torch.ones(())

    def run() -> None:
        x[0] += on_host[0]
        x[1] += on_device

    play = Tape().record(run)
    on_host[0] = 5.0
    on_device.fill_(5.0)
    play()
    assert x.tolist() == [2.0, 6.0]


def test_a_setting_records_steps_of_one_device() -> None:
    assert isinstance(training("li", graph=True)._step, RecordedStep)
    assert not isinstance(training("li", graph=False)._step, RecordedStep)
    with pytest.raises(ValidationError, match="graph: true with devices = 2"):
        TrainingConfig(graph=True, devices=2, batch_size=16)
    with pytest.raises(ValidationError, match="graph: true with the lesson cca"):
        training("cca", graph=True)
    assert "graph" not in TrainingConfig().described()
