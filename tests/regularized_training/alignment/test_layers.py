"""Which layers see stimuli as a teacher does: alignment of kernels, and of layers."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from regularized_training.alignment import layers as module
from regularized_training.alignment.layers import (
    RepresentationConfig,
    centred_kernel_alignment,
    compare_layers,
)
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.teachers.teacher import SimilarityTeacher


def kernel(n: int, features: int, seed: int) -> np.ndarray:
    """Linear kernel of random features."""
    x = np.random.default_rng(seed).standard_normal((n, features))
    return x @ x.T


# -- alignment of kernels ------------------------------------------------------------------


def literal_hsic(a: np.ndarray, b: np.ndarray) -> float:
    """Eq. 5 of Song et al. 2012, with matrices and vectors of ones as printed."""
    n, one = len(a), np.ones(len(a))
    k, l = (m - np.diag(np.diag(m)) for m in (a, b))  # noqa: E741
    return (
        np.trace(k @ l)
        + one @ k @ one * (one @ l @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ l @ one)
    ) / (n * (n - 3))


def literal_u_statistic(a: np.ndarray, b: np.ndarray) -> float:
    """Eq. 4 of Song et al. 2012: means over pairs, quadruples and triples of different stimuli."""
    n = range(len(a))
    return (
        np.mean([a[i, j] * b[i, j] for i, j in permutations(n, 2)])
        + np.mean([a[i, j] * b[q, r] for i, j, q, r in permutations(n, 4)])
        - 2 * np.mean([a[i, j] * b[i, q] for i, j, q in permutations(n, 3)])
    )


@pytest.mark.parametrize("hsic", [literal_hsic, literal_u_statistic])
@pytest.mark.parametrize("n", [4, 7])
def test_alignment_is_that_of_the_unbiased_estimate(hsic, n: int) -> None:  # type: ignore[no-untyped-def]
    a, b = kernel(n, 3, seed=0), kernel(n, 5, seed=1)
    expected = hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b))
    assert centred_kernel_alignment(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scale", [1, 1e-6, 37.5])
def test_a_kernel_is_aligned_with_itself_at_any_scale(scale: float) -> None:
    a = kernel(10, 3, seed=0)
    assert centred_kernel_alignment(a, scale * a) == pytest.approx(1)
    assert centred_kernel_alignment(a, -a) == pytest.approx(-1)


def test_a_mean_response_common_to_all_stimuli_does_not_count() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 3)), rng.standard_normal((10, 8))
    moved = x + np.array([5.0, -20.0, 3.0])
    a, b = x @ x.T, y @ y.T
    found = centred_kernel_alignment(moved @ moved.T, b)
    assert found == pytest.approx(centred_kernel_alignment(a, b), rel=1e-8)
    assert centred_kernel_alignment(moved @ moved.T, a) == pytest.approx(1)


def test_how_alike_a_stimulus_is_to_itself_does_not_count() -> None:
    a, b = kernel(10, 3, seed=0), kernel(10, 5, seed=1)
    expected = centred_kernel_alignment(a, b)
    np.fill_diagonal(a, 1)
    assert centred_kernel_alignment(a, b) == pytest.approx(expected)


def test_alignment_does_not_follow_the_order_of_stimuli_or_kernels() -> None:
    a, b = kernel(10, 3, seed=0), kernel(10, 5, seed=1)
    order = np.random.default_rng(2).permutation(10)
    expected = centred_kernel_alignment(a, b)
    assert centred_kernel_alignment(b, a) == pytest.approx(expected)
    moved = (k[order][:, order] for k in (a, b))
    assert centred_kernel_alignment(*moved) == pytest.approx(expected)


def biased_alignment(a: np.ndarray, b: np.ndarray) -> float:
    """The usual CKA of Kornblith et al. 2019."""
    centre = np.eye(len(a)) - 1 / len(a)
    a, b = centre @ a @ centre, centre @ b @ centre
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def test_unrelated_features_are_not_aligned_on_average_however_few_the_stimuli() -> None:
    """The biased estimate, with many features and few stimuli, calls anything alike."""
    pairs = [(kernel(8, 40, seed), kernel(8, 40, seed + 1000)) for seed in range(300)]
    unbiased = [centred_kernel_alignment(a, b) for a, b in pairs]
    biased = [biased_alignment(a, b) for a, b in pairs]
    assert abs(np.mean(unbiased)) < 4 * np.std(unbiased) / np.sqrt(300)
    assert abs(np.mean(unbiased)) < 0.05
    assert np.mean(biased) > 0.7


def test_both_estimates_agree_for_many_stimuli() -> None:
    x = np.random.default_rng(0).standard_normal((400, 3))
    mixed = x @ np.array([[1.0, 0, 0], [0.5, 1, 0], [0, 0.2, 2]])
    a, b = x @ x.T, mixed @ mixed.T
    assert centred_kernel_alignment(a, b) == pytest.approx(biased_alignment(a, b), abs=0.01)
    assert centred_kernel_alignment(a, b) > 0.5


@pytest.mark.parametrize("n", [5, 8, 20, 100])
@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1.0, -0.7])
def test_a_kernel_that_finds_all_stimuli_equally_alike_says_nothing(n: int, value: float) -> None:
    """Exactly, where rounding would make it agree with itself or be its own opposite."""
    flat = np.full((n, n), value)
    np.fill_diagonal(flat, 1)
    assert centred_kernel_alignment(flat, flat) == 0
    assert centred_kernel_alignment(flat, kernel(n, 4, seed=0)) == 0
    single = flat.astype(np.float32)
    assert centred_kernel_alignment(single, single) == 0


@pytest.mark.parametrize(
    "shapes", [((3, 3), (3, 3)), ((5, 5), (6, 6)), ((5, 4), (5, 4)), ((5,),) * 2]
)
def test_kernels_that_cannot_be_compared_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="two square matrices of a size, of at least 4 stimuli"):
        centred_kernel_alignment(*(np.ones(shape) for shape in shapes))


# -- layers of a network -------------------------------------------------------------------

N = 30
HELD_OUT = np.array([1, 4, 8, 9, 15, 16, 22, 27])


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (N, 1, 12, 12)).astype(np.uint8)


def cosines(rows: np.ndarray) -> np.ndarray:
    """Eq. 9 of rows less their mean."""
    e = rows - rows.mean(0)
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    return np.clip(e @ e.T, -1, 1)


def teacher_that_says(about_held_out: np.ndarray, stimuli: np.ndarray) -> SimilarityTeacher:
    """This of the stimuli held out, and nothing in particular of the others."""
    matrix = np.corrcoef(np.random.default_rng(3).standard_normal((N, 5)))
    matrix[np.ix_(HELD_OUT, HELD_OUT)] = about_held_out
    return SimilarityTeacher("some", stimuli, matrix.astype(np.float32), HELD_OUT)


def edges_and_light() -> nn.Module:
    """A network whose first layer sees horizontal differences, and the next their positive part."""
    edges = nn.Conv2d(1, 1, (1, 2), bias=False)
    nn.init.zeros_(edges.weight)
    edges.weight.data[0, 0, 0] = torch.tensor([-1.0, 1.0])
    return nn.Sequential(OrderedDict(edges=edges, rectified=nn.ReLU(), light=nn.AvgPool2d(2)))


LAYERS = ("edges", "rectified", "light")


def test_a_layer_that_sees_as_the_teacher_does_has_correlation_and_alignment_1() -> None:
    stimuli = pixels()
    edges = np.diff(stimuli[HELD_OUT, 0] / 255.0, axis=2).reshape(len(HELD_OUT), -1)
    teacher = teacher_that_says(cosines(edges), stimuli)
    found = compare_layers(edges_and_light(), LAYERS, teacher, RepresentationConfig())
    assert tuple(layer.layer for layer in found) == LAYERS
    assert found[0].correlation == pytest.approx(1, abs=1e-5)
    assert found[0].alignment == pytest.approx(1, abs=1e-5)
    for other in found[1:]:
        assert other.correlation < 0.99
        assert other.alignment < 0.99


def test_what_an_uncentred_teacher_says_is_compared_with_uncentred_features() -> None:
    stimuli = pixels()
    light = torch.from_numpy(stimuli[HELD_OUT] / np.float32(255))
    with torch.inference_mode():
        rows = edges_and_light()(light).flatten(1).double().numpy()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    teacher = teacher_that_says(np.clip(rows @ rows.T, -1, 1), stimuli)
    correlation = {}
    for centred in (True, False, None):
        judge = replace(teacher, centred=centred)
        (found,) = compare_layers(edges_and_light(), ("light",), judge, RepresentationConfig())
        correlation[centred] = found.correlation
    assert correlation[False] == pytest.approx(1, abs=1e-4)
    assert correlation[True] == correlation[None] < 0.99


def test_a_deep_layer_of_a_residual_network_is_recognised() -> None:
    """In evaluation mode, in batches of any size, and by the mean over the stimuli held out."""
    network = build_network(NetworkConfig(width=2), 1, 10, seed=0)
    layers = ("stem", "stage2", "stage4")
    images = torch.from_numpy(pixels()[HELD_OUT] / np.float32(255))
    with torch.inference_mode():
        one_by_one = [LayerReader(network.eval(), ("stage2",))(image[None])[0] for image in images]
    rows = torch.cat(one_by_one).flatten(1).double().numpy()
    teacher = teacher_that_says(cosines(rows), pixels())
    found = {f.layer: f for f in compare_layers(network, layers, teacher, RepresentationConfig())}
    assert found["stage2"].correlation == pytest.approx(1, abs=1e-4)
    assert found["stage2"].alignment == pytest.approx(1, abs=1e-4)
    assert max(found["stem"].correlation, found["stage4"].correlation) < 0.99


class Shifted(nn.Module):
    """Batch normalisation and a half-wave: which pixels count depends on where the mean is."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.rectified = nn.BatchNorm2d(1), nn.ReLU()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.rectified(self.norm(images))


def test_a_layer_is_judged_by_the_statistics_of_the_task_or_of_the_stimuli() -> None:
    """What a network was taught in training mode need not be what it does when it is tested."""
    shown = pixels()[HELD_OUT] / np.float32(255)
    network = Shifted()
    network.norm.running_mean.fill_(0.9)  # type: ignore[operator]  # the task's images are bright
    by_task = np.maximum(shown - 0.9, 0).reshape(len(shown), -1)
    by_stimuli = np.maximum(shown - shown.mean(), 0).reshape(len(shown), -1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for statistics, rows in (("task", by_task), ("stimuli", by_stimuli)):
        teacher = teacher_that_says(cosines(rows.astype(np.float64)), pixels())
        found = {
            by: compare_layers(
                network, ("rectified",), teacher, RepresentationConfig(), statistics=by
            )[0].correlation
            for by in ("task", "stimuli")
        }
        assert found.pop(statistics) == pytest.approx(1, abs=1e-5)
        assert max(found.values()) < 0.95
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert network.norm.momentum == 0.1 and network.training


def test_without_batch_normalisation_there_is_one_answer() -> None:
    teacher = teacher_that_says(np.eye(len(HELD_OUT)), pixels())
    found = [
        compare_layers(edges_and_light(), LAYERS, teacher, RepresentationConfig(), statistics=by)
        for by in ("task", "stimuli")
    ]
    assert found[0] == found[1]


def test_features_that_do_not_fit_are_compared_in_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(NetworkConfig(width=2), 1, 10, seed=0)
    said = cosines(np.random.default_rng(1).standard_normal((len(HELD_OUT), 5)))
    asked = ("stem", "stage2"), teacher_that_says(said, pixels()), RepresentationConfig()
    whole = compare_layers(network, *asked)
    monkeypatch.setattr(module, "FEATURE_BYTES", 3000)
    parts = compare_layers(network, *asked)
    for one, other in zip(whole, parts, strict=True):
        assert one.correlation == pytest.approx(other.correlation, abs=1e-5)
        assert one.alignment == pytest.approx(other.alignment, abs=1e-5)


def test_only_stimuli_that_did_not_teach_are_judged_by() -> None:
    said = cosines(np.random.default_rng(1).standard_normal((len(HELD_OUT), 5)))
    teacher = teacher_that_says(said, pixels())
    others = pixels(seed=1)
    others[HELD_OUT] = teacher.stimuli[HELD_OUT]
    wrong = np.corrcoef(np.random.default_rng(4).standard_normal((N, 5))).astype(np.float32)
    wrong[np.ix_(HELD_OUT, HELD_OUT)] = teacher.similarity[np.ix_(HELD_OUT, HELD_OUT)]
    changed = SimilarityTeacher("other", others, wrong, HELD_OUT)
    network, config = edges_and_light(), RepresentationConfig()
    expected = compare_layers(network, LAYERS, teacher, config)
    assert compare_layers(network, LAYERS, changed, config) == expected
    moved = replace(teacher, held_out=HELD_OUT + 1)
    assert compare_layers(network, LAYERS, moved, config) != expected


def test_the_first_ones_held_out_are_taken_where_they_are_many() -> None:
    said = cosines(np.random.default_rng(1).standard_normal((len(HELD_OUT), 5)))
    teacher = teacher_that_says(said, pixels())
    five = replace(teacher, held_out=HELD_OUT[:5])
    network = edges_and_light()
    found = compare_layers(network, LAYERS, teacher, RepresentationConfig(n_stimuli=5))
    assert found == compare_layers(network, LAYERS, five, RepresentationConfig())


@pytest.mark.parametrize("k", [0, 1, 3])
def test_too_few_stimuli_held_out_are_refused(k: int) -> None:
    said = np.eye(len(HELD_OUT))
    teacher = replace(teacher_that_says(said, pixels()), held_out=HELD_OUT[:k])
    with pytest.raises(ValueError, match=f"'some' holds out {k} of its 30 stimuli.*at least 4"):
        compare_layers(edges_and_light(), LAYERS, teacher, RepresentationConfig())
    with pytest.raises(ValidationError, match="n_stimuli"):
        RepresentationConfig(n_stimuli=k)


def test_stimuli_cannot_be_shown_at_a_size_that_is_none() -> None:
    with pytest.raises(ValidationError, match="stimulus_size"):
        RepresentationConfig(stimulus_size=(0, 32))


def test_four_stimuli_are_enough() -> None:
    stimuli = pixels()
    said = np.eye(len(HELD_OUT))
    edges = np.diff(stimuli[HELD_OUT[:4], 0] / 255.0, axis=2).reshape(4, -1)
    said[:4, :4] = cosines(edges)
    teacher = replace(teacher_that_says(said, stimuli), held_out=HELD_OUT[:4])
    found = compare_layers(
        edges_and_light(), ("edges",), teacher, RepresentationConfig(n_stimuli=4)
    )
    assert found[0].alignment == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_the_networks_mode_and_statistics_are_kept(training: bool) -> None:
    network = build_network(NetworkConfig(width=2), 1, 10, seed=0).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    teacher = teacher_that_says(np.eye(len(HELD_OUT)), pixels())
    compare_layers(network, ("stem", "stage1"), teacher, RepresentationConfig())
    assert all(module.training is training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_stimuli_are_resized_and_repeated_for_a_network_of_colours() -> None:
    """So that their mean light, in all colours, is as it was."""
    squares = np.random.default_rng(0).integers(0, 256, (N, 1, 4, 4)).astype(np.uint8)
    stimuli = squares.repeat(4, axis=2).repeat(4, axis=3)
    network = nn.Sequential(OrderedDict(mean=nn.Conv2d(3, 1, 8, stride=8, bias=False)))
    nn.init.constant_(network[0].weight, 1.0)
    whole = squares[HELD_OUT].astype(np.float64).mean((1, 2, 3))
    said = np.sign(whole - whole.mean())
    config = RepresentationConfig(stimulus_size=(8, 8))
    teacher = teacher_that_says(np.outer(said, said), stimuli)
    (found,) = compare_layers(network, ("mean",), teacher, config, n_channels=3)
    assert found.correlation == pytest.approx(1)


def test_a_network_without_convolutions_or_of_its_own_grey_is_shown_stimuli_as_its_images() -> None:
    """What a network's first convolution takes, if it has one, need not be its images' channels."""
    stimuli = pixels()
    grey = np.tile(stimuli[HELD_OUT].reshape(len(HELD_OUT), -1) / 255.0, 3)
    teacher, config = teacher_that_says(cosines(grey), stimuli), RepresentationConfig()
    dense = nn.Sequential(OrderedDict(flat=nn.Flatten(), classes=nn.Linear(3 * 12 * 12, 2)))
    (found,) = compare_layers(dense, ("flat",), teacher, config, n_channels=3)
    assert found.correlation == pytest.approx(1, abs=1e-5)
    rearranged = nn.Sequential(
        OrderedDict(parts=nn.PixelUnshuffle(2), mix=nn.Conv2d(4, 2, 1), classes=nn.Flatten())
    )
    (found,) = compare_layers(rearranged, ("parts",), teacher, config, n_channels=1)
    assert found.correlation == pytest.approx(1, abs=1e-5)
