"""Ceilings: by hand, against neuralpredictors, and of neurons whose signal and noise are known."""

from itertools import permutations, product

import numpy as np
import pytest
from neuralpredictors.measures import np_functions

from predictive_model.scoring.ceilings import (
    cc_max,
    ceilings,
    conservative_oracle,
    fraction_explainable_variance,
    signal_power,
    split_half_reliability,
    total_and_noise_variance,
)
from predictive_model.scoring.reliability import oracle_correlation, signal_and_noise
from tests.predictive_model.scoring.repeats import EQUAL, UNEQUAL, assert_mean_is, simulate

# Two images, three repeats, one neuron: means 2 and 6, variances over repeats 1 and 3.
BY_HAND = np.array([[[1.0], [2], [3]], [[5], [5], [8]]])
# The same without the 2: means 2 and 6, variances 2 and 3.
UNEQUAL_BY_HAND = np.array([[[1.0], [3], [np.nan]], [[5], [5], [8]]])


def test_total_and_noise_variance_by_hand():
    """Six trials of mean 4: deviations^2 9 + 4 + 1 + 1 + 1 + 16 = 32, over 5; noise (1 + 3) / 2."""
    total, noise = total_and_noise_variance(BY_HAND)
    assert (total[0], noise[0]) == pytest.approx((32 / 5, 2))
    assert fraction_explainable_variance(BY_HAND)[0] == pytest.approx((6.4 - 2) / 6.4)


def test_of_unequal_repeats_every_trial_counts_once():
    """1, 3, 5, 5, 8 of mean 4.4: deviations^2 sum to 27.2, over 4; noise (2 * 2 + 3 * 3) / 5."""
    total, noise = total_and_noise_variance(UNEQUAL_BY_HAND)
    assert (total[0], noise[0]) == pytest.approx((6.8, 2.6))


def test_signal_power_and_cc_max_by_hand():
    """The means' variance is 8, of which (1 / 3 + 3 / 3) / 2 = 2 / 3 is noise."""
    assert signal_power(BY_HAND)[0] == pytest.approx(8 - 2 / 3)
    assert cc_max(BY_HAND)[0] == pytest.approx(np.sqrt((8 - 2 / 3) / 8))
    # Without the 2: (2 / 2 + 3 / 3) / 2 = 1.
    assert signal_power(UNEQUAL_BY_HAND)[0] == pytest.approx(7)
    assert cc_max(UNEQUAL_BY_HAND)[0] == pytest.approx(np.sqrt(7 / 8))


def test_conservative_oracle_by_hand():
    """Divided by counts, means vary by 4 and repeats by (2 / 3 + 6 / 3) / 2 = 4 / 3."""
    assert conservative_oracle(BY_HAND)[0] == pytest.approx(np.sqrt(4 / (4 + 4 / 3)))


def test_split_half_reliability_by_hand():
    """Halves are 0, 2, 4 and 3, 2, 4: r = 2 / sqrt(8 * 2) = 1 / 2, and 2 r / (1 + r) = 2 / 3."""
    trials = np.array([[0.0, 3], [2, 2], [4, 4]])[:, :, None]
    assert split_half_reliability(trials)[0] == pytest.approx(2 / 3)
    assert ceilings(trials).split_half[0] == pytest.approx(np.sqrt(2 / 3))


def schoppe_signal_power(trials):
    """Eq. 1 of Schoppe et al. 2016 as it stands there; (image, repeat)."""
    n = trials.shape[1]
    return (trials.sum(1).var(ddof=1) - trials.var(0, ddof=1).sum()) / (n * (n - 1))


def test_signal_power_is_schoppes_averaged_over_all_orders_of_the_repeats():
    trials = np.random.default_rng(0).normal(size=(3, 3))
    orders = product(permutations(range(3)), repeat=3)
    every = [
        schoppe_signal_power(np.stack([t[list(o)] for t, o in zip(trials, order, strict=True)]))
        for order in orders
    ]
    assert len(every) == 6**3
    assert signal_power(trials[:, :, None])[0] == pytest.approx(np.mean(every))


def test_with_equal_repeats_neuralpredictors_has_the_same_numbers():
    trials = simulate("poisson", 0.3, np.full(50, 6), n_neurons=8).trials
    fev, _ = np_functions.fev(list(trials), list(trials), return_exp_var=True)
    np.testing.assert_allclose(fraction_explainable_variance(trials), fev)
    np.testing.assert_allclose(
        conservative_oracle(trials), np_functions.oracle_corr_conservative(list(trials))
    )
    np.testing.assert_allclose(
        oracle_correlation(trials), np_functions.oracle_corr_jackknife(list(trials)), rtol=1e-6
    )


# -- known neurons -------------------------------------------------------------------------


@pytest.mark.parametrize("repeats", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize("fev", [0.1, 0.35, 0.8])
@pytest.mark.parametrize("kind", ["gaussian", "poisson"])
def test_ceilings_of_known_neurons_are_their_expectations(kind, fev, repeats):
    """e is the noise of a trial; every trial counts once in correlations with single trials."""
    known = simulate(kind, fev, repeats)
    found = ceilings(known.trials, n_splits=10)
    s, e, share = known.signal_variance, known.noise_variance, repeats / repeats.sum()
    others = s + e * (share / (repeats - 1)).sum()
    assert_mean_is(found.fev, known.fev)
    assert_mean_is(found.oracle, s / np.sqrt((s + e) * others))
    own = s + e * (share / repeats).sum()
    assert_mean_is(found.conservative_oracle, np.sqrt(own / (s + e)))
    assert_mean_is(found.cc_max**2, known.reliability)
    assert_mean_is(found.split_half**2, known.reliability)


@pytest.mark.parametrize("n_repeats", [2, 3, 5])
def test_spearman_brown_holds_for_odd_numbers_of_repeats_too(n_repeats):
    known = simulate("gaussian", 0.3, np.full(2000, n_repeats), n_neurons=400)
    found = split_half_reliability(known.trials, n_splits=5)
    assert_mean_is(found, known.reliability, bias=1 / 2000)


def test_signal_power_is_unbiased_where_noise_and_repeats_depend_on_the_image():
    """Neurons of the same Poisson rates, and the images of high rates shown more often."""
    rng = np.random.default_rng(3)
    rates = rng.gamma(2.0, 2.0, 200)
    repeats = np.where(rates > np.median(rates), 8, 2)
    trials = rng.poisson(np.broadcast_to(rates[:, None, None], (200, 8, 400))).astype(float)
    trials[np.arange(8) >= repeats[:, None]] = np.nan
    assert_mean_is(signal_power(trials), rates.var(ddof=1), bias=0)
    total, noise = total_and_noise_variance(trials)
    shown = np.repeat(rates, repeats)  # once for each trial
    assert_mean_is(noise, shown.mean(), bias=0)
    assert_mean_is(total - noise, shown.var(ddof=1), bias=0)


def test_a_few_repeats_tell_the_ceiling_of_many():
    known = simulate("poisson", 0.3, np.full(600, 4))
    reliability = known.signal_variance / (known.signal_variance + known.noise_variance / 50)
    assert_mean_is(cc_max(known.trials, 50) ** 2, reliability)
    np.testing.assert_allclose(cc_max(known.trials, 4), cc_max(known.trials))
    with pytest.raises(ValueError, match="n_repeats: 0, expected at least 1"):
        cc_max(known.trials, 0)


def test_a_trial_is_predicted_worse_by_the_others_than_by_its_signal_than_by_a_mean_with_itself():
    found = ceilings(simulate("poisson", 0.3, UNEQUAL).trials, n_splits=1)
    assert (found.oracle < found.single_trial).all()
    assert (found.single_trial < found.conservative_oracle).all()


def test_signal_power_is_the_corrected_signal_of_eq_1_where_that_is_positive():
    trials = simulate("gaussian", 0.05, np.tile([2, 3], 15), n_neurons=200).trials
    power = signal_power(trials)
    assert 0 < (power < 0).sum() < 200
    signal, _ = signal_and_noise(trials, bias_correct=True)
    np.testing.assert_allclose(signal**2, np.maximum(power, 0))


# -- neurons without signal or variance ----------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_noise_alone_has_no_ceiling_and_nothing_explodes():
    trials = np.random.default_rng(0).normal(size=(200, 4, 300))
    found = ceilings(trials, n_splits=10)
    power = signal_power(trials)
    assert (power < 0).mean() == pytest.approx(0.5, abs=0.15)
    assert (found.cc_max[power <= 0] == 0).all()
    assert abs(found.fev.mean()) < 0.01
    for values in (found.oracle, found.single_trial, found.cc_max, found.split_half):
        assert np.abs(values).max() < 0.7


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 / 3])
def test_a_constant_neuron_has_ceilings_of_0(constant):
    trials = np.random.default_rng(0).normal(size=(20, 7, 2))
    trials[..., 1] = constant
    found = ceilings(trials)
    of_constant = [found.oracle, found.conservative_oracle, found.fev, found.cc_max]
    np.testing.assert_array_equal([values[1] for values in of_constant], np.zeros(4))
    assert found.split_half[1] == found.single_trial[1] == 0


def test_noiseless_neurons_have_ceilings_of_1():
    signal = np.random.default_rng(0).normal(size=(20, 1, 3))
    found = ceilings(np.repeat(signal, 3, axis=1))
    every = [found.oracle, found.conservative_oracle, found.fev, found.cc_max, found.split_half]
    np.testing.assert_allclose(every, 1)


def test_units_and_offsets_do_not_matter():
    trials = simulate("poisson", 0.4, UNEQUAL[:40], n_neurons=5).trials
    found, other = ceilings(trials), ceilings(1e-5 * trials + 7)
    for name in ("oracle", "conservative_oracle", "fev", "cc_max", "split_half"):
        np.testing.assert_allclose(getattr(other, name), getattr(found, name), rtol=1e-6)


def test_columns_of_missing_repeats_and_their_places_change_nothing():
    trials = simulate("poisson", 0.4, UNEQUAL[:40], n_neurons=5).trials
    moved = np.concatenate([np.full((40, 2, 5), np.nan), trials[:, ::-1]], axis=1)
    found, other = ceilings(trials), ceilings(moved, n_splits=300)
    for name in ("oracle", "conservative_oracle", "fev", "cc_max"):
        np.testing.assert_allclose(getattr(other, name), getattr(found, name))
    np.testing.assert_allclose(other.split_half, found.split_half, atol=0.03)
    assert (other.n_images, other.n_trials) == (40, 10 * (2 + 3 + 5 + 8))


def test_splits_depend_on_the_seed_alone():
    trials = simulate("gaussian", 0.4, UNEQUAL[:40], n_neurons=5).trials
    first, again, other = (split_half_reliability(trials, n_splits=3, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


# -- what is refused -----------------------------------------------------------------------


def test_no_splits_are_refused():
    with pytest.raises(ValueError, match="n_splits: 0, expected at least 1"):
        split_half_reliability(BY_HAND, n_splits=0)


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        (BY_HAND[:1], "1 images, expected at least 2"),
        (BY_HAND[:, :1], "2 images have fewer than two repeats; leave them out"),
        (BY_HAND[..., 0], r"shape \(2, 3\), expected \(image, repeat, neuron\)"),
        (
            np.concatenate([BY_HAND, UNEQUAL_BY_HAND], axis=2),
            "1 repeats are missing for some neurons and not for others",
        ),
    ],
)
def test_trials_that_hold_no_repeats_to_compare_are_refused(trials, message):
    with pytest.raises(ValueError, match=f"trials: {message}"):
        ceilings(trials)
