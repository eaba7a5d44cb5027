"""Results of others that cannot be imported, and why there is nothing to show."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline.database.opening import Database
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.selection import ALL, Selection
from pipeline.results import registry
from pipeline.results.registry import Result
from schemas import training
from tests.installed_package import installed_package
from tests.tiny_experiment import few_digits, tiny_experiment

GOOD = """
import pandas as pd

from pipeline.results.registry import Result, register

register(Result("mirrors", "Mirrors", "Alike?", lambda selection: pd.DataFrame()))
"""


def test_results_of_a_broken_package_are_left_out_and_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (broken := tmp_path / "broken").mkdir()
    (good := tmp_path / "good").mkdir()
    monkeypatch.setattr(registry, "_RESULTS", dict(registry.results()))
    monkeypatch.setattr(registry, "_load", registry._load.__wrapped__)  # which loads once
    with (
        installed_package(
            broken, "broken_lab", "import absent", {registry.GROUP: "flips = broken_lab"}
        ),
        installed_package(good, "good_lab", GOOD, {registry.GROUP: "mirrors = good_lab"}),
        pytest.warns(UserWarning) as said,
    ):
        known = registry.results()
    assert "mirrors" in known and "noise" in known
    (warning,) = (str(one.message) for one in said)
    assert warning.startswith("broken-lab 1.2: its neuroteach.results 'flips' is left out")
    assert "importing broken_lab failed (ModuleNotFoundError: No module named 'absent')" in warning


@pytest.mark.database
def test_an_experiment_that_does_not_ask_is_told_what_its_file_lacks(database: Database) -> None:
    training.ImageSet.add(few_digits(), source="test")
    settings = tiny_experiment().model_copy(update={"recordings": ()})
    assert add_experiment(settings, name="alone", scale="smoke")
    result = Result(
        "flips", "Mirror images", "?", lambda selection: pd.DataFrame(), evaluation="activations"
    )
    said = "table [activations]; add one to an experiment's file"
    assert result.why_nothing(Selection("alone")) == f"experiment alone has no {said}"
    assert result.why_nothing(ALL) == f"no experiment has a {said}"
