"""Answers to hybrids of two images: asked for in a file, computed, read and drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.hybrids import HYBRIDS, hybrids_table
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.results.comparisons import compared
from pipeline.results.conditions import CONDITION
from pipeline.workers import populate
from regularized_training.robustness.hybrids import answers_to_hybrids
from regularized_training.robustness.hybrids_config import HybridConfig
from schemas import training
from schemas.evaluations.hybrids import HybridAnswers
from schemas.experiment import Experiment
from tests.tiny_experiment import few_digits, tiny_experiment

ASKED = {"n_images": 40, "cuts": [1, 3, 8]}


def asked(**changes: object) -> ExperimentSettings:
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    described |= {"recordings": [], "network": {"width": 2}, "noise": [], "seeds": [0, 1]}
    described |= {"teachers": ["none"], "hybrids": [ASKED, {"n_images": 20, "filter": "ideal"}]}
    return ExperimentSettings.model_validate(described | changes)


@pytest.mark.database
def test_networks_answer_to_hybrids_which_is_read_and_drawn(database: Database) -> None:
    training.ImageSet.add(few_digits(), source="test")
    with pytest.raises(ValueError, match=r"hybrids.cuts: 9 cycles .* at most 8"):
        add_experiment(asked(hybrids={**ASKED, "cuts": [1, 9]}), name="hybrids", scale="smoke")
    assert not Experiment() and not HybridAnswers.Plan() and not HybridAnswers.Config()
    assert add_experiment(asked(), name="hybrids", scale="smoke")
    assert populate.populate(Selection("hybrids")).failures == []
    gaussian = HybridAnswers.Config & {"frequency_filter": "gaussian"}
    row = (HybridAnswers & gaussian).to_dicts()[0]
    network, task = training.TrainedNetwork.load(row), few_digits()
    config = HybridConfig.model_validate(ASKED)
    expected = answers_to_hybrids(network, task.test_images, task.test_labels, config)
    assert (row["n_images"], row["clean_accuracy"]) == (40, expected.clean_accuracy)
    assert (row["equal_at"], row["n_crossings"]) == (expected.equal_at, len(expected.crossings))
    key = {name: row[name] for name in HybridAnswers.primary_key}
    cuts = (HybridAnswers.Cut & key).to_dicts(order_by="cut_index")
    for name in ("cuts", "low", "high", "clipped"):
        stored = [cut[name.removesuffix("s")] for cut in cuts]
        np.testing.assert_allclose(stored, getattr(expected, name))

    by_cut = results.hybrids_by_cut("hybrids")
    assert len(by_cut) == 2 * 3 + 2 * 7  # 1 to 8 in half octaves of digits of 16 pixels
    frame = results.hybrids("hybrids")
    assert frame["name"].tolist() == ["gaussian filter", "ideal filter"]
    of_one = by_cut[by_cut["name"] == "gaussian filter"]
    assert frame["low"][0] == pytest.approx(of_one["low"].mean())
    assert (frame[["low", "high", "neither"]].sum(axis=1) - 1).abs().max() < 1e-12
    drawn = HYBRIDS.figures["hybrids"](Selection("hybrids"))
    assert [ax.get_title() for ax in drawn.axes[:2]] == [
        "digits, gaussian filter", "digits, ideal filter"
    ]  # fmt: skip
    by_seed = results.hybrids_by_seed("hybrids")
    for one in HYBRIDS.compared:
        assert compared(by_seed, one.column, one.measure(by_seed)).empty  # type: ignore[operator]


def test_what_never_changes_places_is_said() -> None:
    about: dict[str, Any] = {name: "" for name in CONDITION}
    about |= {"teacher": "none", "alpha": 0.0, "shuffled_labels": 0.0, "n_seeds": 2}
    shares = {"low": 0.5, "high": 0.25, "neither": 0.25, "clipped": 0.0, "equal_at": 3.0}
    rows = [
        {**about, **shares, "name": "a", "n_equal": 2},
        {**about, **shares, "name": "b", "n_equal": 1},
        {**about, **shares, "name": "c", "n_equal": 0, "equal_at": np.nan},
        {**about, **shares, "name": "d", "n_equal": 0, "equal_at": np.nan, "high": 0.6},
    ]
    frame = pd.DataFrame(rows).assign(**{f"{name}_sem": 0.25 for name in shares})
    assert hybrids_table(frame)["equal at (cycles/image)"].tolist() == [
        "3.00 ± 0.25",
        "3.00 ± 0.25, 1 of 2 seeds",
        "never: the low image at every cut",
        "never: the high image at every cut",
    ]


def test_cuts_that_cannot_be_are_refused_in_the_file() -> None:
    with pytest.raises(ValueError, match="hybrids.*cuts.*rising frequencies above 0"):
        asked(hybrids={"cuts": [4, 2]})
