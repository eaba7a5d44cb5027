"""Hashes that databases of others hold, settings that came later, and rows of newer versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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


def test_settings_that_cannot_be_read_here_are_one_line_that_says_why() -> None:
    """Of a failure in a worker people are shown the first line."""
    for method, why in (
        ("mylab_pull", "no part of this name is installed; .*; install the package that it comes"),
        ("mylab.lessons:Pull", "there is no module mylab; install it, or put its folder on"),
    ):
        message = f"^TrainingConfig: regularizer: lesson '{method}': {why}"
        with pytest.raises(ValueError, match=message) as caught:
            read_config(TrainingConfig, {"regularizer": {"method": method}})
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="^Plain: epochs: .*, found 'many'$"):  # damaged
        read_config(Plain, {"epochs": "many"}, "")


def test_weights_of_a_file_count_by_their_digest_wherever_it_lies(tmp_path: Path) -> None:
    elsewhere = tmp_path / "sub"
    elsewhere.mkdir()
    files = [tmp_path / "a.pth", elsewhere / "b.pth", tmp_path / "c.pth"]
    for file, content in zip(files, (b"weights", b"weights", b"other weights"), strict=True):
        file.write_bytes(content)
    first, same, other = (NetworkConfig(weights=str(file)) for file in files)
    assert config_hash(first) == config_hash(same)
    assert len({config_hash(c) for c in (first, other, NetworkConfig())}) == 3
    assert config_row("hash", same)["config"]["weights"] == str(files[1])
    published = NetworkConfig(architecture="torchvision:resnet18", weights="default")
    assert config_hash(published) != config_hash(
        published.model_copy(update={"weights": "IMAGENET1K_V1"})
    )
