"""Encoders of others in the database: one row each, and predictions to any stimuli."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner, Result

from pipeline.cli.main import app
from pipeline.database.opening import open_database
from pipeline.database.settings import Settings
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from predictive_model.digest import array_digest
from predictive_model.fits import published
from predictive_model.recordings.recording import RecordingError
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli
from schemas import encoding, prediction, recording
from schemas import tables as registry
from tests.plain_encoder import plain_encoder
from tests.predictive_model.fits.test_published import NEURONS, RECIPE, SCAN, SMALL, state_of
from tests.tiny_experiment import SHAPE, tiny_experiment

pytestmark = pytest.mark.database

Run = Callable[..., Result]
HEIGHT, WIDTH = RECIPE.image_shape[1:]


@pytest.fixture
def run(with_tables: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command with an empty database, which knows the recipe of a small network."""
    monkeypatch.setitem(published.RECIPES, "small", RECIPE)
    monkeypatch.setenv("NEUROTEACH_HOME", str(with_tables.home))
    monkeypatch.setenv("NEUROTEACH_DATABASE", with_tables.database)
    monkeypatch.setenv("NEUROTEACH_SCHEMA", with_tables.schema_name)
    monkeypatch.setenv("NEUROTEACH_DEVICE", "cpu")

    def invoke(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


def photographs(folder: Path) -> Path:
    """Colour images of two classes, three of each in the training set."""
    rng = np.random.default_rng(0)
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (folder / place).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / place / f"{i}.png")
    return folder


def test_an_encoder_is_imported_once_and_predicts_any_stimuli_of_its_shape(run, settings, tmp_path):
    file = tmp_path / "a.pth"
    torch.save(state_of(), file)
    dry = run("import", "encoder", file, "--recipe", "small", "--dry-run")
    assert dry.exit_code == 0 and "101-2-3: 5 neurons of mouse V1; 2 layers of 6" in dry.stderr
    first = run("import", "encoder", file, "--recipe", "small")
    again = run("import", "encoder", file, "--recipe", "small")
    assert [r.stderr.splitlines()[-1] for r in (first, again)] == ["imported", "was there already"]

    stimuli = natural_stimuli(9, (HEIGHT, 2 * WIDTH))
    np.save(tmp_path / "stimuli.npy", stimuli)
    size = ("--height", HEIGHT, "--width", WIDTH)
    key = run("import", "stimuli", tmp_path / "stimuli.npy", *size).stdout.strip()
    done = run("predict", SCAN, key, "-o", tmp_path / "responses.npy")
    assert done.exit_code == 0, done.stderr
    start = WIDTH // 2
    shown = np.ascontiguousarray(stimuli[..., start : start + WIDTH])
    expected = published.read_published(file, recipe="small").predict(shown)
    np.testing.assert_allclose(np.load(tmp_path / "responses.npy"), expected, rtol=1e-5)

    before = (tmp_path / "responses.npy").read_bytes()
    for output, message in (
        ("responses", "ending '', expected .npy"),
        ("responses.npy", "responses.npy: is there already"),
        ("responses.npy", "replace it with --overwrite"),
    ):
        failed = run("predict", SCAN, key, "-o", tmp_path / output)
        assert failed.exit_code == 1 and message in failed.stderr
    assert (tmp_path / "responses.npy").read_bytes() == before
    (tmp_path / "responses.npy").write_bytes(b"")
    assert run("predict", SCAN, key, "-o", tmp_path / "responses.npy", "--overwrite").exit_code == 0
    assert (tmp_path / "responses.npy").read_bytes() == before

    square = ("--height", 12, "--width", 12, "--number", 2)
    other = run("import", "stimuli", photographs(tmp_path / "set"), *square).stdout.strip()
    for scan, stimulus_set, message in (
        (SCAN, "nothing", "stimuli: nothing is not in the database"),
        ("other", key, "no encoder of other; the database has encoders of 101-2-3"),
        (SCAN, other, "images of (1, 12, 12), expected (1, 10, 14), the shape"),
    ):
        failed = run("predict", scan, stimulus_set)
        assert failed.exit_code == 1 and message in failed.stderr

    sizes = photographs(tmp_path / "sizes")
    Image.open(sizes / "train/a/0.png").resize((30, 24)).save(sizes / "train/a/0.png")
    fitted = run("import", "stimuli", sizes, "--height", 12, "--width", 12)
    assert fitted.exit_code == 0, fitted.stderr

    with open_database(settings):
        assert (recording.StimulusSet & {"stimulus_set": other}).fetch1("n_images") == 2
        assert len(encoding.FitConfig()) == len(prediction.PredictedResponses()) == 1
        row = encoding.FittedEncoder().proj("origin", "source", "validation_correlation").fetch1()
        assert (row["origin"], row["source"], row["scan"]) == ("imported", "a.pth", SCAN)
        assert row["validation_correlation"] is None
        assert recording.Scan().fetch1("species", "area", "n_trials") == ("mouse", "V1", 0)
        # Nothing of it waits for trials that nobody has.
        assert all(
            len(table().key_source - table().proj()) == 0 for table in registry.computed_tables()
        )


def test_of_several_encoders_an_experiment_says_which_predicts(run, settings, tmp_path):
    scan = SimulatedCortex(SimulatedCortexConfig(n_neurons=4, image_shape=SHAPE)).record(
        natural_stimuli(20, SHAPE), n_repeated=4, n_repeats=2, seed=0, name="a"
    )
    alone = tiny_experiment().model_dump() | {"recordings": ["a"], "teachers": ()}
    with open_database(settings):
        recording.Scan.add(scan, source="test")
        for seed, name in enumerate(("first", "second")):
            chosen = ExperimentSettings.model_validate(alone | {"encoder_seed": seed})
            add_experiment(chosen, name=name, scale="smoke")
        assert encoding.FittedEncoder.populate()["error_list"] == []
        key = recording.StimulusSet.add(natural_stimuli(3, SHAPE, seed=1))
        second = (encoding.FittedEncoder & {"seed": 1}).fetch1("KEY")
        fitted = encoding.FittedEncoder.load(second)
        expected = fitted.predict(natural_stimuli(3, SHAPE, seed=1))
    output = tmp_path / "p.npy"
    failed = run("predict", "a", key, "-o", output)
    assert failed.exit_code == 1 and not output.exists()
    assert all(
        said in failed.stderr
        for said in ("a has 2 encoders", "of first at smoke", "of second at smoke", "--experiment")
    )
    done = run("predict", "a", key, "-o", output, "-e", "second", "-s", "smoke")
    assert done.exit_code == 0, done.stderr
    np.testing.assert_allclose(np.load(output), expected, rtol=1e-5)
    unknown = run("predict", "a", key, "-e", "third")
    assert unknown.exit_code == 1 and "first (smoke), second (smoke)" in unknown.stderr


def add(state: dict[str, Tensor], name: str = SCAN, **statistics: float) -> bool:
    fitted = published.published_encoder(state, RECIPE, name=name, **statistics)
    digest = array_digest(*(tensor.numpy() for tensor in state.values()))
    return encoding.FittedEncoder.add_imported(
        name, fitted, recipe="small", source="a.pth", sha256=digest
    )


def rows() -> tuple[int, int, int, int]:
    return (
        len(recording.Scan()),
        len(encoding.FittedEncoder()),
        len(encoding.FitConfig()),
        len(encoding.EncoderConfig()),
    )


def test_another_encoder_of_the_same_name_is_refused_and_leaves_nothing(database):
    assert add(state_of()) and not add(state_of())
    before = rows()
    refitted = {k: v + 1 if k.endswith("bias") else v for k, v in state_of().items()}
    larger = dict(
        plain_encoder(SCAN, NEURONS + 1, input_channels=4, shifter=True, **SMALL).state_dict()
    )
    message = "another imported encoder of '101-2-3', from a.pth or with other statistics"
    with pytest.raises(RecordingError, match=message):
        add(refitted)
    with pytest.raises(RecordingError, match=message):
        add(state_of(), image_std=50.0)
    with pytest.raises(RecordingError, match="has 5 neurons, this encoder 6; choose another name"):
        add(larger)
    assert rows() == before
    assert add(larger, name="mouse-b")
    assert rows() == (2, 2, 2, 1)
