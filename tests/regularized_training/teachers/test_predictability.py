"""v_a of Eq. 6: which neurons an encoder predicts, and by what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from predictive_model.fits.fitted import FittedEncoder, predict_recording
from predictive_model.recordings.recording import Recording
from predictive_model.scoring.correlation import correlation
from predictive_model.scoring.reliability import reliability
from regularized_training.teachers.config import Predictability
from regularized_training.teachers.predictability import (
    above_chance,
    model_weight,
    predictability,
)

N, TRIALS, NEURONS = 200, 600, 300  # neurons: a third each driven by image, behaviour, nothing
IMAGE, BEHAVIOUR, NOTHING = (slice(100 * k, 100 * (k + 1)) for k in range(3))


def drives(images: NDArray, behaviour: NDArray) -> NDArray[np.float32]:
    """What each neuron responds to; the last third gets predictions that have nothing to it."""
    rng = np.random.default_rng(5)
    image = images.reshape(len(images), -1)[:, :1] / 127.5 - 1
    driven = np.concatenate(
        [
            image + np.zeros(100),
            behaviour[:, :1] + np.zeros(100),
            rng.normal(size=(len(image), 100)),
        ],
        1,
    )
    return driven.astype(np.float32)


class KnownEncoder:
    """Predicts just these drives, behaviour being 0 on average."""

    config = SimpleNamespace(shifter=None, uses_behaviour=True)

    def predict(self, images: NDArray, *, behaviour: Any = None, **rest: Any) -> NDArray:
        return drives(images, np.zeros((len(images), 1)) if behaviour is None else behaviour)


FITTED = cast(FittedEncoder, KnownEncoder())


@pytest.fixture(scope="module")
def scan() -> Recording:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, 1, 4, 4)).astype(np.uint8)
    index, behaviour = rng.permutation(np.arange(TRIALS) % N), rng.normal(size=(TRIALS, 1))
    noise = rng.normal(size=(TRIALS, NEURONS))
    driven = drives(images[index], behaviour)
    driven[:, NOTHING] = 0
    tier = np.where(index < 20, "test", np.where(index < 120, "validation", "train"))
    return Recording(
        "scan",
        images,
        index,
        (10 + driven + noise).astype(np.float32),
        tier=tier,
        behaviour=behaviour.astype(np.float32),
    )


def test_only_what_the_image_explains_counts(scan: Recording) -> None:
    v = predictability(scan, FITTED, "image")
    sd = (scan.images[:, 0, 0, 0] / 127.5).std()
    assert v[IMAGE].mean() == pytest.approx(sd / np.hypot(sd, 1), abs=0.02)
    assert v[BEHAVIOUR].max() == 0
    assert v[NOTHING].mean() < 0.02


def test_noise_of_the_trials_is_not_held_against_the_predictions(scan: Recording) -> None:
    v = predictability(scan, FITTED)
    # Predictions are the expected responses themselves.
    assert np.median(v[IMAGE]) == pytest.approx(1, abs=0.05)
    assert v[IMAGE].mean() > 0.93
    assert v[BEHAVIOUR].max() == 0
    assert v[NOTHING].mean() < 0.1


def test_under_each_trials_behaviour_what_it_explains_counts_too(scan: Recording) -> None:
    v = predictability(scan, FITTED, "trial")
    r = correlation(
        predict_recording(FITTED, scan, "validation"), scan.responses[scan.trials_of("validation")]
    )
    np.testing.assert_array_equal(v, np.maximum(r, 0))
    assert v[BEHAVIOUR].mean() > 0.6
    assert 0.4 < (v[NOTHING] == 0).mean() < 0.6


def test_correlations_by_chance_hardly_count_and_others_do() -> None:
    rng = np.random.default_rng(1)
    x, noise = rng.normal(size=(2, 100, 5_000))
    kept = {}
    for rho in (0.0, 0.3, 0.6):
        r = correlation(x, rho * x + np.sqrt(1 - rho**2) * noise)
        v = above_chance(r, 100)
        assert (np.diff(v[np.argsort(r)]) >= 0).all()  # the order stays
        kept[rho] = v.mean() / np.abs(r).mean()
    assert kept[0.0] < 0.3
    assert kept[0.3] > 0.8
    assert kept[0.6] > 0.96


@pytest.mark.parametrize("choice", get_args(Predictability))
def test_neurons_predicted_worse_than_by_chance_get_weight_0(scan: Recording, choice: Any) -> None:
    """Here all that are driven: their recorded responses are turned around."""
    turned = Recording(
        "turned",
        scan.images,
        scan.image_index,
        50 - scan.responses,
        tier=scan.tier,
        behaviour=scan.behaviour,
    )
    assert not predictability(turned, FITTED, choice)[IMAGE].any()
    assert not predictability(turned, FITTED, choice)[BEHAVIOUR].any()


def test_the_weight_is_reliability_times_predictability(scan: Recording) -> None:
    for choice in get_args(Predictability):
        expected = reliability(scan).weight * predictability(scan, FITTED, choice)
        np.testing.assert_array_equal(model_weight(scan, FITTED, choice), expected)


def test_responses_in_the_train_tier_do_not_say_how_well_others_are_predicted(
    scan: Recording,
) -> None:
    responses = scan.responses.copy()
    responses[scan.trials_of("train")] = 1
    other = Recording(
        "other", scan.images, scan.image_index, responses, tier=scan.tier, behaviour=scan.behaviour
    )
    choices: tuple[Predictability, ...] = ("image", "trial")  # repeats may be of the train tier
    for choice in choices:
        expected = predictability(scan, FITTED, choice)
        np.testing.assert_array_equal(predictability(other, FITTED, choice), expected)
