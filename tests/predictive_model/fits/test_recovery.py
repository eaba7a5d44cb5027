"""What an encoder learns from noisy trials is what the simulated cortex is made of.

:mod:`tests.simulated_scan` says what was simulated.
"""

import numpy as np
import pytest
import torch

from predictive_model.fits.fitted import predict_recording
from predictive_model.scoring.correlation import correlation
from tests.simulated_scan import PIXELS_PER_UNIT, SHAPE, cortex, fitted, recording


@pytest.fixture(scope="module")
def held_out():
    """Trials of the test tier."""
    return recording().trials_of("test")


def trial_correlation(**parts):
    """Mean over neurons of the correlation of predicted with recorded test trials."""
    predicted = predict_recording(fitted(**parts), recording(), "test")
    recorded = recording().responses[recording().trials_of("test")]
    return correlation(predicted, recorded).mean()


def predicted_well():
    """Neurons whose noise-free responses to test images the encoder predicts by r > 0.6."""
    images = recording().images[recording().images_of("test")]
    return correlation(fitted().predict(images), cortex().rates(images)) > 0.6


def test_shifter_recovers_how_gaze_moves_receptive_fields(held_out):
    """To scale and in direction; its zero may be anywhere, since readout positions make up for it.

    Where a receptive field moves to the right, so does the place at which the readout looks.
    """
    pupil = recording().pupil[held_out]
    moved = (pupil - cortex().pupil_mean) @ cortex().gaze_matrix.T / PIXELS_PER_UNIT
    shifter = fitted().encoder.shifter["scan_simulated"]
    with torch.no_grad():
        shift = shifter(torch.from_numpy(fitted().normalisation.pupil(pupil))).numpy()
    assert correlation(shift, moved).min() > 0.9
    slope = [np.polyfit(moved[:, axis], shift[:, axis], 1)[0] for axis in (0, 1)]
    np.testing.assert_allclose(slope, 1, atol=0.3)


def test_modulator_recovers_the_gain_of_each_neuron(held_out):
    """Up to a constant factor of each neuron, which its firing rate takes on."""
    behaviour = recording().behaviour[held_out]
    z = (behaviour - cortex().behaviour_mean) / cortex().behaviour_std
    true = z @ cortex().gain_coefficients.T
    modulator = fitted().encoder.modulator["scan_simulated"]
    normalised = fitted().normalisation.behaviour(behaviour)
    with torch.no_grad():
        log_gain = modulator.log_gain(torch.from_numpy(normalised)).numpy()
    true, log_gain = (v - v.mean(0) for v in (true, log_gain))
    assert np.corrcoef(true.ravel(), log_gain.ravel())[0, 1] > 0.9
    assert np.polyfit(true.ravel(), log_gain.ravel(), 1)[0] == pytest.approx(1, abs=0.35)


def test_encoder_without_shifter_predicts_worse():
    assert trial_correlation(shifter=False) < trial_correlation() - 0.02


def test_encoder_without_modulator_predicts_worse():
    assert trial_correlation(modulator=False) < trial_correlation() - 0.1


def test_most_neurons_are_predicted_better_than_their_trials_predict_each_other():
    images = recording().images_of("test")
    rates = cortex().rates(recording().images[images])
    trials = recording().repeated_trials(images)
    predicted = correlation(fitted().predict(recording().images[images]), rates)
    single = correlation(trials[:, 0], rates)
    assert (predicted > single).mean() > 0.9
    assert np.median(predicted) > np.median(single) + 0.2


def test_readout_recovers_where_receptive_fields_are():
    middle = (np.array(SHAPE[::-1]) - 1) / 2
    true = (cortex().centres - middle) / PIXELS_PER_UNIT
    learned = fitted().encoder.readout["scan_simulated"].mu.detach().numpy().reshape(-1, 2)
    well = predicted_well()
    assert well.mean() > 0.5
    assert correlation(learned[well], true[well]).min() > 0.85
    # Shifter and positions share an offset; without it the median neuron is off by a pixel or two.
    off = (learned - true)[well]
    off = np.abs(off - np.median(off, axis=0)) * PIXELS_PER_UNIT
    assert np.median(off, axis=0).max() < 2
