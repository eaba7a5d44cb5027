"""Training that goes by accuracy on the validation part: when it slows and stops, what it keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.optim.lr_scheduler import ReduceLROnPlateau

from regularized_training import training as loop
from regularized_training.analysis.accuracy import evaluate
from regularized_training.joint_loss import TrainingError
from regularized_training.lessons.config import RegularizerConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.plateau import best_epoch, n_reductions
from regularized_training.tasks.config import AugmentConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.teacher import SimilarityTeacher
from regularized_training.trained_network import EpochRecord
from regularized_training.training import Training, train
from regularized_training.training_config import TrainingConfig

NETWORK = NetworkConfig(width=2)
STALLING = TrainingConfig(
    epochs=12,
    schedule="plateau",
    hold_out_validation=True,
    best_epoch=True,
    patience=2,
    reductions=3,
    batch_size=32,
    augment=AugmentConfig(padding=2, flip=False),
    n_train=64,
    n_test=20,
)


class Killed(Exception):
    pass


@pytest.fixture
def teacher(small_digits: ImageTask) -> SimilarityTeacher:
    return SimilarityTeacher("noise", small_digits.train_images[:30], np.eye(30, dtype=np.float32))


def scripted(monkeypatch: pytest.MonkeyPatch, accuracies: Sequence[float]) -> None:
    """Have the validation part be classified so well after each epoch."""
    told = iter(accuracies)

    def said(self: loop.Training, part: str) -> tuple[float, float]:
        self.network.eval()
        return 0.0, next(told) if part == "validation" else 0.5

    monkeypatch.setattr(loop.Training, "_evaluate", said)


@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize("threshold", [0.0, 0.02])
def test_the_learning_rate_falls_when_that_of_torch_does(patience: int, threshold: float) -> None:
    accuracies = np.random.default_rng(patience).random(60).cumsum() % 1
    group = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([group], lr=1.0)
    scheduler = ReduceLROnPlateau(
        optimizer,
        "max",
        factor=0.9,
        patience=patience - 1,
        threshold=threshold,
        threshold_mode="abs",
    )
    for n, accuracy in enumerate(accuracies, start=1):
        scheduler.step(accuracy)
        found = n_reductions(accuracies[:n].tolist(), patience=patience, threshold=threshold)
        assert 0.9**found == pytest.approx(optimizer.param_groups[0]["lr"])
    assert found > 3


def test_a_training_slows_down_and_stops_as_accuracy_stalls(
    small_digits: ImageTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two epochs without improvement each; one within the threshold is none."""
    accuracies = [0.1, 0.2, 0.2, 0.20005, 0.3, 0.2, 0.3, 0.25, 0.25, 0.9]
    scripted(monkeypatch, accuracies)
    trained = train(small_digits, NETWORK, STALLING, seed=0)
    rates = [record.learning_rate for record in trained.history]
    # Reduced after epochs 3 and 6; when it would be the third time, after epoch 8, it is over.
    np.testing.assert_allclose(rates, [0.1] * 4 + [0.03] * 3 + [0.009] * 2)
    assert [record.validation_accuracy for record in trained.history] == accuracies[:9]
    assert trained.epoch == 4


def test_epochs_are_the_most_there_can_be(
    small_digits: ImageTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.1, 0.2, 0.3, 0.4])
    config = STALLING.model_copy(update={"epochs": 3})
    assert len(train(small_digits, NETWORK, config, seed=0).history) == 3


def test_the_weights_are_those_of_the_best_epoch(
    small_digits: ImageTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of four: two epochs alone end with the same, and keeping the last does not."""
    config = STALLING.model_copy(update={"epochs": 4, "schedule": "constant"})
    accuracies = [0.1, 0.5, 0.5, 0.2]
    weights = {}
    for name, update in (
        ("best", {}),
        ("two", {"epochs": 2}),
        ("last", {"best_epoch": False}),
    ):
        scripted(monkeypatch, accuracies)
        trained = train(small_digits, NETWORK, config.model_copy(update=update), seed=0)
        weights[name] = trained.state_dict
        assert trained.epoch == (3 if name == "last" else 1)
    for key, value in weights["best"].items():
        assert torch.equal(value, weights["two"][key]), key
    assert not torch.equal(weights["best"]["stem.0.weight"], weights["last"]["stem.0.weight"])


def test_what_is_kept_has_the_highest_accuracy_of_all_epochs(small_digits: ImageTask) -> None:
    config = STALLING.model_copy(update={"epochs": 5, "learning_rate": 0.5})
    trained = train(small_digits, NETWORK, config, seed=1)
    task = small_digits.with_validation()
    assert task.validation_images is not None
    images, labels = map(torch.tensor, (task.validation_images, task.validation_labels))
    _, accuracy = evaluate(trained.network(), images, labels)
    assert accuracy == max(record.validation_accuracy for record in trained.history)  # type: ignore[type-var]
    assert accuracy == trained.history[trained.epoch].validation_accuracy


def test_a_training_goes_on_from_its_best_weights_when_it_slows_down(
    small_digits: ImageTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.5, 0.2, 0.2, 0.1])
    task = small_digits.with_validation().subset(STALLING.n_train, STALLING.n_test)
    training = Training(task, NETWORK, STALLING, seed=0)
    seen = []
    for _ in range(3):
        training.run_epoch()
        seen.append({k: v.clone() for k, v in training.network.state_dict().items()})
    assert torch.equal(seen[2]["stem.0.weight"], seen[0]["stem.0.weight"])
    assert torch.equal(seen[2]["stem.1.running_mean"], seen[0]["stem.1.running_mean"])
    assert not torch.equal(seen[1]["stem.0.weight"], seen[0]["stem.0.weight"])


@pytest.mark.parametrize("killed_after", [1, 2])
def test_killed_and_resumed_it_ends_bit_identical(
    small_digits: ImageTask,
    teacher: SimilarityTeacher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed_after: int,
) -> None:
    """Before and just after the learning rate fell, which it does in the third epoch and later."""
    monkeypatch.setattr("regularized_training.training_checkpoint.CHECKPOINT_SHARE", math.inf)
    accuracies = [0.5, 0.2, 0.2, 0.1, 0.2, 0.6, 0.1]
    regularizer = RegularizerConfig(n_stimuli=4)
    config = STALLING.model_copy(update={"epochs": 7, "regularizer": regularizer})
    scripted(monkeypatch, accuracies)
    whole = train(small_digits, NETWORK, config, 3, teacher=teacher)

    def kill(record: EpochRecord) -> None:
        if record.epoch == killed_after:
            raise Killed

    file = tmp_path / "a.pt"
    scripted(monkeypatch, accuracies)
    with pytest.raises(Killed):
        train(small_digits, NETWORK, config, 3, teacher=teacher, checkpoint=file, progress=kill)
    scripted(monkeypatch, accuracies[killed_after + 1 :])
    resumed = train(small_digits, NETWORK, config, 3, teacher=teacher, checkpoint=file)
    assert resumed.epoch == whole.epoch == 5
    for name, value in whole.state_dict.items():
        assert torch.equal(value, resumed.state_dict[name]), name
    for one, other in zip(whole.history, resumed.history, strict=True):
        assert (one.learning_rate, one.task_loss) == (other.learning_rate, other.task_loss)
        assert one.layer_weights == other.layer_weights


def test_biases_and_batch_normalisation_can_decay_too(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    """As with Safarani et al. 2021; what a lesson learns is for it to say."""
    config = TrainingConfig(weight_decay_of="all", regularizer=RegularizerConfig(n_stimuli=4))
    training = Training(small_digits, NETWORK, config, seed=0, teacher=teacher)
    decays = {
        id(p): group["weight_decay"]
        for group in training.optimizer.param_groups
        for p in group["params"]
    }
    assert training.lesson is not None
    expected = {id(p): 5e-4 for p in training.network.parameters()}
    expected |= {id(p): 0.0 for p in training.lesson.module.parameters()}
    assert decays == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schedule": "plateau"}, "hold_out_validation: false, expected true with schedule"),
        ({"best_epoch": True}, "hold_out_validation: false, expected true with best_epoch"),
        ({"schedule": "plateau", "hold_out_validation": True, "decay": 1}, "decay: 1, expected"),
        ({"patience": 0}, "patience"),
        ({"reductions": 0}, "reductions"),
        ({"threshold": -0.1}, "threshold"),
        ({"weight_decay_of": "biases"}, "weight_decay_of"),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingConfig.model_validate(fields)


def test_a_task_whose_validation_part_is_not_apart_is_refused(small_digits: ImageTask) -> None:
    with pytest.raises(TrainingError, match=r"hold_out_validation: set, .* task.with_validation"):
        Training(small_digits, NETWORK, STALLING, seed=0)


def test_settings_of_before_have_the_description_they_had() -> None:
    assert not TrainingConfig().described().keys() & {
        "patience", "threshold", "reductions", "best_epoch", "weight_decay_of"
    }  # fmt: skip
    assert TrainingConfig.model_validate(STALLING.described()) == STALLING


def test_of_equally_good_epochs_the_first_is_the_best() -> None:
    assert best_epoch([0.2, 0.7, 0.1, 0.7]) == 1
