"""Denoised responses leave the database as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.database.opening import Database
from pipeline.experiments.selection import Selection
from pipeline.results import arrays as result_arrays
from pipeline.workers import populate
from predictive_model.fits.config import FitConfig
from regularized_training.teachers.predictability import model_weight
from schemas import encoding
from tests.schemas.test_encoders import plan, scan

pytestmark = pytest.mark.database


def test_the_denoised_responses_are_those_of_the_encoder_with_their_weights(
    database: Database,
) -> None:
    with pytest.raises(LookupError, match="predictions of 0 encoders, .*neuroteach populate"):
        result_arrays.denoised_responses("a")
    plan(scan("a", 1))
    assert populate.populate().failures == []
    arrays = result_arrays.denoised_responses("a")
    fitted = encoding.FittedEncoder.load(encoding.FittedEncoder.fetch1("KEY"))
    recording = scan("a", 1)
    np.testing.assert_allclose(
        arrays["responses"], fitted.predict(recording.images), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(arrays["images"], recording.images)
    np.testing.assert_allclose(arrays["weight"], model_weight(recording, fitted), rtol=1e-4)
    assert arrays["repeats"].sum() == recording.n_trials
    assert arrays["simulated"]
    assert Path.cwd().joinpath("encoder.safetensors").exists() is False


def test_of_several_encoders_one_has_to_be_named(database: Database) -> None:
    from pipeline.experiments.adding import add_experiment
    from pipeline.experiments.file import ExperimentSettings

    plan(scan("a", 1))
    other = ExperimentSettings.model_validate(
        {
            "title": "another",
            "recordings": ["a"],
            "encoder": {"core": {"layers": 1, "input_kernel": 5, "hidden_channels": 4}},
            "fit": FitConfig(max_epochs=1).model_dump(),
        }
    )
    add_experiment(other, name="other", scale="smoke")
    assert populate.populate().failures == []
    with pytest.raises(LookupError, match="predictions of 2 encoders, .*--experiment"):
        result_arrays.denoised_responses("a")
    one, two = (
        result_arrays.denoised_responses("a", Selection(name))["responses"]
        for name in ("encoders", "other")
    )
    assert not np.allclose(one, two)
