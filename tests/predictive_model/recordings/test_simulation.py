"""What a simulated population is known to do, and what its stimuli are like."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from predictive_model.recordings.simulation import (
    GREY,
    SimulatedCortex,
    SimulatedCortexConfig,
)
from predictive_model.recordings.stimuli import natural_stimuli

SHAPE = (36, 64)


@pytest.fixture(scope="module")
def images():
    return natural_stimuli(400, SHAPE, seed=3)


@pytest.fixture(scope="module")
def cortex():
    return SimulatedCortex(SimulatedCortexConfig(n_neurons=60), seed=1)


@pytest.fixture(scope="module")
def recording(cortex, images):
    return cortex.record(images, n_repeated=50, n_repeats=8, seed=5, name="scan1")


def gratings(orientation, frequency, phases=16, contrast=0.5):
    """(phase, 1, h, w) gratings that vary along the direction ``orientation``."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    along = x * np.cos(orientation) + y * np.sin(orientation)
    phase = np.arange(phases)[:, None, None] * 2 * np.pi / phases
    return GREY * (1 + contrast * np.cos(2 * np.pi * frequency * along + phase))[:, None]


def fit(x, y):
    """Least squares coefficients of the columns of ``x`` beside an intercept."""
    return np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)[0][:-1]


# -- stimuli -------------------------------------------------------------------------------


def test_stimuli_are_distinct_grey_images_with_contrast():
    images = natural_stimuli(3000)
    assert images.shape == (3000, 1, 36, 64)
    assert images.dtype == np.uint8
    assert len({image.tobytes() for image in images}) == 3000
    assert images.std(axis=(1, 2, 3)).min() > 14


def test_amplitude_of_stimuli_falls_as_one_over_frequency():
    images = natural_stimuli(300, (64, 64)).astype(float)[:, 0]
    window = np.outer(np.hanning(64), np.hanning(64))
    images = (images - images.mean(axis=(1, 2), keepdims=True)) * window
    amplitude = np.sqrt((np.abs(np.fft.rfft2(images)) ** 2).mean(0))
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None])
    between = (frequency >= 2 / 64) & (frequency <= 0.4)
    (slope,) = fit(np.log(frequency[between]), np.log(amplitude[between]))
    assert -1.5 < slope < -0.7


def test_first_stimuli_do_not_depend_on_how_many_follow(images):
    np.testing.assert_array_equal(natural_stimuli(10, SHAPE, seed=3), images[:10])
    assert (natural_stimuli(10, SHAPE, seed=4) != images[:10]).any(axis=(1, 2, 3)).all()


def test_stimuli_leave_global_random_state_alone():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    cortex = SimulatedCortex(SimulatedCortexConfig(n_neurons=2))
    cortex.record(natural_stimuli(20), n_repeated=2, n_repeats=2, seed=0, name="scan")
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize("n, shape", [(0, SHAPE), (1, (428, 64)), (1, (36, 0)), (100, (427, 640))])
def test_impossible_stimuli_are_refused(n, shape):
    with pytest.raises(ValueError, match=r"^(n|shape): "):
        natural_stimuli(n, shape)


# -- receptive fields ----------------------------------------------------------------------


def test_neurons_prefer_their_orientation_and_frequency(cortex):
    steps = np.deg2rad(np.arange(0, 180, 5))
    for a in range(12):
        best = [cortex.rates(gratings(s, cortex.frequency[a]))[:, a].max() for s in steps]
        off = (steps[np.argmax(best)] - cortex.orientation[a] + np.pi / 2) % np.pi - np.pi / 2
        assert abs(np.rad2deg(off)) <= 5
        octaves = np.arange(-1, 1.01, 0.25)
        best = [
            cortex.rates(gratings(cortex.orientation[a], cortex.frequency[a] * 2.0**o))[:, a].max()
            for o in octaves
        ]
        assert abs(octaves[np.argmax(best)]) <= 0.25


def test_complex_cells_are_phase_invariant_and_simple_cells_are_not(cortex):
    for a in range(30):
        # Low contrast, so that saturation does not hide the phase.
        probe = gratings(cortex.orientation[a], cortex.frequency[a], contrast=0.05)
        rates = cortex.rates(probe)[:, a] - cortex.config.baseline_fraction * cortex.mean_rates[a]
        modulation = np.ptp(rates) / rates.mean()
        assert modulation < 0.2 if cortex.is_complex[a] else modulation > 2


def test_fraction_complex_is_kept(cortex):
    assert cortex.is_complex.sum() == 30
    for fraction in (0, 1):
        config = SimulatedCortexConfig(n_neurons=9, fraction_complex=fraction)
        assert SimulatedCortex(config).is_complex.mean() == fraction


def test_only_the_image_within_the_receptive_field_matters(cortex, images):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    whole = cortex.rates(images[:20])
    for a in range(20):
        distance = np.hypot(x - cortex.centres[a, 0], y - cortex.centres[a, 1])
        within = np.where(distance < 4 * cortex.sigma[a].max(), images[:20], GREY)
        seen = cortex.rates(within)[:, a]
        np.testing.assert_allclose(seen, whole[:, a], atol=0.03 * whole[:, a].max())


def test_grid_centres_sample_the_pixel_under_the_receptive_field(cortex):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float64)
    image = torch.from_numpy(np.stack([x, y]))[None]
    for trimmed in (0, 4):
        grid = torch.from_numpy(cortex.grid_centres(trimmed))[None, :, None]
        assert grid.abs().max() <= 1
        inner = image[..., trimmed : SHAPE[0] - trimmed, trimmed : SHAPE[1] - trimmed]
        sampled = torch.nn.functional.grid_sample(inner, grid, align_corners=True)
        np.testing.assert_allclose(sampled[0, :, :, 0].T, cortex.centres)
    with pytest.raises(ValueError, match="trimmed: 18"):
        cortex.grid_centres(18)


def test_mean_rates_hold_for_natural_images(cortex):
    rates = cortex.rates(natural_stimuli(2000, SHAPE, seed=9)).mean(0)
    np.testing.assert_allclose(rates, cortex.mean_rates, rtol=0.2)
    config = SimulatedCortexConfig(n_neurons=1000, mean_rate=2.0)
    assert SimulatedCortex(config).mean_rates.mean() == pytest.approx(2.0, rel=0.05)


# -- gaze ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dx, dy", [(2, 0), (0, -1), (-3, 2)])
def test_gaze_shifts_receptive_fields_like_images_the_other_way(cortex, images, dx, dy):
    framed = np.full((20, 1, *SHAPE), GREY)
    framed[..., 4:-4, 4:-4] = images[:20, :, 4:-4, 4:-4]
    pupil = cortex.pupil_mean + np.linalg.solve(cortex.gaze_matrix, [dx, dy])
    shifted = cortex.rates(framed, pupil=np.tile(pupil, (20, 1)))
    rolled = cortex.rates(np.roll(framed, (-dy, -dx), axis=(2, 3)))
    np.testing.assert_allclose(shifted, rolled, rtol=1e-3, atol=1e-4)
    assert np.abs(shifted / cortex.rates(framed) - 1).max() > 0.5


def test_gaze_by_half_a_pixel_moves_the_gabor_not_a_blurred_copy():
    """A grating moved by a shift is a grating of another phase, whatever the shift."""
    cortex = SimulatedCortex(SimulatedCortexConfig(n_neurons=30, centre_range=0.2), seed=2)
    shift = np.array([0.5, 0.7])
    pupil = (cortex.pupil_mean + np.linalg.solve(cortex.gaze_matrix, shift))[None]
    for a in range(30):
        direction = np.array([np.cos(cortex.orientation[a]), np.sin(cortex.orientation[a])])
        phase = 2 * np.pi * cortex.frequency[a] * (shift @ direction)
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        carrier = 2 * np.pi * cortex.frequency[a] * (x * direction[0] + y * direction[1])
        still, moved = (GREY * (1 + 0.5 * np.cos(carrier + p))[None, None] for p in (0, phase))
        looked = cortex.rates(still, pupil=pupil)[0, a]
        assert looked == pytest.approx(cortex.rates(moved)[0, a], rel=0.05)


def test_gaze_has_its_amplitude():
    config = SimulatedCortexConfig(n_neurons=1, gaze_amplitude=1.2, autocorrelation=0)
    cortex = SimulatedCortex(config)
    recording = cortex.record(natural_stimuli(4000), n_repeated=0, n_repeats=1, seed=0, name="s")
    shift = (recording.pupil - cortex.pupil_mean) @ cortex.gaze_matrix.T
    assert shift[:, 0].std() == pytest.approx(1.2, rel=0.05)
    assert shift[:, 1].std() == pytest.approx(0.7 * 1.2, rel=0.05)


def test_a_pupil_farther_than_the_margin_is_refused(cortex, images):
    with pytest.raises(ValueError, match="pupil: moves receptive fields by"):
        cortex.rates(images[:1], pupil=cortex.pupil_mean[None] + 100)


# -- behaviour -----------------------------------------------------------------------------


def test_log_regression_on_rates_recovers_the_gain_coefficients(cortex, images):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((100, 2))
    behaviour = cortex.behaviour_mean + cortex.behaviour_std * z
    rates = cortex.rates(np.repeat(images[:1], 100, axis=0), behaviour=behaviour)
    np.testing.assert_allclose(fit(z, np.log(rates)).T, cortex.gain_coefficients, atol=1e-4)


def test_poisson_trials_recover_the_gain_coefficients(images):
    """With trials of one image only, log of the mean response by behaviour shows the gain."""
    config = SimulatedCortexConfig(n_neurons=20, mean_rate=20, gaze_amplitude=0, autocorrelation=0)
    cortex = SimulatedCortex(config, seed=4)
    recording = cortex.record(images, n_repeated=1, n_repeats=20_000, seed=1, name="scan")
    trials = np.flatnonzero(recording.image_index == 0)
    z = (recording.behaviour[trials] - cortex.behaviour_mean) / cortex.behaviour_std
    counts = recording.responses[trials]
    coefficients = np.zeros((3, 20))
    x = np.c_[z, np.ones(len(z))]
    coefficients[2] = np.log(counts.mean(0))
    for _ in range(8):  # Newton steps of Poisson regression
        expected = np.exp(x @ coefficients)
        hessian = np.einsum("ti,ta,tj->aij", x, expected, x)
        gradient = np.einsum("ti,ta->ai", x, counts - expected)
        coefficients += np.linalg.solve(hessian, gradient[..., None])[..., 0].T
    np.testing.assert_allclose(coefficients[:2].T, cortex.gain_coefficients, atol=0.02)


def test_rates_without_behaviour_are_those_at_its_mean(cortex, images):
    n = 10
    at_mean = cortex.rates(
        images[:n],
        pupil=np.tile(cortex.pupil_mean, (n, 1)),
        behaviour=np.tile(cortex.behaviour_mean, (n, 1)),
    )
    np.testing.assert_allclose(cortex.rates(images[:n]), at_mean, rtol=1e-5)


def test_running_is_never_negative_and_heavy_tailed_and_behaviour_is_slow(cortex, images):
    recording = cortex.record(images, n_repeated=398, n_repeats=30, seed=2, name="scan")
    running, size = recording.behaviour.T
    z = (running - running.mean()) / running.std()
    assert running.min() == 0
    assert 0.4 < (running == 0).mean() < 0.6
    assert (z**4).mean() > 4
    np.testing.assert_allclose(recording.behaviour.mean(0), cortex.behaviour_mean, rtol=0.1)
    np.testing.assert_allclose(recording.behaviour.std(0), cortex.behaviour_std, rtol=0.1)
    for series in (running, size, *recording.pupil.T):
        assert 0.8 < np.corrcoef(series[:-1], series[1:])[0, 1] < 0.95
    assert 0.3 < np.corrcoef(running, size)[0, 1] < 0.6


def test_without_gaze_and_gain_there_is_no_pupil_and_no_behaviour(images):
    config = SimulatedCortexConfig(
        n_neurons=10, gaze_amplitude=0, running_gain=0, pupil_size_gain=0
    )
    cortex = SimulatedCortex(config)
    recording = cortex.record(images, n_repeated=10, n_repeats=500, seed=0, name="scan")
    assert recording.pupil is None
    assert recording.behaviour is None
    assert recording.behaviour_names == ()
    trials = recording.repeated_trials()
    np.testing.assert_allclose(trials.var(1, ddof=1).mean(0) / trials.mean((0, 1)), 1, atol=0.07)


# -- recordings ----------------------------------------------------------------------------


def test_a_recording_says_that_it_is_simulated(recording, images):
    assert recording.simulated
    assert recording.species == "simulated"
    assert recording.behaviour_names == ("running speed", "pupil size")
    assert recording.responses.shape == (350 + 50 * 8, 60)
    np.testing.assert_array_equal(recording.repeats, np.where(np.arange(400) < 50, 8, 1))
    np.testing.assert_array_equal(recording.images_of("test"), np.arange(50))
    assert (np.diff(recording.image_index) != 0).mean() > 0.9  # shuffled in time


def test_counts_vary_around_the_rates_like_a_poisson_process(cortex, images):
    """Fano factor 1 and unbiased mean, given gaze and behaviour of each trial."""
    recording = cortex.record(images, n_repeated=398, n_repeats=20, seed=2, name="scan")
    rates = cortex.rates(images[recording.image_index], recording.pupil, recording.behaviour)
    error = recording.responses - rates
    assert (recording.responses == np.round(recording.responses)).all()
    np.testing.assert_allclose((error**2).mean(0) / rates.mean(0), 1, atol=0.12)
    assert np.abs(error.mean(0) / np.sqrt(rates.mean(0) / len(rates))).max() < 4.5


def test_the_mean_of_many_repeats_converges_to_the_rates(images):
    config = SimulatedCortexConfig(
        n_neurons=20, gaze_amplitude=0, running_gain=0, pupil_size_gain=0
    )
    cortex = SimulatedCortex(config, seed=7)
    recording = cortex.record(images[:12], n_repeated=10, n_repeats=2000, seed=0, name="scan")
    rates = cortex.rates(images[:10])
    error = recording.repeated_trials().mean(1) - rates
    assert np.abs(error / np.sqrt(rates / 2000)).max() < 4.5


def test_the_same_seeds_give_the_same_recording(cortex, recording, images):
    again = SimulatedCortex(cortex.config, seed=1)
    other = again.record(images, n_repeated=50, n_repeats=8, seed=5, name="scan1")
    for field in ("image_index", "responses", "pupil", "behaviour"):
        np.testing.assert_array_equal(getattr(other, field), getattr(recording, field))
    other = again.record(images, n_repeated=50, n_repeats=8, seed=6, name="scan1")
    assert (other.image_index != recording.image_index).any()
    assert (other.pupil != recording.pupil).all()


def test_scans_share_images_and_tiers_but_not_neurons(cortex, recording, images):
    scan = SimulatedCortex(cortex.config, seed=2)
    other = scan.record(images, n_repeated=50, n_repeats=8, seed=5, name="scan2")
    np.testing.assert_array_equal(other.images, recording.images)
    np.testing.assert_array_equal(other.images_of("train"), recording.images_of("train"))
    assert (other.image_index != recording.image_index).any()
    assert not np.isclose(scan.centres, cortex.centres).any()
    assert not np.isclose(scan.gain_coefficients, cortex.gain_coefficients, atol=1e-6).all()


# -- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        {"n_neurons": 0},
        {"width": (14, 6)},
        {"width": (6, 40)},
        {"width": (3, 6)},
        {"cycles": (1.2, 3.0)},
        {"image_shape": (8, 64)},
        {"gaze_amplitude": 10},
        {"mean_rate": 0},
        {"mean_rate": float("nan")},
        {"baseline_fraction": 1},
        {"fraction_complex": 1.5},
        {"autocorrelation": 1},
        {"neurons": 10},
    ],
)
def test_impossible_configs_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        SimulatedCortexConfig(**bad)


def test_wrong_arguments_are_refused(cortex, images):
    with pytest.raises(ValueError, match=r"images: shape .* expected \(n, 1, 36, 64\)"):
        cortex.rates(images[:, 0])
    with pytest.raises(ValueError, match=r"behaviour: shape \(3, 2\), expected \(5, 2\)"):
        cortex.rates(images[:5], behaviour=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="n_repeated: 399"):
        cortex.record(images, n_repeated=399, n_repeats=2, seed=0, name="scan")
    with pytest.raises(ValueError, match="n_repeats: 0"):
        cortex.record(images, n_repeated=5, n_repeats=0, seed=0, name="scan")
