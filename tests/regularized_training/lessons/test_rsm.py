"""A representational similarity matrix as a teacher (Federer et al. 2020)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from regularized_training.joint_loss import TrainingError
from regularized_training.lessons.config import RsmConfig
from regularized_training.lessons.rsm import RsmLesson, rsm_cost, uncentred_cosine
from regularized_training.lessons.weighting import RatioWeight
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.config import AugmentConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.rsm import (
    gaussian_teacher,
    recorded_rsm,
    shuffle_neurons,
    teacher_from_pairs,
)
from regularized_training.teachers.teacher import SimilarityTeacher
from regularized_training.training import Training, train
from regularized_training.training_config import TrainingConfig

NETWORK = NetworkConfig(architecture="cornet_z", width=4)
RSM = RsmConfig(method="rsm", n_pairs=20)
CONFIG = TrainingConfig(
    epochs=3,
    schedule="constant",
    learning_rate=0.01,
    momentum=0,
    augment=AugmentConfig(padding=0, flip=False),
    n_train=320,
    n_test=100,
    regularizer=RSM,
)
rng = np.random.default_rng(0)
STIMULI = rng.integers(0, 256, (30, 1, 32, 32)).astype(np.uint8)
RATES = rng.gamma(2, 1, (30, 12))


@pytest.fixture(scope="module")
def teacher() -> SimilarityTeacher:
    return SimilarityTeacher("v1", STIMULI, recorded_rsm([RATES]))


# -- teachers ------------------------------------------------------------------------------


def test_recorded_similarity_is_the_uncentred_cosine_averaged_over_sessions() -> None:
    other = np.random.default_rng(1).gamma(2, 1, (30, 5))
    found = recorded_rsm([RATES, other])
    for i, j in ((0, 1), (7, 20)):
        cosines = [
            r[i] @ r[j] / np.linalg.norm(r[i]) / np.linalg.norm(r[j]) for r in (RATES, other)
        ]
        assert found[i, j] == pytest.approx(np.mean(cosines), abs=1e-6)
    assert np.array_equal(found, found.T)


def test_shuffled_neurons_keep_their_rates_and_lose_what_they_had_in_common() -> None:
    signal = np.random.default_rng(0).gamma(2, 1, (400, 1))
    shuffled = shuffle_neurons(np.tile(signal, 20), seed=3)
    assert np.array_equal(np.sort(shuffled, 0), np.tile(np.sort(signal, 0), 20))
    correlations = np.corrcoef(shuffled.T)[np.triu_indices(20, 1)]
    assert abs(correlations).max() < 0.25


def test_gaussian_vectors_are_as_alike_as_their_mean_and_deviation_say() -> None:
    stimuli = np.random.default_rng(2).integers(0, 256, (300, 1, 8, 8)).astype(np.uint8)
    i, j = np.triu_indices(300, 1)
    v1 = gaussian_teacher(stimuli).similarity[i, j]
    aligned = gaussian_teacher(stimuli, mean=5).similarity[i, j]
    # With many elements the cosine would be mean^2 / (mean^2 + sd^2).
    assert v1.mean() == pytest.approx(0.495**2 / (0.495**2 + 0.582**2), abs=0.01)
    assert aligned.mean() == pytest.approx(25 / (25 + 0.582**2), abs=0.001)


def test_pairs_are_known_and_the_rest_is_not() -> None:
    teacher = teacher_from_pairs(
        STIMULI, np.array([[0, 2], [2, 0], [5, 4]], np.int16), [0.2, 0.4, 1]
    )
    assert teacher.known_pairs.T.tolist() == [[0, 2], [4, 5]]
    assert teacher.similarity[0, 2] == teacher.similarity[2, 0] == np.float32(0.7)
    assert np.isnan(teacher.similarity[0, 1])


@pytest.mark.parametrize(
    ("pairs", "distances", "message"),
    [
        ([[0, 30]], [0.1], r"pairs: stimulus 30, expected 0 to 29"),
        ([[-1, 3]], [0.1], r"pairs: stimulus -1"),
        ([[3, 3]], [0.1], "a stimulus with itself"),
        ([[0, 1], [1, 2]], [0.1, np.nan], "distances: nan for pair 1, expected numbers from 0 to"),
        ([[0, 1]], [2.5], r"distances: 2\.5 for pair 0"),
        ([[0, 1]], [0.1, 0.2], r"distances: shape \(2,\), expected \(1,\)"),
        ([[0, 1, 2]], [0.1], r"pairs: int64 of shape \(1, 3\), expected int \(pair, 2\)"),
        ([[0.0, 1.0]], [0.1], "pairs: float64"),
        (np.zeros((0, 2), int), [], "pairs: int64 of shape"),
    ],
)
def test_pairs_that_cannot_be_are_refused(pairs: object, distances: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        teacher_from_pairs(STIMULI, pairs, distances)  # type: ignore[arg-type]


def test_a_matrix_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"similarity: shape \(29, 29\), expected \(30, 30\)"):
        SimilarityTeacher("v1", STIMULI, recorded_rsm([RATES])[1:, 1:])


def test_the_regulariser_of_li_needs_to_know_all_pairs(small_digits: ImageTask) -> None:
    config = CONFIG.model_copy(
        update={
            "regularizer": TrainingConfig.model_validate(
                {"regularizer": {"n_stimuli": 4}}
            ).regularizer
        }
    )
    teacher = teacher_from_pairs(STIMULI, [[0, 1]], [0.1])
    with pytest.raises(ValueError, match="not known for all pairs of stimuli"):
        Training(small_digits, NETWORK, config, 0, teacher=teacher)


# -- cost ----------------------------------------------------------------------------------


def test_cost_is_the_sum_of_squared_differences_of_uncentred_cosines() -> None:
    """Eq. 1 and 2, written as loops."""
    torch.manual_seed(0)
    features = torch.rand(6, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0.3, 0.9, -0.2], dtype=torch.float64)
    expected = torch.zeros((), dtype=torch.float64)
    for k in range(3):
        a, b = features[k].flatten(), features[k + 3].flatten()
        expected = expected + (a @ b / a.norm() / b.norm() - target[k]) ** 2
    found = rsm_cost(features, target)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)
    gradients = [torch.autograd.grad(v, features)[0] for v in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-9)


def test_silent_features_are_alike_to_none_and_have_a_gradient() -> None:
    first = torch.zeros(1, 4, requires_grad=True)
    cosine = uncentred_cosine(first, torch.ones(1, 4))
    assert cosine.item() == 0
    cosine.sum().backward()
    assert torch.isfinite(first.grad).all()  # type: ignore[arg-type]


def test_pairs_say_what_the_matrix_says_where_all_are_given(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    i, j = np.triu_indices(30, 1)
    sparse = teacher_from_pairs(STIMULI, np.stack([j, i], 1), 1 - teacher.similarity[i, j])
    costs = []
    for said in (teacher, sparse):
        training = Training(small_digits, NETWORK, CONFIG, 0, teacher=said)
        assert isinstance(training.lesson, RsmLesson)
        costs.append([training.lesson.loss(*training.lesson.draw()).item() for _ in range(3)])
    np.testing.assert_allclose(*costs, rtol=1e-5)


# -- weight --------------------------------------------------------------------------------


def test_lambda_keeps_the_ratio_and_carries_no_gradient() -> None:
    task, cost = torch.tensor(2.3, requires_grad=True), torch.tensor(0.02, requires_grad=True)
    weight = RatioWeight()(0.1, task, cost)
    assert not weight.requires_grad
    assert (weight * cost / task).item() == pytest.approx(0.1, rel=1e-6)
    (task + weight * cost).backward()
    assert task.grad == 1
    assert cost.grad == weight
    assert RatioWeight()(0.1, task, torch.tensor(0.0)) == 0


def test_a_static_lambda_is_that_of_the_first_step_and_survives_a_checkpoint() -> None:
    weight = RatioWeight(static=True)
    first = weight(0.1, torch.tensor(2.0), torch.tensor(0.5))
    assert weight(0.1, torch.tensor(1.0), torch.tensor(0.1)) == first == pytest.approx(0.4)
    again = RatioWeight(static=True)
    again.load_state_dict(weight.state_dict())
    assert again(0.1, torch.tensor(1.0), torch.tensor(0.1)) == first


def test_the_ratio_is_constant_through_training(
    small_digits: ImageTask, teacher: SimilarityTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratios = []
    total = RsmLesson.total

    def noted(
        self: RsmLesson, ratio: float, task_loss: torch.Tensor, losses: list[torch.Tensor]
    ) -> torch.Tensor:
        found = total(self, ratio, task_loss, losses)
        ratios.append((found / task_loss - 1).item())
        return found

    monkeypatch.setattr(RsmLesson, "total", noted)
    train(small_digits, NETWORK, CONFIG, 0, teacher=teacher)
    assert len(ratios) == 3 * (320 // 64)
    np.testing.assert_allclose(ratios, 0.1, atol=1e-4)


def test_the_teacher_acts_as_long_as_it_is_told_to() -> None:
    config = RsmConfig(method="rsm", ratio=0.4, taught_epochs=2)
    assert [config.alpha_at(epoch, 8) for epoch in (0, 1.9, 2, 5)] == [0.4, 0.4, 0, 0]
    falling = RsmConfig(method="rsm", ratio=0.4, taught_epochs="all", decay=True)
    assert [falling.alpha_at(epoch, 8) for epoch in (0, 2, 8)] == pytest.approx([0.4, 0.3, 0])


# -- training ------------------------------------------------------------------------------


def test_the_taught_layer_comes_to_resemble_the_teacher(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    regularizer = RSM.model_copy(update={"ratio": 10.0, "taught_epochs": "all"})
    config = CONFIG.model_copy(update={"regularizer": regularizer, "epochs": 8})
    history = train(small_digits, NETWORK, config, 0, teacher=teacher).history
    costs = [record.similarity_loss for record in history]
    assert costs[-1] < 0.7 * costs[0]  # type: ignore[operator]


def test_a_teacher_at_rest_costs_nothing_and_changes_nothing(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    regularizer = RSM.model_copy(update={"taught_epochs": 1})
    taught = train(
        small_digits,
        NETWORK,
        CONFIG.model_copy(update={"regularizer": regularizer}),
        0,
        teacher=teacher,
    )
    assert [record.similarity_loss is None for record in taught.history] == [False, True, True]
    assert taught.layers == ("V1",)
    without = CONFIG.model_copy(update={"regularizer": RSM.model_copy(update={"ratio": 0.0})})
    silent = train(small_digits, NETWORK, without, 0, teacher=teacher)
    alone = train(small_digits, NETWORK, CONFIG.model_copy(update={"regularizer": None}), 0)
    for name, value in alone.state_dict.items():
        assert torch.equal(silent.state_dict[name], value), name


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_killed_training_goes_on_to_the_same_weights(
    small_digits: ImageTask,
    teacher: SimilarityTeacher,
    tmp_path: Path,
    optimizer: str,
) -> None:
    regularizer = RSM.model_copy(update={"weighting": "static", "taught_epochs": "all"})
    config = CONFIG.model_copy(
        update={"optimizer": optimizer, "regularizer": regularizer, "learning_rate": 0.003}
    )
    whole = train(small_digits, NETWORK, config, 0, teacher=teacher)

    def kill(record: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            small_digits,
            NETWORK,
            config,
            0,
            teacher=teacher,
            checkpoint=tmp_path / "c",
            progress=kill,
        )
    resumed = train(small_digits, NETWORK, config, 0, teacher=teacher, checkpoint=tmp_path / "c")
    for name, value in whole.state_dict.items():
        assert torch.equal(resumed.state_dict[name], value), name


def test_shuffled_labels_are_part_of_a_training(small_digits: ImageTask) -> None:
    config = CONFIG.model_copy(update={"regularizer": None, "epochs": 1})
    right = train(small_digits, NETWORK, config, 0)
    wrong = train(small_digits, NETWORK, config.model_copy(update={"shuffled_labels": 0.9}), 0)
    assert right.history[0].task_loss != wrong.history[0].task_loss


def test_a_layer_that_is_not_there_is_named(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    config = CONFIG.model_copy(update={"regularizer": RSM.model_copy(update={"layer": "V3"})})
    with pytest.raises(ValueError, match="layers: V3 are not among those of cornet_z .*V1, V2, V4"):
        Training(small_digits, NETWORK, config, 0, teacher=teacher)
    with pytest.raises(TrainingError, match="there is no teacher"):
        Training(small_digits, NETWORK, CONFIG, 0)
    held = replace(teacher_from_pairs(STIMULI, [[0, 1]], [0.1]), held_out=np.array([1]))
    with pytest.raises(ValueError, match="knows of no pair among the stimuli that teach"):
        Training(small_digits, NETWORK, CONFIG, 0, teacher=held)


def test_a_regulariser_is_told_by_its_method() -> None:
    described = {"regularizer": {"method": "rsm", "layer": "IT"}}
    assert isinstance(TrainingConfig.model_validate(described).regularizer, RsmConfig)
    with pytest.raises(ValidationError, match="n_stimuli"):
        TrainingConfig.model_validate({"regularizer": {"method": "rsm", "n_stimuli": 4}})
