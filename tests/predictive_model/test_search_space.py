"""A search space: what it may hold, and the settings at its points."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from predictive_model.encoders.config import EncoderConfig, FrontEndConfig, ShifterConfig
from predictive_model.fits.config import FitConfig
from predictive_model.search_space import Choices, Range, check_space, configs_at


def check(space: dict[str, Choices | Range], encoder: EncoderConfig | None = None) -> None:
    check_space(space, {"encoder": encoder or EncoderConfig(), "fit": FitConfig()})


def at(
    point: dict[str, Any], encoder: EncoderConfig | None = None, fit: FitConfig | None = None
) -> tuple[EncoderConfig, FitConfig]:
    found = configs_at(point, {"encoder": encoder or EncoderConfig(), "fit": fit or FitConfig()})
    return found["encoder"], found["fit"]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"low": 2, "high": 2}, "low is 2, expected less than high, 2"),
        ({"low": 3, "high": 2}, "low is 3, expected less than high, 2"),
        ({"low": 0, "high": 1, "log": True}, "low is 0, expected more than 0"),
        ({"low": 1, "high": 8, "log": True, "step": 1}, "step: expected none, since log is true"),
        ({"low": 1, "high": 8, "step": 2}, "expected a whole number of steps of 2 above low, 1"),
        ({"low": 1, "high": 8, "step": 0}, "step"),
        ({"low": "1", "high": 8}, "low"),
        ({"low": True, "high": 8}, "low"),
        ({"low": 1, "high": float("inf")}, "high"),
        ({"low": 1}, "high"),
        ({"low": 1, "hihg": 8, "high": 3}, "hihg"),
    ],
)
def test_a_range_that_is_none_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Range.model_validate(settings)


@pytest.mark.parametrize("choices", [[], [3], [3, 3], [{"a": 1, "b": 2}, {"b": 2, "a": 1}]])
def test_fewer_than_two_choices_are_none(choices: list[Any]) -> None:
    with pytest.raises(ValidationError, match="choices"):
        Choices.model_validate({"choices": choices})


def test_true_and_1_are_two_choices() -> None:
    assert Choices(choices=(True, 1)).choices == (True, 1)


@pytest.mark.parametrize(
    "name, message",
    [
        ("encoder.core.layer", "did you mean encoder.core.layers?"),
        ("encoder.corr.layers", "did you mean encoder.core?"),
        ("encoder.shifter.layrs", "did you mean encoder.shifter.layers?"),
        ("fit.learning_rate.log", "no such setting"),
        ("core.layers", "there are encoder, fit"),
        ("fit", "no such setting"),
        ("", "no such setting"),
        ("fit.", "no such setting"),
        ("fit.model_fields", "no such setting"),
    ],
)
def test_an_unknown_setting_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .*{message}"):
        check({name: Range(low=1, high=2)})


@pytest.mark.parametrize(
    "name, dimension, message",
    [
        ("encoder.core.layers", Range(low=2, high=13), "layers = 13: .*less than or equal to 12"),
        ("encoder.core.layers", Range(low=0, high=3), "layers = 0: .*greater than or equal to 1"),
        ("encoder.core.layers", Range(low=1.5, high=3), "low is 1.5, expected a whole number"),
        ("encoder.core.layers", Range(low=1, high=3, step=0.5), "step is 0.5, expected a whole"),
        ("encoder.core.layers", Choices(choices=(2, "3")), '"3": .*valid integer'),
        ("encoder.core.layers", Choices(choices=(2, True)), "true: .*valid integer"),
        ("encoder.core.layers", Choices(choices=(2, "none")), '"none": .*valid integer'),
        ("encoder.core.linear", Choices(choices=(0, 1)), "0: .*valid boolean"),
        ("encoder.core.linear", Range(low=0, high=1), "a range, but it is no number"),
        ("encoder.readout.kind", Choices(choices=("gaussian", "gabor")), "gabor"),
        ("encoder.readout.kind", Range(low=0, high=1), "a range, but it is no number"),
        ("encoder.shifter", Range(low=0, high=1), "a range, but it is no number"),
        ("encoder.shifter", Choices(choices=("none", {"kind": "spline"})), "encoder.shifter.kind"),
        ("encoder.shifter.gamma", Range(low=-1, high=1), "greater than or equal to 0"),
        ("fit.learning_rate", Range(low=0, high=1), "learning_rate = 0: .*greater than 0"),
        ("fit.decay", Range(low=0.1, high=1.0), "decay = 1.0: .*less than 1"),
    ],
)
def test_a_value_that_a_setting_cannot_take_is_refused(
    name: str, dimension: Choices | Range, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        check({name: dimension})
    assert str(refused.value).startswith(name)
    with pytest.raises(ValueError, match=message):
        check({"fit.tolerance": Range(low=0, high=1), name: dimension, **OTHERS})


OTHERS = {
    "encoder.core.hidden_channels": Choices(choices=(8, 16)),
    "fit.weight_decay": Range(low=0, high=1),
}


def test_settings_that_exclude_each_other_are_refused_wherever_they_stand() -> None:
    kinds = Choices(choices=("gaussian", "factorised"))
    with pytest.raises(ValueError, match="a factorised readout cannot be shifted"):
        check({"encoder.readout.kind": kinds}, EncoderConfig(shifter=ShifterConfig()))
    space = {
        **OTHERS,
        "encoder.shifter": Choices(choices=("none", {})),
        "encoder.core.layers": Range(low=1, high=3),
        "encoder.readout.kind": kinds,
    }
    with pytest.raises(ValueError, match='shifter = {}, encoder.readout.kind = "factorised": '):
        check(space)


def test_a_setting_within_another_of_the_space_is_refused() -> None:
    space = {
        "encoder.shifter": Choices(choices=("none", {})),
        "encoder.shifter.layers": Range(low=1, high=3),
    }
    with pytest.raises(ValueError, match="shifter.layers: lies within encoder.shifter"):
        check(space)


def test_settings_at_a_point_are_those_of_the_point_and_all_others_as_they_were() -> None:
    base = EncoderConfig(downsample=2, shifter=ShifterConfig())
    point = {"encoder.core.layers": 2, "encoder.shifter": "none", "fit.loss": "mse"}
    encoder, fit = at(point, base, FitConfig(batch_size=7))
    assert encoder == EncoderConfig.model_validate({"core": {"layers": 2}, "downsample": 2})
    assert fit == FitConfig(batch_size=7, loss="mse")


def test_lists_stand_for_tuples_as_files_have_no_others() -> None:
    text = 'front_end = {choices = ["none", {spots = [1.0, 2.0]}]}\nspots = [4.0, 8.0]'
    read = tomllib.loads(text)
    space = {"encoder.front_end": Choices.model_validate(read["front_end"])}
    check(space)
    chosen = space["encoder.front_end"].choices[1]
    encoder, _ = at({"encoder.front_end": chosen})
    assert encoder == EncoderConfig(front_end=FrontEndConfig(spots=(1.0, 2.0)))
    encoder, _ = at({"encoder.front_end.spots": read["spots"]}, encoder)
    assert encoder.front_end is not None
    assert encoder.front_end.spots == (4.0, 8.0)
    with pytest.raises(ValueError, match="front_end.spots.0: .*valid number"):
        at({"encoder.front_end.spots": ["4"]}, encoder)


def test_a_part_one_of_whose_settings_is_searched_is_there() -> None:
    encoder, _ = at({"encoder.modulator.gamma": 0.5})
    assert encoder.modulator is not None
    assert encoder.modulator.gamma == 0.5


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1))
def test_what_lies_between_possible_ends_is_possible(a: int, b: int, t: float) -> None:
    if a == b:
        return
    low, high = sorted((a, b))
    check({"encoder.core.layers": Range(low=low, high=high)})
    layers = round(low + t * (high - low))
    encoder, _ = at({"encoder.core.layers": layers})
    assert encoder.core.layers == layers
