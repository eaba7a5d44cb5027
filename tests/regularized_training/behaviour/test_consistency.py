"""Error consistency recovers observers of known dependence, within its bounds."""

from __future__ import annotations

import numpy as np
import pytest

from regularized_training.behaviour.consistency import (
    by_pair,
    ceiling,
    error_consistency,
    expected_consistency,
    kappa_bounds,
    left_out,
    observed_bounds,
    over_conditions,
)
from regularized_training.behaviour.trials import Trials, TrialsError


def test_independent_observers_agree_by_chance_and_copies_wholly() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 200_000)) < np.array([[0.9], [0.6]])
    found = error_consistency(first, second)
    assert found.observed == pytest.approx(0.58, abs=5e-3)  # .9 x .6 + .1 x .4
    assert found.kappa == pytest.approx(0, abs=0.01)
    # Who copies with probability q and else is independent, of the same accuracy, has kappa q.
    copied = np.where(rng.random(200_000) < 0.3, first, rng.random(200_000) < 0.9)
    assert error_consistency(first, copied).kappa == pytest.approx(0.3, abs=0.01)
    assert error_consistency(first, first).kappa == 1


@pytest.mark.parametrize(("a", "b"), [(0.9, 0.7), (0.5, 0.5), (0.2, 0.9), (0.1, 0.3)])
def test_bounds_are_reached_by_the_most_and_the_least_overlap_of_errors(a: float, b: float) -> None:
    n = 100
    first = np.arange(n) < round(a * n)
    most, least = np.arange(n) < round(b * n), np.arange(n)[::-1] < round(b * n)
    alike, unlike = error_consistency(first, most), error_consistency(first, least)
    assert observed_bounds(a, b) == pytest.approx((unlike.observed, alike.observed))
    assert kappa_bounds(a, b) == pytest.approx((unlike.kappa, alike.kappa))
    assert alike.kappa_bounds == pytest.approx((unlike.kappa, alike.kappa))
    assert alike.observed_bounds == pytest.approx((unlike.observed, alike.observed))


def test_observers_without_errors_have_no_consistency_of_errors() -> None:
    assert np.isnan(error_consistency([1, 1], [1, 1]).kappa)
    assert float(expected_consistency(0, 0)) == 1
    assert error_consistency([1, 1, 1], [1, 0, 1]).kappa == 0  # one that never errs
    with pytest.raises(ValueError, match=r"shapes \(1,\) and \(2,\)"):
        error_consistency([1], [1, 0])


def trials_of(right: dict[tuple[str, str], str], experiment: str = "noise") -> Trials:
    """Observers who are right where there is a 1; their images come in any order."""
    rows = []
    for (who, condition), string in right.items():
        for i, one in (
            reversed(list(enumerate(string))) if who > "subject-01" else enumerate(string)
        ):
            image = f"{condition}{i}"
            rows.append((who, condition, image, "cat", "cat" if one == "1" else "dog"))
    return Trials.of(experiment, rows)


def test_images_are_matched_by_name_and_conditions_averaged_before_pairs() -> None:
    trials = trials_of(
        {
            ("subject-01", "0.10"): "1110",
            ("subject-02", "0.10"): "1110",
            ("subject-01", "0.2"): "1100",
            ("subject-02", "0.2"): "1010",
            ("subject-03", "0.2"): "0011",
            ("subject-01", "0.60"): "1000",
            ("subject-02", "0.60"): "0111",
        }
    )
    pairs = by_pair(trials, leave_out=left_out("noise"), fewest=1)
    assert pairs[["first", "second", "condition", "kappa"]].values.tolist() == [
        ["subject-01", "subject-02", "0.10", 1],
        ["subject-01", "subject-02", "0.2", 0],
        ["subject-01", "subject-03", "0.2", -1],
        ["subject-02", "subject-03", "0.2", 0],
    ]
    assert over_conditions(pairs)["kappa"].tolist() == [0.5, -1, 0]
    assert ceiling(trials, fewest=1) == pytest.approx(-0.5 / 3)
    assert ceiling(trials, leave_out=["0.2", "0.6"], fewest=1) == 1


def test_what_no_consistency_can_be_had_of_is_said() -> None:
    alone = trials_of({("subject-01", "0"): "10", ("vgg", "0"): "10"})
    with pytest.raises(TrialsError, match="1 people, expected two or more"):
        ceiling(alone)
    apart = trials_of({("subject-01", "0.1"): "10", ("subject-02", "0.2"): "10"})
    with pytest.raises(TrialsError, match="saw 20 of the same images"):
        ceiling(apart)
    with pytest.raises(TrialsError, match="0.1, 0.2 are all left out"):
        by_pair(apart, leave_out=["0.10", "0.2"])
    rows = [("subject-01", "0", "a", "cat", "cat")] * 2
    with pytest.raises(TrialsError, match="subject-01 saw a twice in condition 0"):
        by_pair(Trials.of("demo", rows))
