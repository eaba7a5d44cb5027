"""Figures that look into encoders: what they show, of which scans, and what they say when not."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

from pipeline import figures
from pipeline.database.opening import Database
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import ALL, Selection
from pipeline.figures.shown_encoders import shown_encoders, with_caveat_of
from pipeline.results.registry import NothingToShowError
from pipeline.results.registry import figures as known
from pipeline.workers import populate
from predictive_model.encoders.config import CoreConfig, EncoderConfig
from predictive_model.fits.config import FitConfig
from predictive_model.fits.fitted import FittedEncoder
from predictive_model.fits.fitting import fit
from predictive_model.recordings.recording import Recording
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli
from schemas import encoding, prediction, recording

pytestmark = pytest.mark.database

SHAPE = (18, 32)
OF_ENCODERS = [name for name, figure in known().items() if figure.of_encoders]
CORE = {"layers": 2, "input_kernel": 5, "hidden_kernel": 3, "hidden_channels": 4}


@functools.cache
def scan(name: str, *, moving: bool) -> Recording:
    """A simulated scan of an animal that looks around and runs, or does neither."""
    still = {} if moving else {"gaze_amplitude": 0, "running_gain": 0, "pupil_size_gain": 0}
    config = SimulatedCortexConfig(n_neurons=7, image_shape=SHAPE, width=(6, 10), **still)
    stimuli = natural_stimuli(50, SHAPE)
    return SimulatedCortex(config).record(stimuli, n_repeated=10, n_repeats=3, seed=0, name=name)


def plan(name: str, *scans: Recording, **encoder: Any) -> None:
    for one in scans:
        recording.Scan.add(one, source="test")
    experiment = ExperimentSettings.model_validate(
        {
            "title": name,
            "recordings": [one.name for one in scans],
            "encoder": {"core": CORE} | encoder,
            "fit": {"max_epochs": 1, "batch_size": 16},
        }
    )
    add_experiment(experiment, name=name, scale="smoke")


def add_imported() -> FittedEncoder:
    """As if somebody else had published it: nothing is known of its trials."""
    config = EncoderConfig(core=CoreConfig.model_validate(CORE))
    fitted = fit(scan("still", moving=False), config, FitConfig(max_epochs=1))
    encoding.FittedEncoder.add_imported(
        "mouse", fitted, recipe="sensorium", source="m.pth", sha256="0" * 64, species="mouse"
    )
    return fitted


def texts(name: Any, **asked: str | None) -> str:
    figure = known()[name](Selection(asked.get("experiment")), asked.get("scan"))
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_every_figure_of_several_scans_is_drawn_and_says_what_was_simulated(
    database: Database, tmp_path: Path
) -> None:
    plan("moving", scan("a", moving=True), scan("b", moving=True), shifter={}, modulator={})
    plan("still", scan("still", moving=False))
    assert populate.populate().failures == []
    for name in OF_ENCODERS:
        path = tmp_path / f"{name}.svg"
        figures.draw(name, path, Selection("moving"))
        said = path.read_text()
        assert said.count("<image") >= 4 or name in ("gaze", "gain")
        assert "simulated scan a, encoder" in said
        # Two cores that one epoch has not changed have the same filters, which are drawn once.
        assert "simulated scan b, encoder" in said or "the same as of b" in said
        assert "the brain was simulated; at reduced scale (smoke)" in said
    assert "simulated scan a" not in texts("filters", scan="b")
    assert "without shifter: still" in texts("gaze")
    assert "running speed" in texts("gain")

    for name, why in (
        ("gaze", "'still' has no shifter, since the scan has no position of the pupil"),
        ("gain", "'still' has no modulator, since the scan has no behaviour"),
    ):
        with pytest.raises(NothingToShowError, match=why):
            figures.draw(name, tmp_path / "none.png", Selection("still"))
    with pytest.raises(LookupError, match="scan: 'c' has no fitted encoder here; .* a, b, still"):
        figures.draw("filters", tmp_path / "none.png", ALL, scan="c")
    with pytest.raises(LookupError, match="nobody is not in the database"):
        figures.draw("filters", tmp_path / "none.png", Selection("nobody"))
    with pytest.raises(ValueError, match="scan: 'a', but the figure 'noise' is of all scans"):
        figures.draw("noise", tmp_path / "none.png", ALL, scan="a")
    assert not (tmp_path / "none.png").exists()


def test_a_core_behind_a_front_end_has_receptive_fields_and_no_filters(
    database: Database, tmp_path: Path
) -> None:
    a, b = scan("a", moving=False), scan("b", moving=True)
    front_end = {"gabors": {"wavelengths": [4], "orientations": 2, "pool": 2}, "spots": []}
    plan("maps", a, front_end=front_end, readout={"kind": "factorised"})
    plan("pixels", b)
    assert populate.populate().failures == []
    assert "simulated scan a, encoder" in texts("receptive-fields", experiment="maps")
    with pytest.raises(NothingToShowError, match="'a' has no filters on the image, since"):
        figures.draw("filters", tmp_path / "none.png", Selection("maps"))
    assert "without filters: a" in texts("filters")


def test_neurons_are_ranked_by_their_scores_and_without_these_by_what_there_is(
    database: Database,
) -> None:
    plan("moving", scan("a", moving=True), modulator={})
    populate.populate()
    (shown,), _ = shown_encoders(Selection("moving"), None)
    scores = np.asarray(prediction.EncoderScore.fetch1("single_trial_by_neuron"))
    np.testing.assert_array_equal(shown.quality, scores)
    assert shown.best_neurons(2).tolist() == np.argsort(-scores)[:2].tolist()
    prediction.EncoderScore.delete(prompt=False)
    (shown,), _ = shown_encoders(Selection("moving"), None)
    assert shown.measure == "correlation with validation trials"

    fitted = add_imported()
    (shown,), _ = shown_encoders(ALL, "mouse")
    assert shown.measure == "standard deviation of predicted responses"
    spread = (fitted.predict(shown.images()) / fitted.normalisation.response_scale).std(0)
    np.testing.assert_allclose(shown.quality, spread, rtol=1e-4)
    # Not everything in this database is a simulation.
    assert with_caveat_of("title", [shown], ALL) == "title"
    with pytest.raises(NothingToShowError, match="its configuration sets modulator to no"):
        shown_encoders(ALL, "mouse", part="modulator")


def test_no_figure_is_drawn_without_encoders(database: Database, tmp_path: Path) -> None:
    for name in OF_ENCODERS:
        with pytest.raises(NothingToShowError, match="neuroteach populate"):
            figures.draw(name, tmp_path / "figure.png", ALL)
    assert not (tmp_path / "figure.png").exists()
