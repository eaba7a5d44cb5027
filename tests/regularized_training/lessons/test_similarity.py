from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from regularized_training.lessons.config import RegularizerConfig
from regularized_training.lessons.similarity import (
    SimilarityRegularizer,
    cosine_similarity,
    flatten_features,
    sample_stimuli,
    shrunk_arctanh,
)
from regularized_training.lessons.stimuli import batchnorm_of_stimuli
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.image_files import luma
from regularized_training.teachers.stimuli import prepare_stimuli
from regularized_training.teachers.teacher import SimilarityTeacher

SHAPES = ((3, 4, 6), (5, 2, 3))  # (channels, height, width) of two layers


def random_features(n: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.rand(n, *shape, generator=rng, dtype=dtype).requires_grad_() for shape in SHAPES]


def random_target(n: int) -> Tensor:
    responses = torch.randn(n, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return torch.corrcoef(responses)


def all_pairs(n: int) -> Tensor:
    return torch.triu_indices(n, n, 1)


def said(target: Tensor, n: int, regularizer: SimilarityRegularizer) -> Tensor:
    """What a teacher says of all pairs, as it is compared."""
    first, second = all_pairs(n)
    return shrunk_arctanh(target[first, second], regularizer.config.eps)


def literal_loss(
    features: list[Tensor], means: list[Tensor], gamma: Tensor, target: Tensor, eps: float
) -> Tensor:
    """Eq. 8 to 10 of Li et al. 2019, one pair and one layer at a time."""
    n = len(target)
    losses = []
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            similarity = torch.zeros((), dtype=torch.float64)
            for k, (feature, mean) in enumerate(zip(features, means, strict=True)):
                a = (feature[i] - mean).flatten()
                b = (feature[j] - mean).flatten()
                similarity = similarity + gamma[k] * (a * b).sum() / (a.norm() * b.norm())
            error = torch.atanh((1 - eps) * similarity) - torch.atanh((1 - eps) * target[i, j])
            losses.append(error**2)
    return torch.stack(losses).mean()


# -- Eq. 8 to 10 ---------------------------------------------------------------------------


@pytest.mark.parametrize("centering", ["running", "batch"])
def test_loss_and_gradients_are_those_of_the_equations(centering: str) -> None:
    n, eps = 6, 0.01
    config = RegularizerConfig(eps=eps, centering=centering)
    regularizer = SimilarityRegularizer(config, 2).double()
    regularizer.logits.data = torch.tensor([0.7, -0.4], dtype=torch.float64)
    target = random_target(n)

    first, second = random_features(n), random_features(n, seed=1)
    regularizer(first, said(target, n, regularizer), all_pairs(n))
    loss = regularizer(second, said(target, n, regularizer), all_pairs(n))
    loss.backward()

    copies = [f.detach().clone().requires_grad_() for f in second]
    logits = regularizer.logits.detach().clone().requires_grad_()
    if centering == "running":  # the first batch sets the mean, the second moves it by a tenth
        means = [
            (0.9 * a.mean(0) + 0.1 * b.mean(0)).detach() for a, b in zip(first, copies, strict=True)
        ]
    else:
        means = [f.mean(0) for f in copies]
    expected = literal_loss(copies, means, logits.softmax(0), target, eps)
    expected.backward()

    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)
    for feature, copy in zip(second, copies, strict=True):
        torch.testing.assert_close(feature.grad, copy.grad, rtol=0, atol=1e-6)
    torch.testing.assert_close(regularizer.logits.grad, logits.grad, rtol=0, atol=1e-6)


def test_a_network_that_agrees_with_its_teacher_has_no_loss() -> None:
    features = random_features(5)[:1]
    regularizer = SimilarityRegularizer(RegularizerConfig(centering="batch"), 1)
    target = regularizer.similarity(features).detach()
    assert regularizer(
        features, said(target, 5, regularizer), all_pairs(5)
    ).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("eps", [1e-6, 1e-3])
def test_identical_and_opposite_features_have_finite_loss_and_gradients(eps: float) -> None:
    feature = torch.tensor([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0]]).view(3, 2, 1, 1)
    feature.requires_grad_()
    regularizer = SimilarityRegularizer(RegularizerConfig(eps=eps), 1).eval()
    regularizer.mean_0 = torch.zeros(2)
    torch.testing.assert_close(regularizer.similarity([feature])[0], torch.tensor([1.0, 1.0, -1.0]))
    target = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    loss = regularizer([feature], said(target, 3, regularizer), all_pairs(3))
    loss.backward()
    # Both sides are shrunk, so the farthest they can be apart is 2 arctanh(1 - eps).
    farthest = (2 * math.atanh(float(np.float32(1 - eps)))) ** 2
    expected = (2 * farthest + farthest / 4) / 3
    assert loss.item() == pytest.approx(expected, rel=0.05)
    assert torch.isfinite(feature.grad).all()  # type: ignore[arg-type]


def test_an_image_without_features_is_similar_to_none() -> None:
    centred = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]], requires_grad=True)
    similarity = cosine_similarity(centred)
    torch.testing.assert_close(similarity, torch.tensor([[0.0, 0, 0], [0, 1, 1], [0, 1, 1]]))
    similarity.sum().backward()
    assert torch.isfinite(centred.grad).all()  # type: ignore[arg-type]


def test_features_are_compared_alike_in_any_memory_format() -> None:
    feature = torch.rand(2, 3, 4, 5)
    channels_last = feature.contiguous(memory_format=torch.channels_last)
    assert torch.equal(flatten_features(feature), flatten_features(channels_last))
    assert flatten_features(channels_last).data_ptr() == channels_last.data_ptr()  # no copy


def test_layer_weights_start_even_and_sum_to_one() -> None:
    regularizer = SimilarityRegularizer(RegularizerConfig(), 5)
    torch.testing.assert_close(regularizer.layer_weights, torch.full((5,), 0.2))
    regularizer.logits.data = torch.tensor([9.0, -3.0, 0.0, 1.0, 2.0])
    assert regularizer.layer_weights.sum().item() == pytest.approx(1)
    assert (regularizer.layer_weights > 0).all()


def test_mixed_precision_does_not_reach_the_loss() -> None:
    n = 6
    target = random_target(n)
    exact = [f.detach().bfloat16() for f in random_features(n)]
    losses = []
    for enabled in (True, False):
        regularizer = SimilarityRegularizer(RegularizerConfig(), 2)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = regularizer(exact, said(target, n, regularizer), all_pairs(n))
        assert loss.dtype == torch.float32
        losses.append(loss)
    assert torch.equal(*losses)


# -- running mean --------------------------------------------------------------------------


def test_mean_stays_in_evaluation_mode_and_is_used() -> None:
    regularizer = SimilarityRegularizer(RegularizerConfig(), 2).double()
    first, second = random_features(4), random_features(4, seed=1)
    regularizer.similarity(first)
    regularizer.eval()
    similarity = regularizer.similarity(second)
    for k, feature in enumerate(first):
        torch.testing.assert_close(
            getattr(regularizer, f"mean_{k}"), flatten_features(feature).mean(0)
        )
    expected = sum(
        0.5 * cosine_similarity(flatten_features(b) - flatten_features(a).mean(0))
        for a, b in zip(first, second, strict=True)
    )
    torch.testing.assert_close(similarity, expected)


def test_state_survives_saving_before_and_after_the_first_batch() -> None:
    regularizer = SimilarityRegularizer(RegularizerConfig(), 2)
    fresh = regularizer.state_dict()
    regularizer.similarity(random_features(4, dtype=torch.float32))
    regularizer.logits.data = torch.tensor([1.0, 2.0])
    loaded = SimilarityRegularizer(RegularizerConfig(), 2)
    loaded.load_state_dict(regularizer.state_dict())
    features = random_features(4, seed=1, dtype=torch.float32)
    assert torch.equal(loaded.similarity(features), regularizer.similarity(features))
    loaded.load_state_dict(fresh)
    assert loaded.mean_0 is None


def test_stimuli_of_another_size_are_refused() -> None:
    regularizer = SimilarityRegularizer(RegularizerConfig(), 1)
    regularizer.similarity([torch.rand(4, 2, 3, 3)])
    with pytest.raises(ValueError, match="layer 0 has 32 of them, expected 18"):
        regularizer.similarity([torch.rand(4, 2, 4, 4)])
    with pytest.raises(ValueError, match="of 2 layers, expected 1"):
        regularizer.similarity([torch.rand(4, 2, 3, 3)] * 2)


# -- stimuli -------------------------------------------------------------------------------


def test_all_pairs_of_different_stimuli_are_compared_once() -> None:
    config = RegularizerConfig(n_stimuli=16)
    chosen, pairs = sample_stimuli(40, config, torch.Generator().manual_seed(0))
    assert len(chosen.unique()) == 16
    assert pairs.shape == (2, 120)
    assert (pairs[0] < pairs[1]).all()
    assert len(set(map(tuple, pairs.T.tolist()))) == 120


def test_independent_pairs_are_uniform_over_different_stimuli() -> None:
    n = 5
    config = RegularizerConfig(n_stimuli=64, pair_sampling="independent")
    rng = torch.Generator().manual_seed(0)
    counts = np.zeros((n, n))
    for _ in range(200):
        chosen, pairs = sample_stimuli(n, config, rng)
        assert pairs.shape == (2, 32)
        np.add.at(counts, tuple(chosen[pairs].numpy()), 1)
    assert (np.diag(counts) == 0).all()
    expected = counts.sum() / (n * (n - 1))
    off_diagonal = counts[~np.eye(n, dtype=bool)]
    assert ((off_diagonal - expected) ** 2 / expected).sum() < 43.8  # chi2(19), p = 0.001


def test_more_stimuli_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="n_stimuli: 16, expected 2 to 10"):
        sample_stimuli(10, RegularizerConfig(), torch.Generator())


def test_bytes_and_floats_come_in_the_range_of_task_images() -> None:
    stimuli = np.random.default_rng(0).integers(0, 256, (4, 1, 6, 8)).astype(np.uint8)
    torch.testing.assert_close(prepare_stimuli(stimuli, 1), torch.from_numpy(stimuli).float() / 255)
    for same in (stimuli.astype(np.float32), (stimuli / 255).astype(np.float32)):
        torch.testing.assert_close(prepare_stimuli(same, 1), prepare_stimuli(stimuli, 1))
    stimuli[0, 0, 0, :2] = 0, 255
    z_scored = ((stimuli - stimuli.mean()) / stimuli.std()).astype(np.float32)
    torch.testing.assert_close(prepare_stimuli(z_scored, 1), prepare_stimuli(stimuli, 1))


def test_channels_and_size_are_adapted_to_the_network() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 32)).astype(np.uint8)
    grey = luma(colour)
    difference = prepare_stimuli(colour, 1) - prepare_stimuli(grey, 1)
    assert difference.abs().max() < 0.51 / 255  # luma of bytes is rounded
    repeated = prepare_stimuli(grey, 3)
    assert repeated.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(repeated[:, 0], repeated[:, 2])
    small = prepare_stimuli(grey, 1, (8, 16))
    assert small.shape == (4, 1, 8, 16)
    torch.testing.assert_close(small.mean(), prepare_stimuli(grey, 1).mean(), atol=0.01, rtol=0)


def test_stimuli_do_not_touch_kept_statistics_but_are_normalised_by_their_batch() -> None:
    norm = nn.BatchNorm2d(2)
    images = 5 + 3 * torch.rand(4, 2, 3, 3)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with batchnorm_of_stimuli(norm):
        out = norm(images)
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    with batchnorm_of_stimuli(norm, "both"):
        assert torch.equal(norm(images), out)
    assert not torch.equal(norm.running_mean, before["running_mean"])  # type: ignore[arg-type]
    assert norm.track_running_stats


def test_stimuli_can_be_normalised_as_the_network_is_tested() -> None:
    """So that the features that are taught are those that are judged."""
    norm = nn.BatchNorm2d(2)
    norm(5 + 3 * torch.rand(8, 2, 3, 3))  # a batch of the task
    images = torch.rand(4, 2, 3, 3)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with batchnorm_of_stimuli(norm, "running"):
        taught = norm(images)
    assert norm.training
    assert torch.equal(taught, norm.eval()(images))
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())


def test_a_lesson_reads_the_features_that_are_judged_if_it_is_told_to() -> None:
    network = build_network(NetworkConfig(width=2), 1, 10, seed=0)
    network(torch.rand(16, 1, 12, 12))
    stimuli = np.random.default_rng(0).integers(0, 256, (12, 1, 12, 12)).astype(np.uint8)
    similarity = np.corrcoef(np.random.default_rng(1).standard_normal((12, 5)))
    teacher = SimilarityTeacher("some", stimuli, similarity.astype(np.float32))

    def loss(choice: str, training: bool) -> float:
        config = RegularizerConfig(batchnorm=choice, n_stimuli=12, centering="batch")
        rng = torch.Generator().manual_seed(0)
        layers = ("stage1", "stage2")
        lesson = config.lesson(network.train(training), layers, teacher, 1, rng)
        return lesson.loss(*lesson.draw()).item()

    assert loss("running", True) == pytest.approx(loss("running", False), rel=1e-5)
    assert loss("task", True) != pytest.approx(loss("running", True), rel=1e-3)


# -- config --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alpha": -1}, "alpha"),
        ({"alpha": math.inf}, "alpha"),
        ({"eps": 0}, "eps"),
        ({"eps": 1}, "eps"),
        ({"mean_momentum": 1}, "mean_momentum"),
        ({"n_stimuli": 1}, "n_stimuli"),
        ({"n_stimuli": 9, "pair_sampling": "independent"}, "n_stimuli: 9, expected an even"),
        ({"n_stimuli": 2, "centering": "batch"}, "expected at least 3"),
        ({"stimulus_size": (4, 64)}, "stimulus_size"),
        ({"centring": "batch"}, "centring"),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RegularizerConfig.model_validate(fields)
