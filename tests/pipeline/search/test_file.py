"""Search files, and which trial follows from those before it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.cli.search import _narrow
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings, read_experiment
from pipeline.search.file import SearchError, SearchSettings, experiment_file, read_search
from pipeline.search.proposals import Trial, propose
from predictive_model.encoders.config import EncoderConfig
from predictive_model.fits.config import FitConfig
from schemas import search as tables
from schemas import tables as registry

FOLDER = Path(__file__).resolve().parents[3] / "experiments" / "searches"

SEARCH = """
title = "a search"
recordings = ["scan"]
recipe = "sensorium2022"
sampler_seed = 3

[encoder]
downsample = 2

[space]
"encoder.core.layers" = { low = 2, high = 4 }
"encoder.shifter" = { choices = ["none", { kind = "affine" }] }
"fit.learning_rate" = { low = 1e-3, high = 1e-2, log = true }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "search.toml"
    path.write_text(SEARCH)
    return path


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.toml")), ids=lambda file: file.stem)
def test_every_published_search_is_valid(file: Path) -> None:
    assert read_search(file).space


def test_a_file_is_put_over_its_recipe(file: Path) -> None:
    settings = read_search(file)
    assert (settings.encoder.core.depth_separable, settings.encoder.downsample) == (True, 2)
    assert (settings.sampler_seed, settings.prune) == (3, None)


def test_settings_of_a_search_survive_the_database(file: Path) -> None:
    settings = read_search(file)
    assert SearchSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("[space]", "[space", "not valid TOML"),
        ('"scan"', '"scan", "scan"', "recordings: expected distinct values"),
        ('["scan"]', "[]", "recordings: "),
        ("sampler_seed", "sampler_sead", "sampler_sead: Extra inputs are not permitted"),
        ("sensorium2022", "sensorium", "recipe: 'sensorium', expected one of"),
        ("downsample = 2", "downsampel = 2", "encoder.downsampel: Extra inputs"),
        ("core.layers", "core.layer", "no such setting; did you mean encoder.core.layers?"),
        ("high = 4", "high = 2", "low is 2, expected less than high, 2"),
        ("high = 4", "hgih = 4", "hgih: Extra inputs are not permitted"),
        ("{ low = 2, high = 4 }", "[2, 3, 4]", "space.encoder.core.layers"),
        ("{ low = 2, high = 4 }", "3", "space.encoder.core.layers"),
        ("high = 1e-2", "high = inf", "high"),
        ('"affine"', '"spline"', "encoder.shifter.kind: Input should be 'mlp' or 'affine'"),
    ],
)
def test_a_mistake_in_a_search_file_is_named(file: Path, old: str, new: str, message: str) -> None:
    file.write_text(SEARCH.replace(old, new))
    with pytest.raises((SearchError, ExperimentError)) as refused:
        read_search(file)
    assert str(refused.value).startswith(str(file))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value) or message == "not valid TOML"


def test_a_search_of_nothing_is_refused(file: Path) -> None:
    file.write_text(SEARCH.partition("[space]")[0] + "[space]\n")
    with pytest.raises(SearchError, match="space: .* at least 1 item"):
        read_search(file)


def test_a_missing_search_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.toml: no such file; expected a search file"):
        read_search(tmp_path / "none.toml")


def test_an_experiment_written_is_the_one_that_is_read(tmp_path: Path) -> None:
    settings = ExperimentSettings(
        title='of "quotes", \\ and µ',
        recordings=("a", "b.1"),
        share_core=True,
        encoder=EncoderConfig.model_validate({"shifter": {}, "core": {"linear": True}}),
        fit=FitConfig(learning_rate=1.2345678901234567e-05),
        encoder_seed=4,
    )
    file = tmp_path / "written.toml"
    file.write_text(experiment_file(settings, "first\n\nsecond"), encoding="utf-8")
    assert file.read_text(encoding="utf-8").startswith("# first\n#\n# second\n")
    for scale in ("smoke", "small", "paper"):
        assert read_experiment(file, scale) == settings


# -- which trial comes next --------------------------------------------------------------------


def settings(**changes: Any) -> SearchSettings:
    return SearchSettings.model_validate(
        {
            "title": "a search",
            "recordings": ["scan"],
            "random_trials": 5,
            "space": {
                "encoder.core.layers": {"low": 1, "high": 5},
                "encoder.core.hidden_channels": {"low": 8, "high": 64, "step": 8},
                "encoder.shifter": {"choices": ["none", {}, {"kind": "affine"}]},
                "encoder.core.linear": {"choices": [True, False]},
                "fit.learning_rate": {"low": 1e-4, "high": 1, "log": True},
            },
        }
        | changes
    )


def score(parameters: dict[str, Any]) -> float:
    """Highest at a learning rate of 0.01, with 3 layers."""
    distance = abs(math.log10(parameters["fit.learning_rate"]) + 2)
    return 1 - 0.2 * distance - 0.05 * abs(parameters["encoder.core.layers"] - 3)


def searched(n: int, chosen: SearchSettings, start: list[Trial] | None = None) -> list[Trial]:
    trials = list(start or [])
    while len(trials) < n:
        parameters = propose(chosen, trials, len(trials))
        trials.append(Trial(len(trials), "complete", parameters, score(parameters), 1))
    return trials


def test_a_search_broken_off_goes_on_as_if_it_had_not_been() -> None:
    whole = searched(10, settings())
    assert searched(10, settings(), searched(4, settings())) == whole
    shuffled = [whole[i] for i in (3, 0, 4, 2, 1)]
    assert propose(settings(), shuffled, 5) == whole[5].parameters, "whatever order they come in"
    assert len({str(trial.parameters) for trial in whole}) == 10
    assert searched(1, settings(sampler_seed=1)) != whole[:1]


def test_every_proposal_lies_in_the_space() -> None:
    for trial in searched(12, settings()):
        p = trial.parameters
        assert p.keys() == settings().space.keys()
        assert p["encoder.core.layers"] in range(1, 6)
        assert p["encoder.core.hidden_channels"] in range(8, 65, 8)
        assert p["encoder.shifter"] in ("none", {}, {"kind": "affine"})
        assert p["encoder.core.linear"] in (True, False)
        assert 1e-4 <= p["fit.learning_rate"] <= 1


def test_a_search_finds_a_known_optimum_better_than_chance() -> None:
    # Scores of 30 trials each, of which 5 and all are drawn at random.
    guided = [t.score for t in searched(30, settings())]
    chance = [t.score for t in searched(30, settings(random_trials=31))]
    assert sum(guided[20:]) / 10 > sum(chance[20:]) / 10 + 0.1  # type: ignore[arg-type]
    assert max(guided) > 0.95  # type: ignore[type-var]


@pytest.mark.parametrize("state", ["failed", "pruned", "running"])
def test_a_search_keeps_away_from_what_failed_was_hopeless_or_is_being_tried(state: str) -> None:
    space = {
        "fit.learning_rate": {"low": 0.001, "high": 1.0},
        "encoder.core.layers": {"low": 1, "high": 5},
    }
    chosen = settings(space=space)
    trials = [
        Trial(i, "complete", {"fit.learning_rate": 0.4 - i / 100, "encoder.core.layers": 3}, 0.5, 1)
        for i in range(6)
    ]
    away = [
        Trial(i, state, {"fit.learning_rate": 0.5 + i / 25, "encoder.core.layers": 3})  # type: ignore[arg-type]
        for i in range(6, 12)
    ]
    if state == "pruned":
        away = [replace(trial, score=0.1, n_epochs=3) for trial in away]
    near = [propose(chosen, [*trials, *away], n)["fit.learning_rate"] for n in range(12, 32)]
    assert sum(rate > 0.5 for rate in near) <= 4  # of 20; half of them by chance


def test_populate_leaves_trials_to_their_search() -> None:
    assert tables.SearchResult in registry.queued_tables()
    assert tables.SearchResult not in registry.computed_tables()


def test_headings_are_short_where_no_two_are_alike() -> None:
    names = ["number", "encoder.core.gamma_input", "encoder.readout.gamma", "encoder.shifter.gamma"]
    narrow = _narrow(pd.DataFrame(columns=names))
    assert list(narrow.columns) == ["number", "gamma_input", *names[2:]]
