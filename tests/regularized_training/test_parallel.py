"""Several processes train one network: what they share, and what they agree on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from regularized_training import parallel
from regularized_training.lessons.config import RegularizerConfig
from regularized_training.lessons.similarity import (
    flatten_features,
    sample_stimuli,
    shrunk_arctanh,
)
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.parallel import Share
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.stimuli import prepare_stimuli
from regularized_training.teachers.teacher import SimilarityTeacher
from regularized_training.training import Training, initial_network
from tests.regularized_training.two_processes import (
    NETWORK,
    RATE,
    SEED,
    STEPS,
    read,
    unaugmented,
)

SCRIPT = Path(__file__).with_name("two_processes.py")
REPOSITORY = Path(__file__).resolve().parents[2]


# -- two processes, for real ---------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(small_digits: ImageTask, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have left what they came to."""
    folder = tmp_path_factory.mktemp("two_processes")
    task = small_digits.subset(64, 20)
    names = ("train_images", "train_labels", "test_images", "test_labels")
    np.savez(folder / "task.npz", **{name: getattr(task, name) for name in names})
    rng = np.random.default_rng(0)
    np.savez(
        folder / "teacher.npz",
        stimuli=rng.integers(0, 256, (10, 1, 16, 16)).astype(np.uint8),
        similarity=np.corrcoef(rng.standard_normal((10, 4))).astype(np.float32),
        held_out=np.array([2, 5]),
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    script = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, errors = script.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(script.pid, signal.SIGKILL)
        raise
    assert script.returncode == 0, errors
    return folder


@pytest.fixture(scope="module")
def came_to(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"came_to_{rank}.pt") for rank in (0, 1)]


def assert_same_weights(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def literal_gradients(
    task: ImageTask, teacher: SimilarityTeacher, regularizer: RegularizerConfig
) -> tuple[dict[str, Tensor], Tensor]:
    """Each half batch by itself, Eq. 7 to 10 one pair at a time, then the mean of both gradients.

    Of the network's parameters, and of the logits of the layers' weights.
    """
    training = Training(task, NETWORK, unaugmented(regularizer), SEED, teacher=teacher)
    assert training.lesson is not None
    chosen, pairs = sample_stimuli(8, regularizer, training.lesson.rng)
    taught = teacher.teaching
    stimuli = prepare_stimuli(taught.stimuli, 1)
    networks, features = [], []
    for half in (0, 1):
        network = initial_network(NETWORK, 1, 10, SEED)
        read_layers = LayerReader(network, training.layers)
        networks.append(network)
        features.append([flatten_features(f) for f in read_layers(stimuli[chosen[half::2]])])
    gradients, of_logits = [], []
    for half, network in enumerate(networks):
        logits = torch.zeros(5, requires_grad=True)
        gamma = logits.softmax(0)
        if regularizer.centering == "batch":
            means = [f.mean(0) for f in features[half]]
        else:  # of the stimuli of both
            means = [torch.cat(both).detach().mean(0) for both in zip(*features, strict=True)]
        centred = [f - m for f, m in zip(features[half], means, strict=True)]
        errors = []
        for i, j in pairs.T.tolist():
            if i % 2 == half and j % 2 == half:
                cosines = [F.cosine_similarity(c[i // 2], c[j // 2], dim=0) for c in centred]
                said = torch.tensor(taught.similarity[chosen[i], chosen[j]])
                seen = (gamma * torch.stack(cosines)).sum()
                eps = regularizer.eps
                errors.append(shrunk_arctanh(seen, eps) - shrunk_arctanh(said, eps))
        images = to_float(torch.from_numpy(task.train_images[half:16:2]))
        labels = torch.from_numpy(task.train_labels[half:16:2])
        loss = F.cross_entropy(network(images), labels)
        loss = loss + regularizer.alpha * torch.stack(errors).square().mean()
        parameters = dict(network.named_parameters())
        found = torch.autograd.grad(loss, [*parameters.values(), logits])
        gradients.append(dict(zip(parameters, found[:-1], strict=True)))
        of_logits.append(found[-1])
    mean = {name: (gradients[0][name] + gradients[1][name]) / 2 for name in gradients[0]}
    return mean, (of_logits[0] + of_logits[1]) / 2


@pytest.mark.parametrize("name", STEPS)
def test_a_steps_gradient_is_the_mean_of_those_of_half_the_batch_each(
    folder: Path, came_to: list[dict[str, Any]], name: str
) -> None:
    expected, of_logits = literal_gradients(*read(folder), STEPS[name])
    start = dict(initial_network(NETWORK, 1, 10, SEED).named_parameters())
    for process in came_to:
        for parameter, gradient in process[name]["gradients"].items():
            scale = expected[parameter].abs().max().item()
            torch.testing.assert_close(
                gradient, expected[parameter], rtol=1e-3, atol=1e-4 * scale, msg=parameter
            )
            decay = 5e-4 if gradient.ndim > 1 else 0.0
            moved = start[parameter] - RATE * (gradient + decay * start[parameter])
            torch.testing.assert_close(process[name]["weights"][parameter], moved)
        torch.testing.assert_close(process[name]["logits"], -RATE * of_logits, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", STEPS)
def test_each_process_sees_a_half_of_its_own(came_to: list[dict[str, Any]], name: str) -> None:
    first, second = (process[name]["losses"] for process in came_to)
    assert (first[:2] != second[:2]).all()


def test_both_end_with_the_same_network_and_history_to_the_bit(
    came_to: list[dict[str, Any]],
) -> None:
    """Also with the same statistics of batch normalisation, which each gathers by itself."""
    first, second = (process["whole"] for process in came_to)
    assert_same_weights(first["weights"], second["weights"])
    assert first["history"] == second["history"]
    assert int(first["weights"]["stem.1.num_batches_tracked"]) == 2 * 64 // 16


def test_only_the_first_writes_a_checkpoint(folder: Path) -> None:
    assert [path.name for path in folder.glob("of_process_*")] == ["of_process_0.pt"]


def test_a_killed_and_resumed_training_of_both_ends_bit_identical(
    came_to: list[dict[str, Any]],
) -> None:
    for process in came_to:
        assert process["epochs after the kill"] == [1]
        assert_same_weights(process["resumed"]["weights"], process["whole"]["weights"])
        assert process["resumed"]["history"] == process["whole"]["history"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("odd batch", "batch: 15 for 2 processes, expected a multiple of 2 with at least 2"),
        ("odd stimuli", "batch: 7 for 2 processes, expected a multiple of 2 with at least 2"),
        ("one stimulus each", "batch: 2 for 2 processes, expected a multiple of 2 with at least 2"),
        ("odd pairs", "batch: 6 for 2 processes, expected a multiple of 4 with at least 2"),
        ("fewer images than a batch", "batch: 15 for 2 processes, expected a multiple of 2"),
    ],
)
def test_a_batch_that_cannot_be_divided_is_refused_by_all(
    came_to: list[dict[str, Any]], name: str, found: str
) -> None:
    for process in came_to:
        assert process[name].startswith(found)
        assert "change batch_size or n_stimuli, or the number of processes" in process[name]


# -- what a process takes ------------------------------------------------------------------


def shares(monkeypatch: pytest.MonkeyPatch, world: int, n: int, **kwargs: int) -> list[Share]:
    """Those of all processes of a group that is not there."""
    made = []
    monkeypatch.setattr(parallel, "world_size", lambda: world)
    for rank in range(world):
        monkeypatch.setattr(parallel.distributed, "get_rank", lambda rank=rank: rank)
        made.append(Share(n, **kwargs))
    return made


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_row_of_a_batch_is_of_one_process(
    monkeypatch: pytest.MonkeyPatch, world: int
) -> None:
    batch = torch.arange(12)
    parts = [share.of(batch) for share in shares(monkeypatch, world, 12)]
    assert {len(part) for part in parts} == {12 // world}
    assert torch.equal(torch.cat(parts).sort().values, batch)


@pytest.mark.parametrize("world", [2, 3])
def test_all_pairs_within_each_part_are_compared_and_no_others(
    monkeypatch: pytest.MonkeyPatch, world: int
) -> None:
    chosen = torch.tensor([7, 3, 19, 1, 4, 12, 8, 30, 2, 5, 11, 6])
    for share in shares(monkeypatch, world, 12):
        own, pairs = share.of_pairs(chosen, torch.triu_indices(12, 12, 1))
        compared = [tuple(sorted(pair)) for pair in own[pairs].T.tolist()]
        assert sorted(compared) == list(combinations(sorted(own.tolist()), 2))


@pytest.mark.parametrize("world", [2, 3])
def test_no_independent_pair_is_torn_apart(monkeypatch: pytest.MonkeyPatch, world: int) -> None:
    chosen, pairs = torch.arange(100, 112), torch.arange(12).view(2, 6)
    seen = []
    for share in shares(monkeypatch, world, 12, parts=2):
        own, of_own = share.of_pairs(chosen, pairs)
        seen += own[of_own].T.tolist()
    assert sorted(seen) == chosen[pairs].T.tolist()


def test_alone_a_process_takes_every_batch_whole() -> None:
    assert parallel.is_first()
    assert parallel.world_size() == 1
    values = torch.rand(5)
    assert torch.equal(Share(5).of(values), values)
    assert torch.equal(Share(5).summed(values), values)
    assert torch.equal(parallel.averaged(values), values)
