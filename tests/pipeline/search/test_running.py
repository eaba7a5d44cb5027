"""Searches in the database: resumed, shared between workers, and their winner fitted again."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.database.opening import Database
from pipeline.database.settings import Settings
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import read_experiment
from pipeline.search import running as search
from pipeline.search.file import SearchError, SearchSettings
from pipeline.search.running import (
    Trial,
    add_search,
    best_experiment,
    best_trial,
    run_search,
    trials_of,
)
from predictive_model.fits import search_trial
from predictive_model.fits.config import FitConfig
from predictive_model.fits.search_trial import TrialOutcome
from schemas import encoding, recording
from schemas import search as tables
from tests.schemas.test_encoders import CORE, scan, with_other_tiers

pytestmark = pytest.mark.database

REPOSITORY = Path(search.__file__).resolve().parents[2]
SPACE = {
    "encoder.core.layers": {"low": 1, "high": 3},
    "encoder.shifter": {"choices": ["none", {"kind": "affine"}]},
    "fit.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
}


def settings_of(**changes: Any) -> SearchSettings:
    return SearchSettings.model_validate(
        {
            "title": "a search",
            "recordings": ["a"],
            "encoder": {"core": CORE},
            "fit": {"max_epochs": 2, "batch_size": 16},
            "random_trials": 3,
            "space": SPACE,
        }
        | changes
    )


def plan(name: str = "search", **changes: Any) -> SearchSettings:
    recording.Scan.add(scan("a", 1), source="test")
    settings = settings_of(**changes)
    assert add_search(settings, name=name)
    return settings


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Trials that cost nothing: learning rates that were tried, in order."""
    tried: list[float] = []

    def outcome(recordings: Any, encoder: Any, fit: FitConfig, *args: Any, **_: Any) -> Any:
        tried.append(fit.learning_rate)
        if encoder.core.layers == 3:
            return TrialOutcome("failed", None, ({},), "three layers are too many")
        value = 1 - abs(math.log10(fit.learning_rate) + 2) / 4 + encoder.core.layers / 100
        return TrialOutcome("complete", value, ({1: value},))

    monkeypatch.setattr(search_trial, "run_trial", outcome)
    return tried


def told(trials: list[Trial]) -> list[Trial]:
    return [replace(trial, seconds=None) for trial in trials]


def test_a_search_goes_on_where_it_was(database: Database, cheap: list[float]) -> None:
    plan("whole")
    add_search(settings_of(), name="parts")
    reported: list[int] = []
    run_search("whole", 10, on_trial=lambda trial: reported.append(trial.number))
    assert reported == list(range(10))
    run_search("parts", 4)
    assert len(trials_of("parts")) == 4
    run_search("parts", 4)  # they are there
    run_search("parts", 10)
    whole, parts = told(trials_of("whole")), told(trials_of("parts"))
    assert [trial.number for trial in whole] == list(range(10))
    assert whole == parts
    assert len(cheap) == 20
    # What the rows of the database say is what was tried: nothing was rounded on the way.
    assert [trial.parameters["fit.learning_rate"] for trial in whole] == cheap[:10]
    states = {trial.state for trial in whole}
    assert states == {"complete", "failed"}
    for trial in whole:
        layers = trial.parameters["encoder.core.layers"]
        assert (trial.state == "failed") == (layers == 3)
        assert trial.message == ("three layers are too many" if layers == 3 else "")

    best = best_trial("whole")
    assert best.score == max(t.score for t in whole if t.score is not None)
    frame = search.trials("whole")
    assert frame["number"][0] == best.number
    complete = frame[frame["state"] == "complete"]["validation_correlation"]
    assert complete.is_monotonic_decreasing
    assert list(frame["state"]) == sorted(frame["state"])
    assert frame["simulated"].all()
    assert list(search.searches()["n_trials"]) == [10, 10]


def test_an_interrupted_trial_is_taken_up_again_with_the_same_settings(
    database: Database, cheap: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan("whole")
    run_search("whole", 5)
    add_search(settings_of(), name="broken")
    run_search("broken", 2)
    undisturbed = search_trial.run_trial

    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(search_trial, "run_trial", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_search("broken", 5)
    assert [trial.state for trial in trials_of("broken")][2:] == ["waiting"]
    assert search_trial.run_trial is undisturbed
    run_search("broken", 5)
    assert told(trials_of("broken")) == told(trials_of("whole"))


def test_what_is_no_fault_of_the_settings_ends_the_search_and_is_tried_again(
    database: Database, cheap: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan()

    def broken(*args: Any, **kwargs: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(search_trial, "run_trial", broken)
        with pytest.raises(SearchError, match="trial 0: OSError: the disk is full; fix the cause"):
            run_search("search", 3)
    (trial,) = trials_of("search")
    assert (trial.state, trial.message) == ("error", "OSError: the disk is full")
    run_search("search", 3)
    assert [trial.number for trial in trials_of("search")] == [0, 1, 2]
    assert {trial.state for trial in trials_of("search")} <= {"complete", "failed"}


def test_two_workers_that_propose_at_once_get_two_numbers(
    database: Database, cheap: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan()
    propose = search.propose

    def while_another_is_quicker(*args: Any) -> dict[str, Any]:
        monkeypatch.setattr(search, "propose", propose)
        assert search._propose_next(search._trials("search"), 2)  # the other worker
        return propose(*args)

    monkeypatch.setattr(search, "propose", while_another_is_quicker)
    assert search._propose_next(search._trials("search"), 2)
    assert len(tables.SearchTrial()) == 1
    assert not tables.SearchTrial.connection.in_transaction
    run_search("search", 2)
    assert [trial.number for trial in trials_of("search")] == [0, 1]
    assert len(cheap) == 2


def test_a_search_is_inserted_once_and_not_changed_under_its_name(database: Database) -> None:
    settings = plan()
    assert not add_search(settings, name="search")
    with pytest.raises(SearchError, match="other settings; give this one another name"):
        add_search(settings_of(sampler_seed=1), name="search")
    with pytest.raises(LookupError, match="'other' is not in the database, which has search"):
        run_search("other", 1)
    with pytest.raises(LookupError, match="no trial that completed"):
        best_trial("search")
    assert search.trials("search").empty


def test_a_search_that_its_scans_do_not_allow_is_refused(database: Database) -> None:
    recording.Scan.add(scan("a", 1), source="test")
    recording.Scan.add(replace(scan("a", 1), name="blind", pupil=None), source="test")
    with pytest.raises(ExperimentError, match="scan: nobody not in the database"):
        add_search(settings_of(recordings=["a", "nobody"]), name="search")
    # The shifter is but one of the choices, and no trial has asked for it yet.
    with pytest.raises(ExperimentError, match="encoder.shifter: scan 'blind' has no pupil"):
        add_search(settings_of(recordings=["blind"]), name="search")
    assert len(tables.Search()) == 0


def test_the_test_tier_decides_nothing(database: Database) -> None:
    original = scan("a", 1)
    responses = original.responses.copy()
    test = original.trials_of("test")
    rng = np.random.default_rng(0)
    responses[test] = rng.exponential(1e6, responses[test].shape).astype(np.float32)
    recording.Scan.add(original, source="test")
    recording.Scan.add(replace(original, name="b", responses=responses), source="test")
    for name in ("a", "b"):
        add_search(settings_of(recordings=[name], random_trials=2), name=name)
        run_search(name, 4)
    assert told(trials_of("a")) == told(trials_of("b"))
    assert any(trial.state == "complete" for trial in trials_of("a"))


def test_the_winner_planned_as_an_experiment_is_as_good_as_the_search_said(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    recording.Scan.add(scan("b", 2, n_neurons=6), source="test")
    plan(recordings=["b", "a"], share_core=True, prune={"min_epochs": 1, "min_trials": 1})
    run_search("search", 3)
    assert list(settings.checkpoints.glob("*")) == []
    file = tmp_path / "best.toml"
    file.write_text(best_experiment("search"), encoding="utf-8")
    assert "the brain was simulated" in file.read_text(encoding="utf-8")
    experiment = read_experiment(file, "small")
    assert add_experiment(experiment, name="best", scale="small")
    best = best_trial("search")
    trial = tables.SearchTrial & {"search": "search", "number": best.number}
    plans = encoding.FitPlan.proj().to_dicts()
    assert {p["scan"] for p in plans} == {"a", "b"}
    assert {(p["encoder_hash"], p["fit_hash"]) for p in plans} == {
        trial.fetch1("encoder_hash", "fit_hash")
    }
    encoding.SharedCore.populate()
    refitted = encoding.SharedCore.fetch1("validation_correlation")
    assert refitted == pytest.approx(best.score, abs=1e-5)


# -- workers -----------------------------------------------------------------------------------

FILE = """
title = "two workers"
recordings = ["a"]
random_trials = 3

[encoder.core]
layers = 1
input_kernel = 5
hidden_channels = 4

[fit]
max_epochs = 100000
patience = 100000
batch_size = 16

[space]
"fit.learning_rate" = { low = 1e-3, high = 1e-1, log = true }
"""


class Worker:
    """A command ``neuroteach search run`` in a process of its own."""

    def __init__(self, settings: Settings, file: Path) -> None:
        environment = os.environ | {
            "NEUROTEACH_HOME": str(settings.home),
            "NEUROTEACH_DATABASE": settings.database,
            "NEUROTEACH_STORE": str(settings.store),
            "NEUROTEACH_SCHEMA": settings.schema_name,
            "NEUROTEACH_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
        }
        command = ["search", "run", str(file), "--trials", "2"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli.main", *command],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def wait_until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 180
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_no_trial_is_done_twice_and_that_of_a_killed_worker_is_gone_on_with(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.Scan.add(scan("a", 1), source="test")
    file = tmp_path / "workers.toml"
    file.write_text(FILE)
    computed: list[tuple[float, list[dict[int, float]]]] = []
    other = Worker(settings, file)

    def compute(recordings: Any, encoder: Any, fit: FitConfig, *args: Any, **how: Any) -> Any:
        computed.append((fit.learning_rate, how["resumed"]))
        if how["resumed"] != [{}]:
            checkpoint = how["checkpoint"].with_name(how["checkpoint"].name + ".0")
            saved = torch.load(checkpoint, weights_only=True)["state"]["history"]
            # Between a checkpoint and its row the worker may have been killed.
            assert {r["epoch"] for r in saved[:-1]} <= how["resumed"][0].keys()
        return TrialOutcome("complete", 0.5, how["resumed"])

    monkeypatch.setattr(search_trial, "run_trial", compute)
    try:
        wait_until(lambda: len(tables.SearchTrial.Epoch()) > 3)
        assert [trial.state for trial in trials_of("workers")] == ["running"]
        finished: list[int] = []

        def kill_the_other(trial: Trial) -> None:
            if not finished:
                assert [t.state for t in trials_of("workers")] == ["running", "complete"]
                other.end()
            finished.append(trial.number)

        run_search("workers", 2, on_trial=kill_the_other)
    finally:
        other.end()
    assert finished == [1, 0]
    rates = [trial.parameters["fit.learning_rate"] for trial in trials_of("workers")]
    left = tables.SearchTrial.curves({"search": "workers", "number": 0}, 1)
    assert computed == [(rates[1], [{}]), (rates[0], left)]
    assert len(left[0]) > 3
    assert list(settings.checkpoints.glob("*")) == []


def test_the_number_of_a_deleted_trial_is_given_again(
    database: Database, cheap: list[float]
) -> None:
    plan()
    run_search("search", 3)
    (tables.SearchTrial & {"number": 1}).delete(prompt=False)
    looks = iter(range(20))
    run_search("search", 4, keep_going=lambda: next(looks, None) is not None)
    assert [trial.number for trial in trials_of("search")] == [0, 1, 2, 3]


def test_trials_that_others_finish_last_are_reported(
    database: Database, cheap: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan()

    def another_worker(*args: Any) -> int:
        tables.SearchResult.populate()
        return 0

    monkeypatch.setattr(search, "populate_table", another_worker)
    reported: list[int] = []
    run_search("search", 3, on_trial=lambda trial: reported.append(trial.number))
    assert reported == [0, 1, 2]


def test_a_search_of_scans_that_cannot_share_a_core_is_refused(database: Database) -> None:
    for one in (scan("a", 1), with_other_tiers(scan("b", 2))):
        recording.Scan.add(one, source="test")
    with pytest.raises(ExperimentError, match="share_core: tier: .* 'a'"):
        add_search(settings_of(recordings=["a", "b"], share_core=True), name="search")
    assert len(tables.Search()) == 0
