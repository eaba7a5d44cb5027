"""What shifter and modulator have learned is what moves the simulated eye and changes its gain.

:mod:`tests.simulated_scan` says what was simulated.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from predictive_model.encoders.config import (
    CoreConfig,
    EncoderConfig,
    FrontEndConfig,
    ShifterConfig,
)
from predictive_model.encoders.encoder import Population, build_encoder
from predictive_model.inspection.gaze_and_gain import (
    behaviour_range,
    gain_curves,
    gaze_matrix,
    gaze_shift,
    pupil_grid,
)
from predictive_model.recordings.gabor_config import GaborConfig
from predictive_model.scoring.correlation import correlation
from tests import clear_scan
from tests.simulated_scan import cortex, fitted


def test_receptive_fields_are_at_rest_at_mean_gaze():
    mean = fitted().normalisation.pupil_mean
    np.testing.assert_allclose(gaze_shift(fitted(), mean[None]), 0, atol=1e-6)


def test_the_pupil_grid_goes_row_by_row_around_the_mean():
    norm = fitted().normalisation
    grid = pupil_grid(fitted(), n=3, reach=1.5)
    np.testing.assert_allclose(grid[4], norm.pupil_mean)
    np.testing.assert_allclose(grid[5] - grid[4], [1.5 * norm.pupil_std[0], 0], atol=1e-5)
    np.testing.assert_allclose(grid[8], norm.pupil_mean + 1.5 * norm.pupil_std, rtol=1e-6)


def test_the_gaze_field_is_that_of_the_simulated_eye():
    """In pixels and in direction."""
    pupil = pupil_grid(fitted())
    true = (pupil - fitted().normalisation.pupil_mean) @ cortex().gaze_matrix.T
    found = gaze_shift(fitted(), pupil)
    assert correlation(found, true).min() > 0.95
    off = np.linalg.norm(found - true, axis=1)
    assert np.median(off) < 0.25 * np.median(np.linalg.norm(true, axis=1))


def test_the_gaze_matrix_is_that_of_the_simulated_eye():
    """Measured: 0.58 and 0.37 pixels per unit, instead of 0.62 and 0.44."""
    np.testing.assert_allclose(gaze_matrix(fitted()), cortex().gaze_matrix, atol=0.12)


def test_the_shift_of_a_readout_of_a_front_end_is_in_pixels_of_the_image():
    """Six places of the map, two pixels apart, from -1 to 1: a unit is five pixels."""
    config = EncoderConfig(
        front_end=FrontEndConfig(gabors=GaborConfig(wavelengths=(4,), pool=2), spots=()),
        core=CoreConfig(layers=1, hidden_channels=2, input_kernel=3),
        shifter=ShifterConfig(),
    )
    shape = (1, 16, 16)
    encoder = build_encoder(config, {"scan": Population(1)}, image_shape=shape, seed=1)
    small = dataclasses.replace(
        fitted(), config=config, data_key="scan", image_shape=shape, n_neurons=1,
        state=encoder.state_dict(),
    )  # fmt: skip
    pupil = pupil_grid(small)[:1]
    shifter = small.encoder.shifter["scan"]
    with torch.no_grad():
        moved = shifter(torch.from_numpy(small.normalisation.pupil(pupil)))
        moved = (moved - shifter(torch.zeros(1, 2))).numpy()
    assert np.abs(moved).max() > 0.01
    np.testing.assert_allclose(gaze_shift(small, pupil), 5 * moved, rtol=1e-5)


def test_looking_at_a_network_moves_no_part_of_it_to_another_device(monkeypatch):
    """An encoder on a GPU would be left on two devices."""
    pupil, values = pupil_grid(fitted()), behaviour_range(fitted())
    moved = []
    monkeypatch.setattr(nn.Module, "_apply", lambda self, *_, **__: moved.append(self) or self)
    gaze_shift(fitted(), pupil)
    gain_curves(fitted(), values)
    assert moved == []


def test_gain_curves_have_the_slopes_of_the_simulated_gains():
    """Of log gain per standard deviation; measured: 0.97 and 0.89 are the correlations."""
    values = behaviour_range(fitted())
    curves = np.log(gain_curves(fitted(), values))
    for k, least in enumerate((0.9, 0.8)):
        z = (values[:, k] - cortex().behaviour_mean[k]) / cortex().behaviour_std[k]
        slopes = np.polyfit(z, curves[k], 1)[0]
        true = cortex().gain_coefficients[:, k]
        assert np.corrcoef(slopes, true)[0, 1] > least
        assert np.polyfit(true, slopes, 1)[0] == pytest.approx(1, abs=0.3)


def test_the_gain_is_one_at_mean_behaviour_and_that_of_the_predictions_elsewhere():
    norm = fitted().normalisation
    values = np.stack([norm.behaviour_mean, norm.behaviour_mean + norm.behaviour_std])
    gains = gain_curves(fitted(), values)
    np.testing.assert_allclose(gains[:, 0], 1, rtol=1e-6)
    images = np.random.default_rng(0).integers(0, 256, (1, 1, 36, 64)).astype(np.uint8)
    for k in (0, 1):
        behaviour = norm.behaviour_mean.copy()
        behaviour[k] = values[1, k]
        ratio = fitted().predict(images, behaviour=behaviour[None]) / fitted().predict(images)
        np.testing.assert_allclose(gains[k, 1], ratio[0], rtol=1e-3)


def test_running_does_not_get_slower_than_standing():
    values = behaviour_range(fitted(), n=5, reach=2)
    assert values[0, 0] == 0
    assert values[0, 1] > 0  # pupil size varies little around its mean
    np.testing.assert_array_equal(np.diff(values, axis=0) > 0, True)


def test_without_shifter_or_modulator_there_is_nothing_to_see():
    plain = clear_scan.fitted()
    with pytest.raises(ValueError, match="this encoder has no shifter"):
        gaze_shift(plain, np.zeros((1, 2)))
    with pytest.raises(ValueError, match="this encoder has no shifter"):
        pupil_grid(plain)
    with pytest.raises(ValueError, match="this encoder has no modulator"):
        gain_curves(plain, np.zeros((1, 2)))
    with pytest.raises(ValueError, match="this encoder has no modulator"):
        behaviour_range(plain)


def test_values_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"pupil: shape \(2,\), expected \(n, 2\)"):
        gaze_shift(fitted(), np.zeros(2))
    with pytest.raises(ValueError, match=r"values: shape \(5, 3\), expected \(n, 2\)"):
        gain_curves(fitted(), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="n, reach: 1 and 2, expected at least 2"):
        pupil_grid(fitted(), n=1, reach=2)
