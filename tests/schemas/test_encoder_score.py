"""What becomes a row of scores, without any database."""

import re

import numpy as np
import pytest

from predictive_model.scoring.scores import EncoderScores, score_trials
from schemas.prediction import EncoderScore


def columns():
    names = re.findall(r"^\s*(\w+)(?: = null)?\s*:", EncoderScore.definition, re.MULTILINE)
    assert len(names) == len(set(names))
    return set(names)


@pytest.mark.parametrize("n_repeats", [1, 4])
def test_the_table_has_a_column_for_every_score(n_repeats):
    trials = np.random.default_rng(0).normal(size=(30, 1, 5)).repeat(n_repeats, axis=1)
    trials += np.random.default_rng(1).normal(size=trials.shape)
    row = EncoderScore._scores(score_trials(trials, trials))
    assert set(row) <= columns()
    assert row["status"] == ("ok" if n_repeats > 1 else "no repeats")
    if n_repeats > 1:
        assert columns() - set(row) == {
            "n_trials",
            "n_images",
            "package_version",
            "git_commit",
            "device",
            "seconds",
            "computed",
            "origins",
        }


def test_what_is_undefined_is_null_and_counted():
    rng = np.random.default_rng(0)
    trials, predicted = rng.normal(size=(200, 6, 20)), rng.normal(size=(200, 6, 20))
    row = EncoderScore._scores(score_trials(trials, predicted))
    assert row["n_feve"] == 0
    assert row["feve"] is row["feve_low"] is row["feve_high"] is None
    assert 0 < row["n_cc_norm"] < 20
    assert np.isfinite(row["cc_norm"])


def test_one_neuron_has_scores_and_no_interval():
    row = EncoderScore._scores(EncoderScores(np.array([0.4])))
    assert (row["single_trial"], row["n_single_trial"]) == (0.4, 1)
    assert row["single_trial_low"] is row["single_trial_high"] is None
    assert row["single_trial_ceiling"] is None
