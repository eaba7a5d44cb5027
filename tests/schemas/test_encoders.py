"""Encoders in the database: fitted alone, with a shared core, or published elsewhere."""

from __future__ import annotations

import functools
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from datajoint.errors import DataJointError

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.experiments.adding import add_experiment, remove_experiment
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import ALL, Selection
from pipeline.query import deletion
from pipeline.results import arrays as result_arrays
from pipeline.results.encoders import caveat
from pipeline.workers import populate
from predictive_model import half_precision
from predictive_model.fits.config import FitConfig
from predictive_model.fits.fitted import FittedEncoder, predict_recording
from predictive_model.fits.fitting import fit
from predictive_model.recordings.recording import Recording, RecordingError
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli
from schemas import base, encoding, prediction, recording
from schemas import tables as registry
from schemas.similarity import SimilarityStability

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
    counts = {table.__name__: len(table()) for table in registry.computed_tables()}
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


@pytest.mark.parametrize("cancelling, kept_as", [(0.0, "float16"), (12.0, "float32")])
def test_responses_are_kept_in_half_precision_where_that_alters_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, cancelling: float, kept_as: str
) -> None:
    """What eight neurons say of similarity would be altered, were their errors not left out."""
    monkeypatch.setattr(half_precision, "FEWEST_NEURONS", 1)
    monkeypatch.setattr(half_precision, "CHANGE_OF_ERROR", cancelling)
    plan(scan("a", 1))
    encoding.FittedEncoder.populate()
    prediction.PredictedResponses.populate()
    stored = prediction.PredictedResponses.fetch1("responses")
    assert stored.dtype == kept_as
    key = prediction.PredictedResponses.fetch1("KEY")
    expected = encoding.FittedEncoder.load(key).predict(scan("a", 1).images)
    found = prediction.PredictedResponses.load(key)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2**-11 if kept_as == "float16" else 0)
    np.testing.assert_array_equal(prediction.PredictedResponses.load(key, [7, 2]), found[[7, 2]])
    written = b"".join(prediction.PredictedResponses.in_parts(key).content())
    np.testing.assert_array_equal(np.load(io.BytesIO(written)), found)
    objects = list(database.settings.store.rglob("responses_*"))
    assert len([path for path in objects if "__predicted_responses" in str(path)]) == 1


def test_scans_that_share_a_core_are_fitted_once_together(database: Database) -> None:
    scans = scan("a", 1), scan("b", 2, n_neurons=6)
    plan(*scans, share_core=True)
    before = {p.table: (p.done, p.total) for p in populate.progress(Selection("encoders"))}
    assert before["SharedCore"] == (0, 1)
    assert before["FittedEncoder"] == (0, 2)
    assert populate.populate().failures == []
    found = rows()
    assert (found["SharedCore"], found["FittedEncoder"], found["EncoderScore"]) == (1, 2, 2)
    after = {p.table: (p.done, p.total) for p in populate.progress(Selection("encoders"))}
    assert after["FittedEncoder"] == (2, 2)
    keys = encoding.FittedEncoder.keys(order_by="scan")
    assert set(encoding.FittedEncoder.to_arrays("origin")) == {"shared core"}
    a, b = (encoding.FittedEncoder.load(key) for key in keys)
    assert same(core_of(a), core_of(b))
    assert (a.n_neurons, b.n_neurons) == (8, 6)
    # What is said of the encoders is said of the fit, not of taking them from it.
    provenance = ("package_version", "git_commit", "device", "seconds", "computed")
    (fit_of_both,) = encoding.SharedCore.proj(*provenance).to_dicts()
    for row in encoding.FittedEncoder.proj(*provenance).to_dicts():
        assert [row[c] for c in provenance] == [fit_of_both[c] for c in provenance]
    # Alone, the same settings are another configuration and give another encoder.
    alone = encoding.FitConfig.add(FitConfig(max_epochs=1, batch_size=16))
    assert alone not in {key["fit_hash"] for key in keys}
    # With the experiment the fit goes too.
    deletion.of_experiment("encoders", "smoke").execute()
    assert not encoding.SharedCore() and not encoding.FittedEncoder()


def test_stability_waits_until_all_encoders_of_an_experiment_are_fitted(
    database: Database,
) -> None:
    plan(scan("a", 1), scan("b", 2))
    for n_fitted, n_ready in ((1, 0), (2, 1)):
        encoding.FittedEncoder.populate(max_calls=1)
        assert len(encoding.FittedEncoder()) == n_fitted
        assert len(SimilarityStability().key_source) == n_ready


def test_an_encoder_that_cannot_be_built_is_not_planned(database: Database) -> None:
    readout = {"positions": "cortical"}
    with pytest.raises(ExperimentError, match="encoder of scan 'a': readout.positions: .*'free'"):
        plan(scan("a", 1), encoder={"core": CORE, "readout": readout})
    with pytest.raises(ExperimentError, match="core.input_kernel: 41 exceeds the image"):
        plan(scan("a", 1), encoder={"core": CORE | {"input_kernel": 41}})
    assert not encoding.FitPlan()


def test_scans_of_unlike_images_cannot_share_a_core(database: Database) -> None:
    with pytest.raises(ExperimentError, match=r"share_core: .*\(1, 18, 24\), \(1, 18, 32\)"):
        plan(scan("a", 1), scan("wide", 1, width=24), share_core=True)


def with_other_tiers(recording: Recording) -> Recording:
    """Train and validation tier exchanged."""
    exchanged = {"train": "validation", "validation": "train", "test": "test"}
    assert recording.tier is not None
    return recording.with_tiers(np.array([exchanged[tier] for tier in recording.tier]))


def test_scans_of_which_one_teaches_what_another_holds_out_cannot_share_a_core(
    database: Database,
) -> None:
    with pytest.raises(ExperimentError, match="share_core: tier: .* 'a'"):
        plan(scan("a", 1), with_other_tiers(scan("b", 2)), share_core=True)
    assert not encoding.FitPlan()


def test_scans_without_validation_trials_cannot_share_a_core(database: Database) -> None:
    b = scan("b", 2)
    assert b.tier is not None
    b = b.with_tiers(np.where(b.tier == "validation", "train", b.tier))
    with pytest.raises(ExperimentError, match="share_core: scan 'b' has 0 validation trials"):
        plan(scan("a", 1), b, share_core=True)
    assert not encoding.FitPlan()


def test_a_scan_and_an_encoder_are_deleted_with_the_wholes_they_are_parts_of(
    database: Database,
) -> None:
    plan(scan("a", 1), scan("b", 2), share_core=True)
    assert populate.populate().failures == []
    assert rows()["SimilarityStability"] == 1
    for scans in (encoding.FittedEncoder & {"scan": "a"}, recording.Scan & {"scan": "a"}):
        with pytest.raises(DataJointError, match="before its master"):
            scans.delete(prompt=False)
        scans.delete(part_integrity="cascade", prompt=False)
        assert "SimilarityStability" not in rows()
        populate.populate()
    # The core was fitted to the deleted scan too, and the other scan's encoder was taken from it.
    assert not encoding.SharedCore() and not encoding.FittedEncoder()
    assert recording.Scan.fetch1("scan") == "b"


class TestAnImportedEncoder:
    """Fitted here, and then taken for one that somebody else published."""

    @pytest.fixture
    def fitted(self) -> FittedEncoder:
        from predictive_model.encoders.config import EncoderConfig

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

    def test_that_of_a_scan_with_trials_predicts_from_raw_behaviour_in_raw_units(
        self, database: Database
    ) -> None:
        from predictive_model.encoders.config import EncoderConfig

        own = scan("a", 1)
        config = EncoderConfig.model_validate({"core": CORE, "shifter": {}, "modulator": {}})
        fitted = fit(own, config, FitConfig(max_epochs=1))
        assert own.behaviour is not None and own.pupil is not None
        k = own.behaviour.shape[1]
        # As published encoders are read: of behaviour and pupil that were normalised before.
        published = replace(
            fitted,
            normalisation=replace(
                fitted.normalisation,
                response_scale=np.ones(own.n_neurons, np.float32),
                behaviour_mean=np.zeros(k, np.float32),
                behaviour_std=np.ones(k, np.float32),
                pupil_mean=np.zeros(2, np.float32),
                pupil_std=np.ones(2, np.float32),
            ),
        )
        recording.Scan.add(own, source="test")
        assert self.add(published, name="a")
        assert not self.add(published, name="a")
        joined = encoding.FittedEncoder.load(encoding.FittedEncoder.fetch1("KEY"))
        norm, trials = own.normalisation, own.trials_of("test")
        expected = published.predict(
            own.images[own.image_index[trials]],
            behaviour=norm.behaviour(own.behaviour[trials]),
            pupil=norm.pupil(own.pupil[trials]),
        )
        predicted = predict_recording(joined, own, "test")
        np.testing.assert_allclose(predicted, expected * norm.response_scale, rtol=1e-4)

    def test_a_scan_of_other_inputs_is_refused_and_nothing_is_left(
        self, database: Database
    ) -> None:
        from predictive_model.encoders.config import EncoderConfig

        config = EncoderConfig.model_validate({"core": CORE, "shifter": {}, "modulator": {}})
        fitted = fit(scan("a", 1), config, FitConfig(max_epochs=1))
        own = scan("a", 1)
        for name, other, message in (
            ("wide", scan("wide", 1, width=24), r"\(1, 18, 24\), expected \(1, 18, 32\).*--downs"),
            (
                "still",
                replace(own, behaviour=None, behaviour_names=None),
                "behaviour: .* 0 columns",
            ),
            ("blind", replace(own, pupil=None), "pupil: scan 'blind' has no position"),
        ):
            recording.Scan.add(replace(other, name=name), source="test")
            with pytest.raises(RecordingError, match=message):
                self.add(fitted, name=name)
        assert not encoding.FittedEncoder()
        assert not encoding.EncoderConfig() and not encoding.FitConfig()

    def test_its_scores_are_shown_unless_an_experiment_is_named(
        self, database: Database, fitted: FittedEncoder
    ) -> None:
        recording.Scan.add(scan("a", 1), source="test")
        self.add(fitted, name="a")
        assert populate.populate().failures == []
        shown = results.encoders()
        assert shown[["scan", "simulated", "status"]].values.tolist() == [["a", True, "ok"]]
        assert results.similarity()["scan"].tolist() == ["a"]
        assert caveat(ALL) == "the brain was simulated"
        plan(scan("b", 2))
        assert results.encoders("encoders").empty
        assert results.encoders()["scan"].tolist() == ["a"]
        # One is done, and the other not even fitted.
        far = {p.table: (p.done, p.total) for p in populate.progress()}
        assert (far["FittedEncoder"], far["EncoderScore"]) == ((0, 1), (1, 2))

    def test_of_its_scan_no_images_are_known_to_export_responses_to(
        self, database: Database, fitted: FittedEncoder
    ) -> None:
        self.add(fitted)
        with pytest.raises(LookupError, match="no trials here.*`neuroteach predict elsewhere"):
            result_arrays.denoised_responses("elsewhere")

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


def test_an_experiment_that_was_wrong_can_be_removed_and_planned_anew(database: Database) -> None:
    plan(scan("a", 1), fit={"learning_rate": 1e30, "max_epochs": 1})
    assert [f.table for f in populate.populate().failures] == ["FittedEncoder"]
    remove_experiment("encoders", "smoke")
    assert populate.failures() == []
    assert not encoding.FitPlan()
    plan(scan("a", 1))
    assert populate.populate().failures == []
    # What was computed stays, and is used again.
    remove_experiment("encoders", "smoke")
    assert len(encoding.FittedEncoder()) == 1
    plan(scan("a", 1))
    assert populate.populate().computed["FittedEncoder"] == 0
    with pytest.raises(LookupError, match="experiment: other"):
        remove_experiment("other", "smoke")


def test_what_a_removed_experiment_was_waiting_for_is_not_computed(database: Database) -> None:
    plan(scan("a", 1))
    encoding.FittedEncoder().jobs.refresh(delay=-1)
    assert encoding.FittedEncoder().jobs.pending
    remove_experiment("encoders", "smoke")
    assert populate.populate().computed["FittedEncoder"] == 0
