"""Eq. 4 and 5 of Li et al. 2019, by hand, by literal loops, and on populations that are known."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from predictive_model.recordings.recording import Recording, RecordingError
from predictive_model.scoring.reliability import reliability
from regularized_training.teachers.populations import (
    NoCommonImagesError,
    Population,
    on_common_images,
    population,
    split_units,
)
from regularized_training.teachers.similarity import oracle_similarity, similarity
from regularized_training.teachers.stability import (
    pair_variance,
    repeat_fluctuation,
    repeat_spread,
    scan_fluctuation,
    stability,
    trial_variance,
)
from regularized_training.teachers.structure import pairs_of

N_IMAGES = 14
PIXELS = np.arange(N_IMAGES, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2), np.uint8)


def scan(tuning, seed, *, repeats=6, noise=1.0, shared=0.0, name=None):
    """A population with this tuning, (image, neuron), and Gaussian noise, partly shared."""
    rng = np.random.default_rng([seed, 1])  # not the numbers that the tuning was drawn with
    n_images, n_neurons = tuning.shape
    trials = tuning[:, None] + noise * rng.standard_normal((n_images, repeats, n_neurons))
    trials += shared * rng.standard_normal((n_images, repeats, 1))
    return Population(
        name=name or f"scan{seed}",
        images=PIXELS[:n_images],
        trials=trials.astype(np.float32),
        weight=np.ones(n_neurons),
    )


def neurons(n, seed, axes=None):
    """Tuning of neurons drawn at random from the same 5-dimensional representation."""
    rng = np.random.default_rng(seed)
    axes = np.random.default_rng(99).standard_normal((N_IMAGES, 5)) if axes is None else axes
    return axes @ rng.standard_normal((5, n))


# -- Eq. 4 -----------------------------------------------------------------------------------


def test_eq_4_by_hand():
    oracle = np.array(
        [[[0.5, 0.1], [0.1, 0.7]], [[0.5, 0.5], [0.5, 0.1]], [[0.2, 0.6], [0.6, 0.1]]]
    )
    expected = [
        [[0.1, -0.3], [-0.3, 0.4]],
        [[0.1, 0.1], [0.1, -0.2]],
        [[-0.2, 0.2], [0.2, -0.2]],
    ]
    np.testing.assert_allclose(scan_fluctuation(oracle), expected, atol=1e-12)


def test_eq_4_needs_two_scans():
    with pytest.raises(ValueError, match=r"1 scan, expected at least 2; .*split_units"):
        scan_fluctuation(np.eye(3)[None])
    with pytest.raises(ValueError, match=r"shape \(3, 3\), expected \(scan, image, image\)"):
        scan_fluctuation(np.eye(3))


# -- Eq. 5 -----------------------------------------------------------------------------------


def test_eq_5_by_hand():
    """Image 0 lies right, right and above of the mean in its trials; image 1 opposite to that."""
    trials = np.array([[[1, 0], [1, 0], [0, 1]], [[-1, 0], [-1, 0], [0, -1]]], np.float32)
    # Similarities within an image are 1, 0 and 0, their mean 1/3.
    image = np.array([[np.nan, 2, -1], [2, np.nan, -1], [-1, -1, np.nan]]) / 3
    np.testing.assert_allclose(repeat_fluctuation(trials), [image, image], atol=1e-6)


@pytest.mark.parametrize("kept", [(3, 3, 3), (3, 5, 2, 4), (1, 4, 3, 3)])
def test_eq_5_is_what_it_says_for_unequal_repeats(kept):
    rng = np.random.default_rng(0)
    trials = rng.poisson(3.0, (len(kept), max(kept), 6)).astype(np.float32)
    trials[np.arange(max(kept)) >= np.array(kept)[:, None]] = np.nan
    weight = rng.random(6)
    shown = [(i, t) for i, n in enumerate(kept) for t in range(n)]
    s_data = similarity(np.array([trials[k] for k in shown]), weight)
    oracle = oracle_similarity(trials, weight)
    expected = np.full((len(kept), max(kept), max(kept)), np.nan)
    for a, (i, t) in enumerate(shown):
        for b, (j, u) in enumerate(shown):
            if i == j and t != u and kept[i] > 2:
                expected[i, t, u] = s_data[a, b] - oracle[i, i]
    np.testing.assert_allclose(repeat_fluctuation(trials, weight), expected, atol=1e-5)


def test_two_repeats_say_nothing_of_their_spread():
    """Their only pair is its own mean; counting it as 0 would make repeats look alike."""
    two = scan(neurons(20, 0), 0, repeats=2)
    assert np.isnan(repeat_fluctuation(two.trials)).all()
    assert repeat_spread([two]) is None
    found = stability([two, scan(neurons(20, 1), 1, repeats=2)])
    assert found.repeat is found.ratio is found.neuron_ratio is found.repeat_density is None
    assert found.scan is not None and found.scan.sd > 0


@pytest.mark.parametrize("noise", [0.5, 4.0])
def test_the_spread_over_repeats_does_not_depend_on_their_number(noise):
    """At little noise by what each trial brings into all its pairs, at much noise by the pairs."""
    tuning = neurons(12, 0)
    found, as_it_stands = {}, {}
    for repeats, n in ((4, 100), (5, 60), (40, 5)):
        each = [stability([scan(tuning, seed, repeats=repeats, noise=noise)]) for seed in range(n)]
        found[repeats] = np.sqrt(np.mean([s.repeat.sd**2 for s in each]))
        as_it_stands[repeats] = np.sqrt(np.mean([s.repeat_sd_as_it_stands**2 for s in each]))
    assert found[4] == pytest.approx(found[40], rel=0.04)
    assert found[5] == pytest.approx(found[40], rel=0.04)
    assert as_it_stands[4] < 0.92 * found[40]
    assert as_it_stands[40] == pytest.approx(found[40], rel=0.04)


def test_variance_of_pairs_is_by_pairs_without_a_common_trial():
    """E g^2 - m^2, with m^2 from all products of two pairs of four different trials."""
    kept = np.array([6, 4, 3, 5])
    trials = scan(neurons(9, 0), 0).trials[:4]
    trials[np.arange(6) >= kept[:, None]] = np.nan
    weight = np.random.default_rng(0).random(9)
    s = similarity(trials[np.isfinite(trials).all(2)], weight)
    first = np.r_[0, np.cumsum(kept)]
    expected = []
    for i, n in enumerate(kept):
        g = s[first[i] : first[i + 1], first[i] : first[i + 1]]
        pairs = list(itertools.combinations(range(n), 2))
        apart = [(p, q) for p in pairs for q in pairs if not set(p) & set(q)]
        squared_mean = np.mean([g[p] * g[q] for p, q in apart]) if apart else np.nan
        expected.append(np.mean([g[p] ** 2 for p in pairs]) - squared_mean)
    variance, n_pairs = pair_variance(trials, weight)
    np.testing.assert_allclose(variance, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(n_pairs, [15, 6, 0, 10])


def test_three_repeats_have_fluctuations_but_do_not_tell_their_spread():
    """All of their pairs share trials, so that nothing says how far their mean went along."""
    three = scan(neurons(20, 0), 0, repeats=3)
    assert np.isfinite(pairs_of(repeat_fluctuation(three.trials))).all()
    found = stability([three])
    assert found.repeat is found.repeat_density is None
    assert found.repeat_sd_as_it_stands > 0


def test_eq_5_refuses_responses_that_are_not_by_image_and_repeat():
    with pytest.raises(ValueError, match=r"shape \(4, 5\), expected \(image, repeat, neuron\)"):
        repeat_fluctuation(np.zeros((4, 5), np.float32))


# -- what trials do to the oracle --------------------------------------------------------------


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_variance_by_trials_is_that_of_repeated_experiments(shared):
    tuning = 0.7 * neurons(12, 0)
    kept = np.array([4] * 12 + [3, 2])
    oracles, estimates = [], []
    for seed in range(300):
        trials = scan(tuning, seed, repeats=4, shared=shared).trials
        trials[np.arange(4) >= kept[:, None]] = np.nan
        oracles.append(pairs_of(oracle_similarity(trials)))
        estimates.append(pairs_of(trial_variance(trials)))
    expected, found = np.var(oracles, axis=0, ddof=1), np.mean(estimates, axis=0)
    # The mean response, which moves with the trials, counts as fixed: too much by 1 / N_IMAGES.
    assert found.mean() == pytest.approx((1 + 1 / N_IMAGES) * expected.mean(), rel=0.05)
    assert np.corrcoef(found, expected)[0, 1] > 0.9


def test_without_noise_trials_add_no_variance():
    quiet = scan(neurons(12, 0), 0, noise=0)
    assert np.nanmax(np.abs(trial_variance(quiet.trials))) < 1e-10
    assert np.isnan(np.diag(trial_variance(quiet.trials))).all()


def test_variance_by_trials_needs_two_of_each_image():
    trials = scan(neurons(5, 0), 0).trials
    trials[3, 1:] = np.nan
    with pytest.raises(ValueError, match="image 3 has fewer than two repeats"):
        trial_variance(trials)


# -- together ----------------------------------------------------------------------------------


def test_the_same_neurons_in_every_scan_differ_by_trials_only():
    tuning = neurons(40, 0)
    found = stability([scan(tuning, seed, noise=2) for seed in range(12)])
    assert found.scan.sd == pytest.approx(found.trial_sd, rel=0.05)
    assert found.neuron_sd < 0.25 * found.trial_sd


def test_spread_over_scans_shrinks_with_the_root_of_the_number_of_neurons():
    def neuron_sd(n):
        return stability([scan(neurons(n, seed), seed) for seed in range(12)]).neuron_sd

    assert neuron_sd(50) / neuron_sd(800) == pytest.approx(4, rel=0.15)


def test_scans_that_see_different_things_stay_apart_however_many_neurons():
    def neuron_sd(n):
        axes = [np.random.default_rng(k).standard_normal((N_IMAGES, 5)) for k in range(6)]
        return stability([scan(neurons(n, k, axes[k]), k) for k in range(6)]).neuron_sd

    few, many = neuron_sd(100), neuron_sd(1600)
    assert many == pytest.approx(few, rel=0.1)
    assert many > 0.3


def test_more_repeats_narrow_the_spread_over_scans_but_not_that_over_repeats():
    def spreads(repeats):
        tuning = neurons(40, 0)
        return stability([scan(tuning, k, repeats=repeats, noise=3) for k in range(4)])

    few, many = spreads(4), spreads(24)
    assert many.scan.sd < 0.6 * few.scan.sd
    assert many.repeat.sd == pytest.approx(few.repeat.sd, rel=0.15)


def test_neither_spread_depends_on_the_number_of_scans():
    scans = [scan(neurons(60, seed), seed) for seed in range(40)]
    pairs = [stability(scans[k : k + 2]) for k in range(0, 40, 2)]
    together = stability(scans)
    of_pairs = np.sqrt(np.mean([p.scan.sd**2 for p in pairs]))
    assert together.scan.sd == pytest.approx(of_pairs, rel=0.05)
    of_pairs = np.sqrt(np.mean([p.repeat.sd**2 for p in pairs]))
    assert together.repeat.sd == pytest.approx(of_pairs, rel=1e-3)


def test_the_parts_of_the_spread_add_up_and_ratios_are_those_of_spreads():
    found = stability([scan(neurons(30, seed), seed) for seed in range(3)])
    assert found.scan.sd**2 == pytest.approx(found.trial_sd**2 + found.neuron_sd**2)
    assert found.ratio == found.scan.sd / found.repeat.sd
    assert found.neuron_ratio == found.neuron_sd / found.repeat.sd
    assert found.names == ("scan0", "scan1", "scan2")


def test_histograms_hold_every_fluctuation_of_eq_4_and_5():
    found = stability([scan(neurons(30, seed), seed) for seed in range(3)], n_bins=40)
    width = np.diff(found.edges)
    centres = found.edges[:-1] + width / 2
    for density, fluctuation in (
        (found.scan_density, pairs_of(scan_fluctuation(found.oracle))),
        (
            found.repeat_density,
            [
                pairs_of(repeat_fluctuation(scan(neurons(30, s), s).trials)).ravel()
                for s in range(3)
            ],
        ),
    ):
        assert (density * width).sum() == pytest.approx(1)
        sd = np.sqrt((density * width * centres**2).sum())
        assert sd == pytest.approx(np.std(fluctuation), abs=width[0])


def test_a_single_scan_has_a_spread_over_repeats_only():
    found = stability([scan(neurons(30, 0), 0)])
    assert found.scan is found.trial_sd is found.neuron_sd is found.ratio is None
    assert found.scan_density is None
    assert found.repeat.sd > 0
    assert found.oracle.shape == (1, N_IMAGES, N_IMAGES)


# -- selections of neurons ---------------------------------------------------------------------


def test_parts_are_disjoint_equally_large_and_chosen_by_the_seed():
    whole = scan(neurons(11, 0), 0)
    whole = replace(whole, weight=np.arange(11.0), predicted=whole.trials[:, 0])
    whole = replace(whole, model_weight=np.arange(11.0) / 2)
    parts = split_units(whole, 3, seed=4)
    assert [p.n_neurons for p in parts] == [3, 3, 3]
    chosen = np.concatenate([p.weight for p in parts]).astype(int)
    assert len(set(chosen)) == 9
    for part in parts:
        units = part.weight.astype(int)
        np.testing.assert_array_equal(part.trials, whole.trials[:, :, units])
        np.testing.assert_array_equal(part.predicted, whole.predicted[:, units])
        np.testing.assert_array_equal(part.model_weight, units / 2)
    again, other = split_units(whole, 3, seed=4), split_units(whole, 3, seed=5)
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(parts, again, strict=True))
    assert not all(np.array_equal(a.weight, b.weight) for a, b in zip(parts, other, strict=True))


@pytest.mark.parametrize("n", [0, 1, 4])
def test_parts_of_fewer_than_two_neurons_are_refused(n):
    with pytest.raises(ValueError, match=f"n: {n} parts of 7 neurons, expected 2 to 3"):
        split_units(scan(neurons(7, 0), 0), n)


def test_noise_that_all_parts_share_does_not_set_them_apart():
    """Two parts with the very same responses agree, however noisy their common trials are."""
    part = scan(neurons(20, 0), 0, noise=3)
    found = stability([part, replace(part, name="copy")], same_trials=True)
    assert (found.scan.sd, found.trial_sd, found.neuron_sd) == (0, 0, 0)
    assert stability([part, replace(part, name="copy")]).trial_sd > 0.05


def test_spread_of_parts_by_their_common_trials_is_that_of_repeated_experiments():
    """The same neurons recorded again and again: their parts differ by neurons, and by trials."""
    tuning = neurons(24, 0)
    halves = [np.arange(12), np.arange(12, 24)]
    differences, estimates = [], []
    for seed in range(200):
        whole = scan(tuning, seed, noise=1.5, shared=1.5)
        a, b = (whole.of_units(units, "part") for units in halves)
        differences.append(pairs_of(a.oracle() - b.oracle()))
        estimates.append(stability([a, b], same_trials=True).trial_sd ** 2)
    # With two parts the variance between them is half of the squared difference.
    expected = np.var(differences, axis=0, ddof=1).mean() / 2
    assert np.mean(estimates) == pytest.approx(expected, rel=0.1)


def test_different_trials_cannot_be_the_same():
    populations = [scan(neurons(9, 0), 0, repeats=4), scan(neurons(9, 0), 0, repeats=5)]
    with pytest.raises(ValueError, match="different trials, so same_trials cannot be true"):
        stability(populations, same_trials=True)


# -- common images -----------------------------------------------------------------------------


def test_images_are_common_by_their_pixels_wherever_they_stand():
    first = scan(neurons(10, 0), 0)
    second = scan(neurons(10, 1), 1).of_images([9, 2, 5, 7, 0])
    second = replace(second, predicted=second.trials[:, 0])
    a, b = on_common_images([first.of_images([5, 0, 3, 9]), second])
    np.testing.assert_array_equal(a.images[:, 0, 0, 0], [5, 0, 9])
    np.testing.assert_array_equal(a.images, b.images)
    np.testing.assert_array_equal(b.trials, second.trials[[2, 4, 0]])
    np.testing.assert_array_equal(b.predicted, second.predicted[[2, 4, 0]])
    assert stability([first.of_images([5, 0, 3, 9]), second]).n_images == 3


def test_images_are_common_whether_they_are_integers_or_floats():
    first, second = scan(neurons(10, 0), 0), scan(neurons(10, 1), 1)
    second = replace(second, images=second.images.astype(np.float32))
    assert stability([first, second]).n_images == N_IMAGES


def test_scans_without_common_images_are_refused_by_name():
    populations = [
        scan(neurons(10, 0), 0).of_images([0, 1, 2, 3, 4]),
        scan(neurons(10, 1), 1).of_images([3, 4, 5, 6, 7, 8]),
    ]
    message = r"2 repeated test images are common to scan0 \(5\), scan1 \(6\), expected at least 3"
    with pytest.raises(NoCommonImagesError, match=message):
        stability(populations)
    with pytest.raises(ValueError, match="populations: none"):
        stability([])


# -- from a recording --------------------------------------------------------------------------


def recording(**changes):
    rng = np.random.default_rng(0)
    arrays = dict(
        name="toy",
        images=rng.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8),
        image_index=np.r_[np.arange(20), np.repeat(np.arange(5), 3)],
        responses=rng.poisson(2.0, (35, 6)).astype(np.float32),
    )
    return Recording(**(arrays | changes))


def test_a_scan_is_seen_through_its_repeated_test_images_and_reliable_neurons():
    r = recording()
    found = population(r)
    assert found.trials.shape == (5, 4, 6)
    np.testing.assert_array_equal(found.images, r.images[:5])
    np.testing.assert_array_equal(found.weight, reliability(r).weight)
    expected = oracle_similarity(found.trials, found.weight)
    np.testing.assert_array_equal(found.oracle(), expected)
    assert found.model() is None


def test_a_scan_without_repeats_has_no_spread():
    index = np.arange(20)
    once = recording(image_index=index, responses=np.ones((20, 6), np.float32))
    with pytest.raises(RecordingError, match="0 images of 'toy' were shown more than once"):
        population(once)
