"""Settings of a training, and the schedules they make."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from regularized_training.lessons.config import RegularizerConfig
from regularized_training.training_config import TrainingConfig


def test_restart_schedule_is_that_of_the_paper() -> None:
    config = TrainingConfig()
    rates = [config.learning_rate_at(epoch + 0.5) for epoch in range(config.epochs)]
    phases = np.repeat([0.1, 0.03, 0.009, 0.0027, 0.00081], 4)
    np.testing.assert_allclose(rates, np.tile(phases, 2))
    assert (config.batch_size, config.epochs) == (64, 40)


def test_one_cycle_rises_to_the_learning_rate_and_falls_to_zero() -> None:
    config = TrainingConfig(schedule="one_cycle", epochs=10, warmup=0.2, learning_rate=0.4)
    rates = [config.learning_rate_at(epoch) for epoch in (0, 1, 2, 6, 10)]
    np.testing.assert_allclose(rates, [0, 0.2, 0.4, 0.2, 0], atol=1e-12)


@pytest.mark.parametrize("warmup", [0.0, 0.25, 1.0])
def test_the_weight_of_the_similarity_loss_rises_linearly_to_alpha(warmup: float) -> None:
    regularizer = RegularizerConfig(alpha=8, alpha_warmup=warmup)
    config = TrainingConfig(epochs=20, regularizer=regularizer)
    end = 20 * warmup
    found = [config.alpha_at(epoch) for epoch in (0, end / 4, end / 2, end, (end + 20) / 2, 20)]
    assert found == pytest.approx([0, 2, 4, 8, 8, 8] if warmup else [8] * 6)


def test_without_a_regulariser_similarity_has_no_weight() -> None:
    assert TrainingConfig().alpha_at(10) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1}, "batch_size"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"momentum": 1}, "momentum"),
        ({"weight_decay": -1e-4}, "weight_decay"),
        ({"schedule": "cosine"}, "schedule"),
        ({"augment": {"padding": -1}}, "padding"),
        ({"n_train": 32}, "batch_size: 64, expected 2 to 32"),
        ({"learning_rte": 0.1}, "learning_rte"),
        ({"precision": "float16"}, "precision"),
        ({"regularizer": {"alpha_warmup": 1.5}}, "alpha_warmup"),
        ({"regularizer": {"layers": []}}, "layers"),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingConfig.model_validate(fields)


def test_settings_written_down_spell_out_every_default() -> None:
    dumped = TrainingConfig(regularizer=RegularizerConfig()).model_dump(mode="json")
    assert dumped["augment"] == {
        "padding": 4,
        "flip": True,
        "rotation": 0,
        "min_area": 0.08,
    }
    assert dumped["regularizer"]["alpha"] == 10
    assert TrainingConfig.model_validate(dumped) == TrainingConfig(regularizer=RegularizerConfig())
