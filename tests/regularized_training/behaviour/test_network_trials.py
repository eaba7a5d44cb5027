"""Answers of networks as trials, and every two observers at once."""

from __future__ import annotations

import numpy as np
import pytest

from regularized_training.behaviour.consistency import error_consistency, of_every_two
from regularized_training.behaviour.network_trials import as_trials, right_on_images
from regularized_training.behaviour.shape_bias import cues_of
from regularized_training.behaviour.trials import Trials, TrialsError


def test_every_two_observers_are_compared_on_what_both_saw() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random((5, 60)) < 0.6).astype(float)
    right[rng.random(right.shape) < 0.3] = np.nan
    pairs = of_every_two(right, names="abcde", fewest=1)
    assert len(pairs) == 10
    for pair in pairs.to_dict("records"):
        both = right[["abcde".index(pair[end]) for end in ("first", "second")]]
        both = both[:, ~np.isnan(both).any(0)].astype(bool)
        found = error_consistency(*both)
        assert {name: pair[name] for name in vars(found)} == pytest.approx(vars(found))
        assert (pair["kappa_low"], pair["kappa_high"]) == pytest.approx(found.kappa_bounds)
    assert len(of_every_two(right, fewest=pairs["n_images"].max())) < 10
    with pytest.raises(ValueError, match="with 2 names"):
        of_every_two(right, names="ab")


def test_networks_without_an_answer_to_each_image_are_refused() -> None:
    about = (["a", "b"], ["cat", "dog"], ["cat", "dog"])
    with pytest.raises(TrialsError, match=r"ours has answers of shape \(1,\) to 2 images"):
        as_trials("demo", {"ours": np.array([0])}, *about)
    with pytest.raises(TrialsError, match="called 'subject-01', as people are"):
        as_trials("demo", {"subject-01": np.array([0, 1])}, *about)
    with pytest.raises(TrialsError, match="0 networks and 2 named images"):
        as_trials("demo", {}, *about)


def test_an_image_that_was_seen_twice_is_refused() -> None:
    rows = [("subject-01", "0", "a", "cat", "cat"), ("subject-01", "0", "a", "cat", "dog")]
    with pytest.raises(TrialsError, match="subject-01 saw a twice"):
        right_on_images(Trials.of("demo", rows), ["a"])
    found = right_on_images(Trials.of("demo", rows[:1]), ["b", "a"])
    np.testing.assert_array_equal(found, [[np.nan, 1]])


def test_cues_are_those_of_cue_conflict_images_alone() -> None:
    names = ["cat1-dog2", "dog1-dog3", "dog2-oven1"]
    shapes = ["cat", "dog", "dog"]
    assert cues_of(names, shapes, ["cat", "dog"]).tolist() == [0, 1]
    assert cues_of(names, shapes, ["cat", "dog", "oven"]).tolist() == [0, 1, 2]
    assert not len(cues_of(["cat1", *names[1:]], shapes, ["cat", "dog"]))
    assert not len(cues_of(names, ["dog", "dog", "dog"], ["cat", "dog"]))
    assert not len(cues_of(names[1:2], shapes[1:2], ["cat", "dog"]))
    assert not len(cues_of(["left-right"], ["left"], ["left", "right"]))
