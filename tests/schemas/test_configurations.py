"""Hashes that databases of others hold, settings that came later, and rows of newer versions."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from predictive_model.config import Config, added
from predictive_model.encoders.config import EncoderConfig
from predictive_model.fits.config import FitConfig
from regularized_training.alignment.layers import RepresentationConfig
from regularized_training.analysis.activations import ActivationConfig
from regularized_training.lessons.config import RegularizerConfig, RsmConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.robustness.attack_config import AttackConfig
from regularized_training.robustness.noise import NoiseConfig
from regularized_training.teachers.config import TeacherConfig
from regularized_training.training_config import TrainingConfig
from schemas.configurations import NewerSettingsError, config_hash, config_row, read_config

# As version 0.1 wrote them: a database that was made by it finds what it has computed.
WRITTEN = [
    (EncoderConfig(), "0cd8c5b185374e96"),
    (FitConfig(), "aedbe4b54cceecd4"),
    (NetworkConfig(), "801c252b2d941324"),
    (TrainingConfig(), "a1029921140d3ff7"),
    (TrainingConfig(regularizer=RegularizerConfig()), "3bffe78a9e140dc9"),
    (TrainingConfig(regularizer=RsmConfig(method="rsm")), "bbc5197b469c1e7c"),
    (NoiseConfig(), "66f88c2bada4c977"),
    (AttackConfig(method="brendel_bethge", norm="L2"), "cfcac56a7100935c"),
    (AttackConfig(method="brendel_bethge", norm="Linf"), "f88f55b0a7a7a52e"),
    (AttackConfig(method="pgd", norm="Linf"), "d1d3b983ca65854a"),
    (AttackConfig(method="pgd", norm="L2"), "9a7b06935ce8aaed"),
    (TeacherConfig(kind="neural_model"), "bed3fb888a48deb5"),
    (RepresentationConfig(), "3b59a197d000a35d"),
    (ActivationConfig(layer="V2"), "7e0f0f68dcb38912"),
]


@pytest.mark.parametrize(("config", "digits"), WRITTEN, ids=lambda value: type(value).__name__)
def test_what_was_written_keeps_its_hash(config: Config, digits: str) -> None:
    assert config_hash(config) == digits
    assert config.needs() == ""
    assert read_config(type(config), json.loads(json.dumps(config.described()))) == config


class Plain(Config):
    epochs: int = 3


def grown(since: str = "9.9.0") -> type[Config]:
    """The same settings in a later version, which has one more."""

    class Later(Plain):
        momentum: float = added(0.9, since=since, ge=0)

    Later.__name__ = "Plain"
    return Later


def test_a_setting_that_came_later_counts_only_where_it_is_not_at_its_default() -> None:
    later = grown()
    for same in (later(), later.model_validate({"momentum": 0.9})):
        assert config_hash(same) == config_hash(Plain())
        assert same.described() == {"epochs": 3}
        assert config_row("hash", same)["needs"] == ""
    changed = later.model_validate({"momentum": 0.5})
    assert config_hash(changed) != config_hash(Plain())
    row = config_row("hash", changed, epochs=3)
    assert row == {
        "hash": config_hash(changed),
        "epochs": 3,
        "needs": "9.9.0",
        "config": {"epochs": 3, "momentum": 0.5},
    }
    assert config_hash(later.model_validate({"epochs": 4})) == config_hash(Plain(epochs=4))


def test_settings_within_settings_came_later_too() -> None:
    class Outer(Config):
        inner: Plain = Plain()
        several: tuple[Plain, ...] = ()

    inner = grown()
    assert Outer(inner=inner()).described() == Outer().described()
    changed = inner.model_validate({"momentum": 0.5})
    assert Outer(inner=changed).needs() == Outer(several=(Plain(), changed)).needs() == "9.9.0"
    assert Outer(several=(changed,)).described()["several"] == [{"epochs": 3, "momentum": 0.5}]
    # 10 is later than 9.
    latest = grown("10.0")(momentum=0.5)
    assert Outer(inner=latest, several=(changed,)).needs() == "10.0"


def test_a_row_of_a_newer_version_says_which_version_reads_it() -> None:
    changed = grown().model_validate({"momentum": 0.5})
    row = config_row("hash", changed)
    with pytest.raises(NewerSettingsError, match=r"Plain: these settings need neuroteach 9\.9\.0"):
        read_config(Plain, row["config"], row["needs"])
    assert read_config(type(changed), row["config"], row["needs"]) == changed
    at_default = config_row("hash", grown()())
    assert read_config(Plain, at_default["config"], at_default["needs"]) == Plain()
    with pytest.raises(ValidationError):  # damaged rather than newer
        read_config(Plain, {"epochs": "many"}, "")
