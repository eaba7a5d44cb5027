"""Hashes of configurations, provenance and checkpoints' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from predictive_model.config import Config
from predictive_model.encoders.config import EncoderConfig
from predictive_model.fits.config import FitConfig
from regularized_training.lessons.config import RegularizerConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.robustness.noise import NoiseConfig
from regularized_training.teachers.config import TeacherConfig
from regularized_training.training_config import TrainingConfig
from schemas import base, checkpoints
from schemas.configurations import config_hash
from schemas.objects import describe

CONFIGS: list[Config] = [
    EncoderConfig(),
    FitConfig(),
    NetworkConfig(),
    NoiseConfig(),
    TeacherConfig(kind="none"),
    TrainingConfig(),
    TrainingConfig(regularizer=RegularizerConfig()),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)
def test_a_hash_has_sixteen_digits_and_survives_a_round_trip_through_json(
    config: Config,
) -> None:
    digits = config_hash(config)
    assert len(digits) == 16
    assert int(digits, 16) >= 0
    again = type(config).model_validate_json(config.model_dump_json())
    assert config_hash(again) == digits


def test_a_default_that_is_spelled_out_changes_no_hash() -> None:
    spelled_out = TrainingConfig.model_validate(TrainingConfig().model_dump())
    assert config_hash(spelled_out) == config_hash(TrainingConfig())
    assert config_hash(FitConfig(patience=5)) == config_hash(FitConfig())


def test_the_order_of_settings_does_not_count() -> None:
    a = FitConfig.model_validate({"patience": 3, "batch_size": 8})
    b = FitConfig.model_validate({"batch_size": 8, "patience": 3})
    assert config_hash(a) == config_hash(b)
    assert config_hash({"x": {"a": 1, "b": 2}, "y": 3}) == config_hash(
        {"y": 3, "x": {"b": 2, "a": 1}}
    )


def test_the_order_within_a_list_counts() -> None:
    assert config_hash(NoiseConfig(levels=(0.0, 0.1))) != config_hash(
        NoiseConfig(levels=(0.1, 0.0))
    )


def test_whole_numbers_are_the_same_with_and_without_a_point() -> None:
    config = {"levels": [0, 1]}
    assert config_hash(NoiseConfig.model_validate(config)) == config_hash(
        NoiseConfig.model_validate({"levels": [0.0, 1.0]})
    )


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 41},
        {"batch_size": 65},
        {"learning_rate": 0.1000001},
        {"augment": {"flip": False}},
        {"n_train": 100},
        {"regularizer": {}},
        {"regularizer": {"alpha": 11}},
        {"regularizer": {"n_stimuli": 5}},
    ],
    ids=str,
)
def test_every_setting_counts(change: dict[str, Any]) -> None:
    changed = TrainingConfig.model_validate(change)
    assert config_hash(changed) != config_hash(TrainingConfig())


def test_the_kind_of_a_configuration_counts() -> None:
    class Cake(Config):
        eggs: int = 3

    class Soup(Config):
        eggs: int = 3

    assert config_hash(Cake()) != config_hash(Soup())
    assert len({config_hash(config) for config in CONFIGS}) == len(CONFIGS)


def test_names_count_as_well_as_values() -> None:
    assert config_hash({"a": 1, "b": 2}) != config_hash({"a": 2, "b": 1})
    assert config_hash({"a": None}) != config_hash({})


def test_provenance_names_the_code_and_the_time_it_took() -> None:
    watch = base.Stopwatch()
    said = watch.provenance("cuda:1")
    lines = base.PROVENANCE.strip().splitlines()
    columns = {line.split(":")[0].split("=")[0].strip() for line in lines}
    assert set(said) == columns - {"origins"}  # which the table adds: what it found of others
    assert said["device"] == "cuda:1"
    assert 0 < said["seconds"] <= watch.provenance()["seconds"] < 10
    assert len(said["git_commit"].removesuffix("-dirty")) in (0, 40)


def test_no_checkpoint_is_kept_where_there_is_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(base, "_computing", base.Computing())
    table: Any = type("Fit", (), {"primary_key": ["scan", "seed"]})
    assert checkpoints.checkpoint_path(table, {"scan": "a", "seed": 0}) is None
    base.configure(checkpoints=tmp_path)
    path = checkpoints.checkpoint_path(table, {"seed": 0, "scan": "a", "title": "not of the key"})
    assert path == checkpoints.checkpoint_path(table, {"scan": "a", "seed": 0})
    assert path != checkpoints.checkpoint_path(table, {"scan": "a", "seed": 1})
    assert path is not None and path.parent == tmp_path and path.name.startswith("Fit_")


@pytest.mark.parametrize("token", ["abcdefgh", "a_b-c_d_", "________"])
def test_an_object_is_described_by_row_and_column(token: str) -> None:
    path = f"_schema/brains/scan/scan=sim/cortical_positions_{token}.npy"
    assert describe(path) == f"cortical_positions of scan (scan=sim), object {path}"
    assert describe("_hash/brains/abc") == "object _hash/brains/abc"
