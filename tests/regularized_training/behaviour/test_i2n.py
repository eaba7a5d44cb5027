"""I1 and I2n are what the paper says, and a network that errs as people do reaches the ceiling."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from regularized_training.behaviour.i2n import (
    ChoiceTrials,
    behavioural_correlation,
    d_prime,
    hit_rates_of_probabilities,
    i1,
    i2n,
    i2n_consistency,
)

IMAGES, OBJECTS = 60, 6
TARGET = np.repeat(np.arange(OBJECTS), IMAGES // OBJECTS)
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(IMAGES, OBJECTS)) + 1.5 * RNG.normal(size=(OBJECTS, OBJECTS))[TARGET]
LOGITS[np.arange(IMAGES), TARGET] += 1.5
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
RATES = hit_rates_of_probabilities(PROBABILITIES, TARGET)


def literal_d_prime(rates: np.ndarray, *, pairs: bool) -> np.ndarray:
    """Image by image and distractor by distractor, as the text has it."""
    out = np.full(rates.shape, np.nan)
    for i, t in enumerate(TARGET):
        for d in range(OBJECTS):
            if d == t:
                continue
            others = [
                rates[j, t]
                for j in range(IMAGES)
                if TARGET[j] != t and (not pairs or TARGET[j] == d)
            ]
            hit, alarm = rates[i, d], 1 - np.mean(others)
            out[i, d] = np.clip(norm.ppf(hit) - norm.ppf(alarm), -5, 5)
    return out


def people(logits: np.ndarray, n: int, seed: int = 0) -> ChoiceTrials:
    """Trials of an observer who has these rates, each with a random distractor."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, IMAGES, n)
    distractor = (TARGET[image] + rng.integers(1, OBJECTS, n)) % OBJECTS
    rates = hit_rates_of_probabilities(np.exp(logits), TARGET)
    return ChoiceTrials(
        image, distractor, rng.random(n) < rates[image, distractor], TARGET, OBJECTS
    )


# -- definitions ---------------------------------------------------------------------------


def test_a_network_chooses_by_the_share_of_the_target_among_the_two() -> None:
    p = PROBABILITIES[25]
    assert RATES[25, 0] == pytest.approx(p[TARGET[25]] / (p[TARGET[25]] + p[0]))
    assert np.isnan(RATES[np.arange(IMAGES), TARGET]).all()
    never = hit_rates_of_probabilities(np.array([[0.0, 0.0, 1.0]]), np.array([0]))
    assert never[0, 1:].tolist() == [0.5, 0.0]


@pytest.mark.parametrize("false_alarms, pairs", [("all_objects", False), ("distractor", True)])
def test_d_prime_is_as_written(false_alarms: str, pairs: bool) -> None:
    found = d_prime(RATES, TARGET, false_alarms)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, literal_d_prime(RATES, pairs=pairs), atol=1e-12)


def test_i2n_has_no_mean_over_images_of_a_target_and_a_distractor() -> None:
    found = i2n(RATES, TARGET)
    for t in range(OBJECTS):
        means = found[t == TARGET].mean(0)
        np.testing.assert_allclose(np.delete(means, t), 0, atol=1e-12)
    # So how false alarms are counted makes no difference, but for clipping.
    np.testing.assert_allclose(found, i2n(RATES, TARGET, "distractor"), atol=1e-12)


def test_i1_is_of_the_target_against_all_distractors_together() -> None:
    hit = np.nanmean(RATES, axis=1)
    alarm = np.array([1 - np.nanmean(RATES[t != TARGET, t]) for t in TARGET])
    np.testing.assert_allclose(i1(RATES, TARGET), norm.ppf(hit) - norm.ppf(alarm), atol=1e-12)
    normalised = i1(RATES, TARGET, normalised=True)
    np.testing.assert_allclose(normalised.reshape(OBJECTS, -1).mean(1), 0, atol=1e-12)


def test_rates_of_0_and_1_are_clipped_not_infinite() -> None:
    sure = np.where(np.isnan(RATES), np.nan, 1.0)
    assert (d_prime(sure, TARGET)[~np.isnan(sure)] == 5).all()
    assert (d_prime(1 - sure, TARGET)[~np.isnan(sure)] == -5).all()
    mixed = np.where(TARGET[:, None] % 2 == 0, sure, 1 - sure)
    found = d_prime(mixed, TARGET)
    assert np.isfinite(found[~np.isnan(mixed)]).all()


def test_hit_rates_of_trials_are_shares_and_missing_where_nothing_was_asked() -> None:
    trials = ChoiceTrials([0, 0, 0, 7], [1, 1, 2, 0], [True, False, True, True], [0] * 7 + [1], 3)  # type: ignore[arg-type]
    rates = trials.hit_rates()
    assert rates[0, 1:].tolist() == [0.5, 1.0] and rates[7, 0] == 1
    assert np.isnan(rates).sum() == rates.size - 3


# -- consistency ---------------------------------------------------------------------------


def test_one_who_errs_as_people_do_reaches_the_ceiling_with_few_trials_or_many() -> None:
    for n in (6_000, 40_000):
        found = i2n_consistency(RATES, people(LOGITS, n), n_halves=4)
        assert found.score == pytest.approx(1, abs=0.03)
    assert found.reliability is not None and 0.5 < found.reliability < 0.99


def test_one_who_finds_the_same_pairs_hard_but_not_the_same_images_agrees_on_nothing() -> None:
    """Which is what the mean over images is taken off for."""
    order = np.concatenate([RNG.permutation(np.flatnonzero(t == TARGET)) for t in range(OBJECTS)])
    shuffled = RATES[order]
    found = i2n_consistency(shuffled, people(LOGITS, 20_000), n_halves=4)
    assert abs(found.score) < 0.2  # type: ignore[operator]
    not_normalised = behavioural_correlation(d_prime(shuffled, TARGET), d_prime(RATES, TARGET))
    assert not_normalised > 0.3


def test_a_matrix_alone_has_no_ceiling() -> None:
    found = i2n_consistency(RATES, RATES, TARGET)
    assert found.raw == pytest.approx(1)
    assert found.score is found.reliability is None and "no trials" in found.missing


# -- what cannot be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, said",
    [
        ({"image": [0, 60]}, "image: 60, expected 0 to 59"),
        ({"distractor": [1, 6]}, "distractor: 6, expected 0 to 5"),
        ({"distractor": [0, 1]}, "of 1 trials is what the image shows"),
        ({"correct": [True]}, "expected as many of each"),
    ],
)
def test_trials_that_cannot_be_are_refused(change: dict, said: str) -> None:
    given = {"image": [0, 1], "distractor": [1, 2], "correct": [True, False]}
    with pytest.raises(ValueError, match=said):
        ChoiceTrials(**{**given, **change}, target=TARGET, n_objects=OBJECTS)


def test_matrices_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"target: shape \(59,\)"):
        i2n(RATES, TARGET[1:])
    with pytest.raises(ValueError, match="target: 0 to 5, expected 0 to 4"):
        i1(RATES[:, :5], TARGET)
    with pytest.raises(ValueError, match="probabilities: some are negative"):
        hit_rates_of_probabilities(LOGITS, TARGET)
    with pytest.raises(ValueError, match=r"shapes \(60, 6\) and \(60, 5\)"):
        behavioural_correlation(RATES, RATES[:, :5])
    with pytest.raises(ValueError, match="expected at least 3 that differ"):
        behavioural_correlation(np.ones(5), np.arange(5.0))
    with pytest.raises(ValueError, match="expected what each image shows"):
        i2n_consistency(RATES, RATES)
