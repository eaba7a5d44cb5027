"""A given RSM teaches through the tables, the experiment file and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datajoint.errors import IntegrityError
from pydantic import ValidationError
from typer.testing import CliRunner

from neuroteach import results
from pipeline import figures
from pipeline.cli.main import app
from pipeline.database.opening import Database
from pipeline.database.settings import Settings
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import ALL, Selection
from pipeline.results.encoders import experiments
from pipeline.workers import populate
from predictive_model.config import what_is_wrong
from regularized_training.teachers.rsm import read_rsm, teacher_from_pairs
from regularized_training.teachers.teacher import SimilarityTeacher
from schemas import training
from schemas.teacher_plan import TeacherPlan
from schemas.teaching import Rsm, Teacher
from tests.tiny_experiment import environment, few_digits

pytestmark = pytest.mark.database

rng = np.random.default_rng(0)
STIMULI = rng.integers(0, 256, (40, 1, 16, 16)).astype(np.uint8)
PAIRS = np.stack(np.triu_indices(40, 1), 1)[::3]
DISTANCES = rng.uniform(0, 0.5, len(PAIRS))


def v1() -> SimilarityTeacher:
    return teacher_from_pairs(STIMULI, PAIRS, DISTANCES)


def asked(*teachers: dict[str, Any], **changes: Any) -> ExperimentSettings:
    return ExperimentSettings.model_validate(
        {
            "title": "an RSM",
            "images": "digits",
            "seeds": [0, 1],
            "noise": {"levels": [0, 0.2]},
            "network": {"architecture": "cornet_z", "width": 4},
            "teachers": list(teachers),
            "training": {
                "epochs": 1,
                "schedule": "constant",
                "learning_rate": 0.01,
                "augment": {"padding": 0, "flip": False},
                "regularizer": {"method": "rsm", "layer": "V2", "n_pairs": 10},
            },
        }
        | changes
    )


def test_a_given_rsm_and_random_vectors_teach(database: Database, tmp_path: Path) -> None:
    training.ImageSet.add(few_digits(), source="test")
    Rsm.add("v1", v1(), source="test")
    settings = asked(
        {"kind": "none"},
        {"kind": "rsm", "rsm": "v1", "alphas": [0.1, 1]},
        {"kind": "gaussian", "rsm": "v1"},
    )
    assert add_experiment(settings, name="study", scale="smoke")
    assert populate.populate().failures == []
    taught = (Teacher & TeacherPlan).keys()
    loaded = [t for t in map(Teacher.load, taught) if t is not None]
    assert {(t.name, t.sparse, len(t.held_out)) for t in loaded} == {
        ("rsm", True, 4),
        ("gaussian", False, 4),
    }
    noise = results.noise("study")
    assert set(zip(noise["teacher"], noise["strength"], noise["alpha"], strict=True)) == {
        ("none", "alpha", 0.0),
        ("rsm", "r", 0.1),
        ("rsm", "r", 1.0),
        ("gaussian", "r", 0.1),
    }
    found = results.differences("study")
    assert {(row.first, row.second) for row in found.itertuples() if row.level == 0} == {
        ("rsm, r 0.1", "none"),
        ("rsm, r 0.1", "gaussian, r 0.1"),
        ("rsm, r 1", "none"),
        ("rsm, r 1", "gaussian, r 0.1"),
        ("gaussian, r 0.1", "none"),
    }
    for name in ("teachers", "noise"):
        figures.draw(name, tmp_path / f"{name}.png", Selection("study"))
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    # What is deleted here and imported anew might be another one than those that taught.
    assert Teacher.Matrix.to_arrays("rsm").tolist() == ["v1", "v1"]
    with pytest.raises(IntegrityError, match="teacher__matrix"):
        (Rsm & {"rsm": "v1"}).delete_quick()
    assert not Rsm.add("v1", v1(), source="test")


def test_an_rsm_comes_back_as_it_went_in(database: Database) -> None:
    assert Rsm.add("v1", v1(), source="test")
    assert not Rsm.add("v1", v1(), source="again")
    loaded = Rsm.load("v1")
    assert np.array_equal(loaded.similarity, v1().similarity, equal_nan=True)
    assert np.array_equal(loaded.stimuli, STIMULI)
    other = teacher_from_pairs(STIMULI, PAIRS, DISTANCES / 2)
    with pytest.raises(ValueError, match="another one is called 'v1'"):
        Rsm.add("v1", other, source="test")


@pytest.mark.parametrize(
    ("teacher", "changes", "message"),
    [
        (
            {"kind": "rsm", "rsm": "v4"},
            {},
            "rsm: v4 not in the database, which has v1; add it with",
        ),
        ({"kind": "rsm"}, {}, "rsm: missing, expected the name of an RSM"),
        ({"kind": "none", "rsm": "v1"}, {}, "rsm: 'v1', but kind is 'none'"),
        (
            {"kind": "rsm", "rsm": "v1", "centred": True},
            {"training": {"epochs": 1, "regularizer": {}}, "network": {}},
            r"knows \d+ of the \d+ pairs of the RSM .v1., this regularizer needs all",
        ),
        (
            {"kind": "rsm", "rsm": "v1"},
            {"training": {"epochs": 1, "regularizer": {}}, "network": {}},
            "'rsm': similarity of uncentred responses, but this regularizer compares centred",
        ),
        (
            {"kind": "gaussian", "rsm": "v1", "mean": 5},
            {"training": {"epochs": 1, "regularizer": {}}, "network": {}},
            "'gaussian': similarity of uncentred responses, but this regularizer compares centred",
        ),
        ({"kind": "gaussian", "rsm": "v1", "deviation": 0}, {}, "deviation: .* found 0"),
    ],
)
def test_what_cannot_be_taught_is_refused_and_nothing_is_planned(
    database: Database, teacher: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    training.ImageSet.add(few_digits(), source="test")
    Rsm.add("v1", v1(), source="test")
    with pytest.raises(ExperimentError, match=message):
        try:
            settings = asked(teacher, **changes)
        except ValidationError as error:
            raise ExperimentError(what_is_wrong(error)) from error
        add_experiment(settings, name="study", scale="smoke")
    assert len(experiments(ALL)) == 0


def test_a_file_of_pairs_or_of_a_matrix_is_read(tmp_path: Path) -> None:
    file = tmp_path / "v1.npz"
    np.savez(file, images=STIMULI[:, 0], pairs=PAIRS, distances=DISTANCES)
    assert np.array_equal(read_rsm(file).similarity, v1().similarity, equal_nan=True)
    np.savez(file, shown=STIMULI, matrix=np.eye(40))
    whole = read_rsm(file, images="shown", similarity="matrix")
    assert not whole.sparse
    with pytest.raises(ValueError, match=r"v1\.npz: has no array images nor pairs nor distances"):
        read_rsm(file)
    np.savez(file, images=STIMULI, similarity=np.eye(39))
    with pytest.raises(ValueError, match=r"similarity: shape \(39, 39\), expected \(40, 40\)"):
        read_rsm(file)
    file.write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match="cannot be read as an .npz file"):
        read_rsm(file)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_rsm(tmp_path / "missing.npz")


def test_the_command_line_imports_an_rsm_once(with_tables: Settings, tmp_path: Path) -> None:
    file = tmp_path / "v1.npz"
    np.savez(file, images=STIMULI, pairs=PAIRS, distances=DISTANCES)
    run = CliRunner()
    said = [
        run.invoke(app, ["import", "rsm", str(file)], env=environment(with_tables)).stderr
        for _ in range(2)
    ]
    assert said[0].split("\n")[:2] == ["40 stimuli, 260 of 780 pairs known", "imported"]
    assert "was there already" in said[1]
