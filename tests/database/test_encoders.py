"""Encoders in the database: fitted alone, with a shared core, or published elsewhere."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import populate
from pipeline.database import Database
from pipeline.experiments import ExperimentError, ExperimentSettings, add_experiment
from predictive_model.fitted import FittedEncoder
from predictive_model.fitting import FitConfig, fit
from predictive_model.recording import Recording, RecordingError
from predictive_model.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.stimuli import natural_stimuli
from schemas import base, encoding, prediction, recording

pytestmark = pytest.mark.database

SHAPE = (18, 32)
CORE = {"layers": 2, "input_kernel": 5, "hidden_kernel": 3, "hidden_channels": 4}
STAGE_ONE = {"Reliability", "FittedEncoder", "EncoderScore", "PredictedResponses"}


@functools.cache
def scan(name: str, seed: int, n_neurons: int = 8, width: int = SHAPE[1]) -> Recording:
    config = SimulatedCortexConfig(
        n_neurons=n_neurons, image_shape=(SHAPE[0], width), width=(6, 10)
    )
    stimuli = natural_stimuli(50, (SHAPE[0], width))
    return SimulatedCortex(config, seed).record(
        stimuli, n_repeated=10, n_repeats=3, seed=seed, name=name
    )


def plan(*scans: Recording, **settings: Any) -> None:
    """An experiment that fits encoders, and teaches no network."""
    for one in scans:
        recording.Scan.add(one, source="test")
    experiment = ExperimentSettings.model_validate(
        {
            "title": "encoders only",
            "recordings": [one.name for one in scans],
            "encoder": {"core": CORE},
            "fit": {"max_epochs": 1, "batch_size": 16},
        }
        | settings
    )
    add_experiment(experiment, name="encoders", scale="smoke")


def rows() -> dict[str, int]:
    counts = {table.__name__: len(table()) for table in base.computed_tables()}
    return {name: n for name, n in counts.items() if n}


def core_of(fitted: FittedEncoder) -> dict[str, torch.Tensor]:
    return {k: v for k, v in fitted.state.items() if k.startswith("core.")}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_without_teachers_an_experiment_ends_with_denoised_responses(database: Database) -> None:
    plan(scan("a", 1))
    assert populate.populate().failures == []
    assert set(rows()) >= STAGE_ONE
    assert not set(rows()) & {"SharedCore", "Teacher", "TrainedNetwork", "NoiseAccuracy"}
    assert encoding.FittedEncoder.fetch1("origin") == "fitted"
    responses = np.asarray(prediction.PredictedResponses.fetch1("responses"))
    assert responses.shape == (50, 8)


def test_scans_that_share_a_core_are_fitted_once_together(database: Database) -> None:
    scans = scan("a", 1), scan("b", 2, n_neurons=6)
    plan(*scans, share_core=True)
    before = {p.table: (p.done, p.total) for p in populate.progress("encoders")}
    assert before["SharedCore"] == (0, 1)
    assert before["FittedEncoder"] == (0, 2)
    assert populate.populate().failures == []
    found = rows()
    assert (found["SharedCore"], found["FittedEncoder"], found["EncoderScore"]) == (1, 2, 2)
    assert {p.table: (p.done, p.total) for p in populate.progress("encoders")}["FittedEncoder"] == (
        2,
        2,
    )
    keys = encoding.FittedEncoder.keys(order_by="scan")
    assert set(encoding.FittedEncoder.to_arrays("origin")) == {"shared core"}
    a, b = (encoding.FittedEncoder.load(key) for key in keys)
    assert same(core_of(a), core_of(b))
    assert (a.n_neurons, b.n_neurons) == (8, 6)
    # Alone, the same settings are another configuration and give another encoder.
    alone = encoding.FitConfig.add(FitConfig(max_epochs=1, batch_size=16))
    assert alone not in {key["fit_hash"] for key in keys}


def test_scans_of_unlike_images_cannot_share_a_core(database: Database) -> None:
    with pytest.raises(ExperimentError, match=r"share_core: .*\(1, 18, 24\), \(1, 18, 32\)"):
        plan(scan("a", 1), scan("wide", 1, width=24), share_core=True)


class TestAnImportedEncoder:
    """Fitted here, and then taken for one that somebody else published."""

    @pytest.fixture
    def fitted(self) -> FittedEncoder:
        from predictive_model.encoder_config import EncoderConfig

        config = EncoderConfig.model_validate({"core": CORE})
        return fit(scan("a", 1), config, FitConfig(max_epochs=1))

    def add(self, fitted: FittedEncoder, name: str = "elsewhere", sha256: str = "0" * 64) -> bool:
        return encoding.FittedEncoder.add_imported(
            name, fitted, recipe="sensorium", source="model.pth", sha256=sha256, species="mouse"
        )

    def test_it_is_a_row_like_others_with_its_origin(
        self, database: Database, fitted: FittedEncoder
    ) -> None:
        assert self.add(fitted)
        key = encoding.FittedEncoder.fetch1("KEY")
        (row,) = encoding.FittedEncoder.proj("origin", "source", "package_version").to_dicts()
        assert (row["origin"], row["source"]) == ("imported", "model.pth")
        assert row["package_version"] == base.code_version()["package_version"]
        settings = (encoding.FitConfig & key).fetch1("config")
        assert settings["kind"] == "imported"
        assert (settings["recipe"], settings["sha256"]) == ("sensorium", "0" * 64)
        assert same(encoding.FittedEncoder.load(key).state, fitted.state)

    def test_the_same_file_is_imported_once(
        self, database: Database, fitted: FittedEncoder
    ) -> None:
        assert self.add(fitted)
        assert not self.add(fitted)
        assert len(encoding.FittedEncoder()) == len(recording.Scan()) == 1

    def test_a_scan_with_other_neurons_is_refused_and_nothing_is_left(
        self, database: Database, fitted: FittedEncoder
    ) -> None:
        recording.Scan.add(scan("elsewhere", 2, n_neurons=6), source="test")
        with pytest.raises(RecordingError, match="'elsewhere' has 6 neurons, this encoder 8"):
            self.add(fitted)
        assert not encoding.FittedEncoder()
        assert not encoding.EncoderConfig()

    def test_its_scan_has_no_trials_and_says_so(
        self, database: Database, fitted: FittedEncoder
    ) -> None:
        self.add(fitted)
        with pytest.raises(RecordingError, match="'elsewhere' has no trials here"):
            recording.Scan.load({"scan": "elsewhere"})
        with pytest.raises(ExperimentError, match="'elsewhere' has no trials"):
            add_experiment(
                ExperimentSettings(title="impossible", recordings=("elsewhere",)),
                name="impossible",
                scale="smoke",
            )

    def test_it_predicts_the_stimuli_that_are_asked_for_and_no_others(
        self, database: Database, fitted: FittedEncoder
    ) -> None:
        self.add(fitted)
        key = encoding.FittedEncoder.fetch1("KEY")
        wanted, other = (natural_stimuli(20, SHAPE, seed=seed) for seed in (7, 8))
        stimuli = recording.StimulusSet.add(wanted)
        recording.StimulusSet.add(other)
        prediction.PredictionPlan.add(key, stimuli)
        result = populate.populate()
        assert result.failures == []
        assert rows() == {"FittedEncoder": 1, "PredictedResponses": 1}
        responses = np.asarray(prediction.PredictedResponses.fetch1("responses"))
        np.testing.assert_allclose(responses, fitted.predict(wanted), rtol=1e-5)

    def test_stimuli_of_another_shape_are_refused(
        self, database: Database, fitted: FittedEncoder
    ) -> None:
        self.add(fitted)
        stimuli = recording.StimulusSet.add(natural_stimuli(5, (20, 20)))
        with pytest.raises(ValueError, match=r"images of \(1, 20, 20\), expected \(1, 18, 32\)"):
            prediction.PredictionPlan.add(encoding.FittedEncoder.fetch1("KEY"), stimuli)
        assert not prediction.PredictionPlan()
