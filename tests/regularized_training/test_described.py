from __future__ import annotations

import pytest

from predictive_model.config import Config
from regularized_training.lessons.config import RegularizerConfig, RsmConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.teachers.config import TeacherConfig
from regularized_training.training_config import TrainingConfig

# What each of these was described by before any setting was added, which their hashes rest on.
BEFORE = [
    (
        NetworkConfig(),
        {"architecture": "resnet18", "width": 64, "activation": "relu", "initialisation": "own"},
    ),
    (
        TeacherConfig(kind="shuffle", seed=3),
        {
            "kind": "shuffle",
            "seed": 3,
            "held_out": 0.1,
            "rank": 8,
            "rsm": "",
            "mean": 0.495,
            "deviation": 0.582,
        },
    ),
    (
        RsmConfig(method="rsm", taught_epochs="all"),
        {
            "method": "rsm",
            "layer": "V1",
            "ratio": 0.1,
            "weighting": "ratio",
            "taught_epochs": "all",
            "decay": False,
            "n_pairs": 50,
            "stimulus_size": None,
        },
    ),
    (
        TrainingConfig(regularizer=RegularizerConfig(layers=("stem",), stimulus_size=(16, 16))),
        {
            "epochs": 40,
            "batch_size": 64,
            "schedule": "restart",
            "learning_rate": 0.1,
            "decay_every": 4,
            "decay": 0.3,
            "restart_epoch": 20,
            "warmup": 0.2,
            "optimizer": "sgd",
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "augment": {"padding": 4, "flip": True},
            "n_train": None,
            "n_test": None,
            "shuffled_labels": 0.0,
            "precision": "float32",
            "regularizer": {
                "alpha": 10.0,
                "alpha_warmup": 0.0,
                "eps": 1e-3,
                "centering": "running",
                "mean_momentum": 0.9,
                "n_stimuli": 16,
                "pair_sampling": "all_pairs",
                "batchnorm": "task",
                "stimulus_size": [16, 16],
                "layers": ["stem"],
            },
        },
    ),
]


@pytest.mark.parametrize(("config", "before"), BEFORE, ids=lambda c: type(c).__name__)
def test_a_setting_that_was_added_changes_no_description_of_before(
    config: Config, before: dict[str, object]
) -> None:
    assert config.described() == before
    assert config.needs() == ""
    assert type(config).model_validate(before) == config
