"""What an encoder makes of a real recording."""

from __future__ import annotations

import pytest

from pipeline.experiments.file import read_experiment
from predictive_model.fits.config import FitConfig
from predictive_model.fits.fitted import predict_recording
from predictive_model.fits.fitting import fit
from predictive_model.recordings.recording import Recording
from predictive_model.scoring.scores import score_predictions
from tests.test_architecture import REPOSITORY


def test_v4_responses_to_held_out_images_are_predicted(v4: Recording) -> None:
    config = read_experiment(REPOSITORY / "experiments" / "li2019-v4.toml", "small").encoder
    fitted = fit(v4, config, FitConfig(batch_size=64, max_epochs=15), seed=0)
    scores = score_predictions(v4, "test", predict_recording(fitted, v4, "test"))
    assert scores.to_average is not None and scores.oracle is not None
    assert scores.oracle.mean() == pytest.approx(0.4515, abs=1e-3)
    # A fit of full length reaches more; see docs/results.
    assert scores.to_average.mean() > 0.25
    assert scores.fraction_oracle_slope is not None and scores.fraction_oracle_slope > 0.35
