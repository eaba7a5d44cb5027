"""Each reference finds the kind of neuron that it is made for, and owns up to the other kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from predictive_model.recordings.gabor import gabor_pairs
from predictive_model.recordings.gabor_config import GaborConfig
from predictive_model.recordings.recording import Recording, RecordingError
from predictive_model.scoring.baselines import (
    FittedBaseline,
    GaborRidgeConfig,
    LinearNonlinearConfig,
    fit_gabor_ridge,
    fit_linear_nonlinear,
)
from predictive_model.scoring.correlation import correlation

SIDE, N_IMAGES, N_NEURONS, N_REPEATED = 16, 1200, 6, 100
PENALTIES = (0.01, 0.1, 1.0, 10.0)
LINEAR = LinearNonlinearConfig(squares=(2, 4), penalties=PENALTIES)
GABOR = GaborRidgeConfig(
    banks=(GaborConfig(wavelengths=(6,), orientations=6, exponent=1.0, pool=2),),
    grids=((4,), (8,)),
    pixels=(0,),
    penalties=PENALTIES,
)


def images(seed: int = 0) -> np.ndarray:
    """White noise of 2 x 2 pixels, in which the linear filter of any neuron can be found."""
    noise = np.random.default_rng(seed).normal(128, 40, (N_IMAGES, 1, SIDE // 2, SIDE // 2))
    return noise.repeat(2, axis=2).repeat(2, axis=3).round().clip(0, 255).astype(np.uint8)


def drives(shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Products (image, neuron) with an even and an odd Gabor, of variance 1."""
    rng = np.random.default_rng(1)
    place = np.arange(SIDE, dtype=np.float32)
    centres = rng.uniform(5, 10, (2, N_NEURONS, 1)).astype(np.float32)
    pair = gabor_pairs(
        place - centres[0],
        place - centres[1],
        orientation=np.pi * np.arange(N_NEURONS) / N_NEURONS,
        frequency=np.full(N_NEURONS, 1 / 6),
        sigma=np.full((N_NEURONS, 2), 3.0),
    )
    products = (shown[:, 0].reshape(len(shown), -1) @ g.reshape(N_NEURONS, -1).T for g in pair)
    even, odd = ((p - p.mean(0)) / p.std(0) for p in products)
    return even, odd


def recording(kind: str) -> Recording:
    """Poisson neurons; images 0 to 99 were shown 20 times and are the test tier."""
    shown = images()
    even, odd = drives(shown)
    rates = np.log1p(np.exp(2 * even)) if kind == "linear" else (even**2 + odd**2) / 2
    index = np.r_[np.arange(N_IMAGES), np.arange(N_REPEATED).repeat(19)]
    spikes = np.random.default_rng(2).poisson(5 * rates[index])
    return Recording(
        name=kind,
        images=shown,
        image_index=index,
        responses=spikes.astype(np.float32),
        simulated=True,
    )


@pytest.fixture(scope="module")
def linear() -> Recording:
    return recording("linear")


@pytest.fixture(scope="module")
def complex_cells() -> Recording:
    return recording("complex")


def scored(fitted: FittedBaseline, scan: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of predictions with the mean test responses, and how high it can be."""
    test = scan.images_of("test")
    trials = scan.repeated_trials(test)
    half, other = trials[:, ::2].mean(1), trials[:, 1::2].mean(1)
    between = correlation(half, other)
    ceiling = np.sqrt(2 * between / (1 + between))  # Spearman and Brown
    return correlation(fitted.predict(scan.images[test]), trials.mean(1)), ceiling


def test_linear_nonlinear_neurons_are_predicted_up_to_the_noise(linear: Recording) -> None:
    score, ceiling = scored(fit_linear_nonlinear(linear, LINEAR), linear)
    assert (score > 0.97 * ceiling).all()


def test_the_nonlinearity_predicts_the_rate_itself_not_only_its_order(linear: Recording) -> None:
    fitted = fit_linear_nonlinear(linear, LINEAR)
    rates = 5 * np.log1p(np.exp(2 * drives(linear.images)[0]))
    test = linear.images_of("test")
    error = fitted.predict(linear.images[test]) - rates[test]
    straight = replace(fitted, nonlinearity=None).predict(linear.images[test]) - rates[test]
    assert (error**2).mean() < 0.25 * (straight**2).mean()


def test_complex_cells_are_predicted_by_energies_and_not_by_a_linear_filter(
    complex_cells: Recording,
) -> None:
    energies, ceiling = scored(fit_gabor_ridge(complex_cells, GABOR), complex_cells)
    filtered, _ = scored(fit_linear_nonlinear(complex_cells, LINEAR), complex_cells)
    assert energies.mean() > 0.85 * ceiling.mean()
    assert filtered.mean() < 0.25


def test_only_train_and_validation_images_are_learned_from(linear: Recording) -> None:
    test = linear.tier == "test"
    responses = linear.responses.copy()
    responses[test] = responses[test][::-1]
    other = replace(linear, responses=responses)
    for fit, config in ((fit_linear_nonlinear, LINEAR), (fit_gabor_ridge, GABOR)):
        predicted = [fit(scan, config).predict(linear.images[:5]) for scan in (linear, other)]
        np.testing.assert_array_equal(*predicted)


def test_validation_images_choose_and_do_not_teach(linear: Recording) -> None:
    config = LinearNonlinearConfig(squares=(2,), penalties=(0.1,), stiffness=(1.0,))
    responses = linear.responses.copy()
    validation = linear.tier == "validation"
    responses[validation] = responses[validation][::-1]
    other = replace(linear, responses=responses)
    fits = [fit_linear_nonlinear(scan, config) for scan in (linear, other)]
    np.testing.assert_array_equal(*(fitted.predict(linear.images[:5]) for fitted in fits))
    assert fits[0].validation_correlation > 0.8 > 0.3 > fits[1].validation_correlation


def test_what_predicts_best_is_chosen_and_reported(complex_cells: Recording) -> None:
    energies_of = [
        GaborConfig(wavelengths=(w,), orientations=4, exponent=1.0, pool=2) for w in (2.5, 6)
    ]
    config = GABOR.model_copy(update={"banks": tuple(energies_of), "pixels": (0, 4)})
    fitted = fit_gabor_ridge(complex_cells, config)
    assert fitted.chosen["bank"] == energies_of[1] and fitted.chosen["pixels"] == 0
    narrow = config.model_copy(update={"banks": (energies_of[0],)})
    assert fit_gabor_ridge(complex_cells, narrow).validation_correlation < (
        fitted.validation_correlation
    )


def test_a_repeated_image_counts_once_with_its_mean_response(linear: Recording) -> None:
    train = linear.trials_of("train")
    twice = np.r_[np.arange(linear.n_trials), train]
    again = replace(
        linear,
        image_index=linear.image_index[twice],
        responses=linear.responses[twice],
        tier=np.asarray(linear.tier)[twice],
    )
    once, double = (fit_linear_nonlinear(scan, LINEAR) for scan in (linear, again))
    np.testing.assert_allclose(
        once.predict(linear.images[:5]), double.predict(linear.images[:5]), rtol=1e-4
    )


def test_a_recording_without_validation_images_is_refused(linear: Recording) -> None:
    tier = np.where(linear.tier == "test", "test", "train")
    for fit in (fit_linear_nonlinear, fit_gabor_ridge):
        with pytest.raises(RecordingError, match="tier: 0 images of 'linear' are in the valid"):
            fit(linear.with_tiers(tier))


def test_squares_larger_than_the_image_are_left_out_unless_none_is_left(linear: Recording) -> None:
    config = LinearNonlinearConfig(squares=(4, 32), penalties=(1.0,))
    assert fit_linear_nonlinear(linear, config).chosen["square"] == 4
    with pytest.raises(ValueError, match="squares: .32,., expected one that fits into .* 16"):
        fit_linear_nonlinear(linear, LinearNonlinearConfig(squares=(32,)))


def test_pixels_larger_than_the_image_are_refused(linear: Recording) -> None:
    with pytest.raises(ValueError, match="pixels: 17, expected at most 16"):
        fit_gabor_ridge(linear, GABOR.model_copy(update={"pixels": (0, 17)}))


def test_images_of_another_shape_are_refused(linear: Recording) -> None:
    fitted = fit_linear_nonlinear(linear, LINEAR)
    with pytest.raises(ValueError, match=r"images: shape \(2, 1, 8, 8\), expected \(n, 1, 16, 16"):
        fitted.predict(np.zeros((2, 1, 8, 8), np.uint8))


@pytest.mark.parametrize(
    ("config", "field"),
    [(LinearNonlinearConfig, "squares"), (GaborRidgeConfig, "grids"), (GaborRidgeConfig, "banks")],
)
def test_nothing_to_choose_from_is_refused(config: type, field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        config(**{field: ()})
