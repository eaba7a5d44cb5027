"""Hypotheses of an experiment file: which conditions they name, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings, read_experiment
from pipeline.experiments.hypotheses import Hypothesis, digest, said_of, trained

FILE = """
title = "a study"
recordings = ["scan"]
images = "digits"
seeds = [0, 1, 2]
teachers = [
    "none",
    { kind = "none", training = { hardened = { method = "noise", deviation = 0.1 } } },
    { kind = "none", network = { low_pass = 1 } },
    { kind = "shuffle", alphas = [1, 10] },
    "neural_model",
]

[[variants]]
[[variants]]
training = { epochs = 3 }

[training]
epochs = 8

[training.regularizer]
alpha = 3

[scales.small]

[[hypotheses]]
name = "robust"
measure = "noise"
of = { noise = "gaussian" }
level = [0.1, 0.2]
first = { kind = "neural_model", variant = {} }
second = { kind = "none", variant = {} }
direction = "greater"
smallest_effect = 0.02
"""
ONE = {"name": "robust", "measure": "noise", "direction": "greater", "smallest_effect": 0.02}


def read(folder: Path, *replaced: tuple[str, str]) -> ExperimentSettings:
    text = FILE
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    path = folder / "study.toml"
    path.write_text(text)
    return read_experiment(path, "small")


def test_a_hypothesis_is_read_and_written_as_it_is(tmp_path: Path) -> None:
    settings = read(tmp_path)
    (found,) = settings.hypotheses
    assert (found.level, found.test, found.alpha) == ((0.1, 0.2), "t", 0.05)
    again = ExperimentSettings.model_validate(settings.model_dump(mode="json"))
    assert again == settings
    without = settings.model_copy(update={"hypotheses": ()}).model_dump(mode="json")
    assert "hypotheses" not in without, "as experiments that were added before have none"


def test_conditions_are_found_by_what_the_file_says_of_them(tmp_path: Path) -> None:
    settings = read(tmp_path)

    def found(**condition: Any) -> tuple[str, int, float | None, bool, float | None]:
        entry, network, config = trained(condition, settings)
        lesson = config.regularizer
        hardened = config.hardened is not None
        return entry.kind, config.epochs, lesson and lesson.alpha, hardened, network.low_pass

    plain: dict[str, Any] = {"variant": {}}
    assert found(kind="none", **plain) == ("none", 8, None, False, 0)
    shorter = {"training": {"epochs": 3}}
    assert found(kind="none", variant=shorter) == ("none", 3, None, False, 0)
    noisy = {"hardened": {"method": "noise"}}
    assert found(kind="none", training=noisy, **plain) == ("none", 8, None, True, 0)
    blurred = found(kind="none", network={"low_pass": 1}, **plain)
    assert blurred == ("none", 8, None, False, 1)
    assert found(kind="shuffle", alpha=10, **plain) == ("shuffle", 8, 10, False, 0)
    assert said_of({"kind": "neural_model", "alpha": 10}) == "neural model, alpha 10"


@pytest.mark.parametrize(
    "old, new, message",
    [
        (
            'kind = "none", variant',
            'kind = "gabor", variant',
            "second: gabor, variant .* is no con",
        ),
        ('"neural_model", variant = {}', '"neural_model"', "first: neural model is 2 conditions"),
        ('kind = "none", variant = {} }', 'kind = "shuffle", variant = {} }', "is 2 conditions of"),
        ('"none", variant = {} }', '"none", colour = 1 }', "colour: tells no conditions apart"),
        ('second = { kind = "none"', 'second = { kind = "neural_model"', "are the same condition"),
        ("second = {", "other = {", "second: Field required"),
        ("effect = 0.02", "effect = 0", "smallest_effect: Input should be greater than 0"),
        ("effect = 0.02", "effect = 0.02\nalpha = 1", "alpha: Input should be less than 1"),
        ("effect = 0.02", "effect = 0.02\nalpha = 0", "alpha: Input should be greater than 0"),
        ('"greater"', '"upwards"', "direction: Input should be 'greater', 'less' or 'different'"),
        ("[0.1, 0.2]", "[0.1, 0.1]", "expected at least one level, and each once"),
        ("[0.1, 0.2]", "{ low = 1, high = 0 }", "low: 1 above high: 0"),
        ("seeds = [0, 1, 2]", "seeds = [0]", "hypotheses: 1 seed, expected at least 2"),
    ],
)
def test_what_cannot_be_tested_is_refused_in_one_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ExperimentError, match=message) as error:
        read(tmp_path, (old, new))
    assert "\n" not in str(error.value) and "hypotheses" in str(error.value)


def test_names_are_distinct_and_networks_are_trained(tmp_path: Path) -> None:
    twice = FILE[FILE.index("[[hypotheses]]") :]
    with pytest.raises(ExperimentError, match="robust twice, expected distinct names"):
        read(tmp_path, (twice, twice + twice))
    content = {"title": "fits", "recordings": ["scan"]}
    one = Hypothesis(**ONE, first="none", second="shuffle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no network is trained"):
        ExperimentSettings.model_validate({**content, "hypotheses": [one]})


def test_a_digest_does_not_depend_on_how_a_database_writes_numbers_and_names() -> None:
    then = {"rate": 1e20, "levels": [0.0, 0.1], "of": {"a": 1, "b": True}}
    now = {"of": {"b": True, "a": 1.0}, "levels": [0, 0.1], "rate": 10**20}
    assert digest(then) == digest(now)
    assert digest(then) != digest(then | {"levels": [0.0, 0.2]})


def test_levels_are_those_of_the_file() -> None:
    def levels(level: Any) -> list[float]:
        one = Hypothesis(**ONE, first="none", second="shuffle", level=level)  # type: ignore[arg-type]
        return one.chosen_levels([0, 0.1, 0.2, 0.3])

    assert levels(0.1) == [0.1]
    assert levels((0.3, 0.1)) == [0.1, 0.3]
    assert levels({"low": 0.1, "high": 0.2}) == [0.1, 0.2]
    assert levels(None) == [0, 0.1, 0.2, 0.3]
    with pytest.raises(ValueError, match=r"level: 0.15, expected one of those of the file, 0, 0.1"):
        levels(0.15)
