"""Experiments that another laboratory gets."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from neuroteach import results
from pipeline.database.settings import Settings
from pipeline.transfer import operations
from pipeline.transfer.conflicts import ConflictError
from pipeline.transfer.manifest import ArchiveError
from pipeline.transfer.objects import path_with_schema
from pipeline.transfer.rows import RowError, read_rows, snapshot, tables_of
from pipeline.workers import populate
from schemas import encoding, experiment, recording, teacher_plan, training
from tests.pipeline.transfer.content import (
    Made,
    content_of,
    drop,
    n_rows,
    objects_of,
    opened,
    restore,
)
from tests.tiny_experiment import few_digits, plan, tiny_recording

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def laboratory(new_tables: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A database with two finished experiments, one of which is to be passed on."""
    settings = new_tables(tmp_path_factory.mktemp("laboratory"))
    with opened(settings):
        plan(teachers=("none", "neural_model"))
        plan("other", teachers=("neural_data",), seeds=(7,))
        recording.Scan.add_without_trials("unused", 3)
        result = populate.populate()
        assert result.failures == []
    yield settings
    drop(settings)


@pytest.fixture(scope="module")
def passed_on(laboratory: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("passed-on") / "tiny.zip"
    with opened(laboratory) as database:
        operations.export_experiment(database, "tiny", file)
    return file


def frames() -> dict[str, pd.DataFrame]:
    kinds = ("accuracy", "noise", "encoders", "similarity", "stability", "spectra", "differences")
    return {kind: getattr(results, kind)("tiny", None) for kind in kinds}


def test_another_laboratory_gets_the_same_results(
    laboratory: Settings, passed_on: Path, empty: Settings
) -> None:
    with opened(laboratory):
        expected = frames()
    with opened(empty) as database:
        operations.import_archive(database, passed_on)
        found = frames()
        for kind, frame in expected.items():
            assert len(frame), kind
            assert_frame_equal(found[kind], frame, obj=kind)
        assert operations.check_database(database).problems == []
        # Nothing is left to be computed, so that all is there that anything was made from.
        assert set(populate.populate().computed.values()) == {0}
        assert training.TrainedNetwork.load(training.TrainedNetwork.keys()[0]) is not None


def test_what_the_experiment_was_not_made_from_stays_at_home(
    passed_on: Path, empty: Settings
) -> None:
    with opened(empty) as database:
        operations.import_archive(database, passed_on)
        assert set(experiment.Experiment.to_arrays("experiment")) == {"tiny"}
        assert set(recording.Scan.to_arrays("scan")) == {"sim"}
        assert set(experiment.Seed.to_arrays("seed")) == {0}
        kinds = set(teacher_plan.TeacherConfig.to_arrays("teacher"))
        assert kinds == {"none", "neural_model"}
        assert operations.check_database(database).young == 0


def test_what_is_only_planned_takes_along_what_it_will_be_made_of(empty: Settings) -> None:
    from pipeline.transfer.selection import rows_of_experiment
    from schemas.teacher_plan import TeacherConfig, TeacherPlan
    from schemas.teaching import Rsm

    with opened(empty) as database:
        plan()
        stimuli = np.arange(4 * 64, dtype=np.float32).reshape(4, 1, 8, 8)
        from regularized_training.teachers.config import TeacherConfig as Config
        from regularized_training.teachers.teacher import SimilarityTeacher

        Rsm.add("given", SimilarityTeacher("rsm", stimuli, np.eye(4, dtype=np.float32)), source="x")
        Rsm.add(
            "unused", SimilarityTeacher("rsm", stimuli + 1, np.eye(4, dtype=np.float32)), source="x"
        )
        taught_by = TeacherConfig.row(Config(kind="rsm", rsm="given"))
        TeacherConfig.insert1(taught_by)
        (group,) = teacher_plan.ScanGroup.to_arrays("scan_group")[:1]
        key = {"experiment": "tiny", "scale": "smoke"}
        teacher = taught_by["teacher_hash"]
        TeacherPlan.insert1({**key, "teacher_hash": teacher, "scan_group": group})
        training.Superclasses.insert1({"image_set": "digits", "superclasses": ["a"] * 10})
        recording.Scan.add_without_trials("partner", 3)
        recording.Scan.add_without_trials("stranger", 3)
        fit = dict(batch_size=1, learning_rate=0.1, max_epochs=1, n_scans=2, config={})
        encoding.FitConfig.insert1({"fit_hash": "f" * 16, "scans": ["sim", "partner"], **fit})
        planned = encoding.FitPlan.fetch1("KEY")
        for scan in ("sim", "partner"):
            encoding.FitPlan.insert1({**planned, "scan": scan, "fit_hash": "f" * 16})
        connection, schema = database.connection, empty.schema_name
        with snapshot(connection):
            wanted = rows_of_experiment(connection, schema, "tiny", "smoke")
            chosen = {
                table.name: [row for row in read_rows(connection, table) if wanted(table, row)]
                for table in tables_of(connection, schema)
            }
    assert [row["rsm"] for row in chosen["Rsm"]] == ["given"]
    assert [row["scan"] for row in chosen["Scan"]] == ["partner", "sim"]
    assert len(chosen["Superclasses"]) == 1
    assert len(chosen["StimulusSet"]) == 2


def test_an_unknown_experiment_is_refused(laboratory: Settings, tmp_path: Path) -> None:
    with opened(laboratory) as database, pytest.raises(LookupError, match="tiny"):
        operations.export_experiment(database, "none", tmp_path / "none.zip")
    assert list(tmp_path.iterdir()) == []


def test_what_both_laboratories_have_is_joined(passed_on: Path, empty: Settings) -> None:
    """They imported the same scan and images, at other times and from other files."""
    with opened(empty) as database:
        recording.Scan.add(tiny_recording(), source="another file")
        training.ImageSet.add(few_digits(), source="another file")
        before = objects_of(empty)
        result = operations.import_archive(database, passed_on)
        assert result.kept == []
        assert recording.Scan.fetch1("source") == "another file"
        assert set(objects_of(empty)) >= set(before)
        assert operations.check_database(database).problems == []
        assert operations.check_database(database).young == 0
        again = operations.import_archive(database, passed_on)
    assert (again.rows, again.objects) == (0, 0)
    assert again.rows_present == result.rows + result.rows_present


def test_what_both_computed_is_joined_whoever_was_faster(passed_on: Path, empty: Settings) -> None:
    """The same settings, seeds and machine give the same weights, in another time."""
    with opened(empty) as database:
        plan(teachers=("none", "neural_model"))
        assert populate.populate().failures == []
        mine = encoding.FittedEncoder.fetch1("history")
        result = operations.import_archive(database, passed_on)
        assert (result.rows, result.kept) == (0, [])
        assert encoding.FittedEncoder.fetch1("history") == mine
        assert operations.check_database(database).problems == []
        # Another course of the fit is another result, though it ended in the same weights.
        encoders = encoding.FittedEncoder().full_table_name
        mine[-1]["loss"] += 1
        database.connection.query(f"UPDATE {encoders} SET history = %s", (json.dumps(mine),))
        with pytest.raises(ConflictError, match="FittedEncoder .* has another history"):
            operations.import_archive(database, passed_on)


def test_a_new_row_does_not_take_the_object_of_another(
    laboratory: Settings, passed_on: Path, empty: Settings
) -> None:
    """Paths are no secret: whoever was given an archive knows those of its rows."""
    with opened(empty) as database:
        recording.Scan.add_without_trials("mine", 3)
        mine = (recording.Scan & {"scan": "mine"}).fetch1("responses")._meta
        with zipfile.ZipFile(passed_on) as archive:
            (scan,) = map(json.loads, archive.read("rows/Scan.jsonl").splitlines())
        theirs = path_with_schema(
            scan["responses"]["path"], laboratory.schema_name, empty.schema_name
        )
        table = recording.Scan().full_table_name
        store = empty.store_root()
        (store / theirs).parent.mkdir(parents=True)
        (store / theirs).write_bytes((store / mine["path"]).read_bytes())
        meta = json.dumps(mine | {"path": theirs})
        database.connection.query(f"UPDATE {table} SET responses = %s", (meta,))
        before = content_of(empty)
        with pytest.raises(ConflictError, match=r"name the same object, .*; no row was written"):
            operations.import_archive(database, passed_on)
        assert content_of(empty) == before


def test_a_row_of_other_content_is_refused_or_kept_with_its_parts(
    passed_on: Path, empty: Settings
) -> None:
    with opened(empty) as database:
        operations.import_archive(database, passed_on)
        key = training.TrainedNetwork.keys()[0]
        where = " AND ".join(f"{k} = '{v}'" for k, v in key.items())
        table = training.TrainedNetwork().full_table_name
        epochs = training.TrainedNetwork.Epoch().full_table_name
        database.connection.query(f"UPDATE {table} SET test_accuracy = 0.125 WHERE {where}")
        database.connection.query(f"DELETE FROM {epochs} WHERE {where}")
        plan_key = {"experiment": "tiny", "scale": "smoke"}
        (training.TrainedNetwork & key).fetch1("test_accuracy")
        before = content_of(empty)
        with pytest.raises(ConflictError, match="TrainedNetwork .* has another test_accuracy"):
            operations.import_archive(database, passed_on)
        assert content_of(empty) == before
        result = operations.import_archive(database, passed_on, keep_existing=True)
        assert len(result.kept) == 2  # the network and its epoch
        assert result.rows == 0
        assert (training.TrainedNetwork & key).fetch1("test_accuracy") == 0.125
        assert len(training.TrainedNetwork.Epoch & key) == 0
        assert len(experiment.Experiment & plan_key) == 1
        problems = operations.check_database(database).problems
    assert [(p.kind, p.problem) for p in problems] == [
        ("parts", "has no rows in TrainedNetwork.Epoch or TrainedNetwork.Imported")
    ]


def test_an_experiment_whose_evaluation_is_not_installed_is_not_passed_on_without_it(
    restored: Settings, tmp_path: Path
) -> None:
    with opened(restored) as database:
        schema, query = restored.schema_name, database.connection.query
        key = "experiment varchar(64), scale varchar(32), PRIMARY KEY (experiment, scale)"
        query(f'CREATE TABLE "{schema}".mirror_plan ({key})')
        asked = f'SELECT experiment, scale FROM "{schema}".experiment'
        query(f'INSERT INTO "{schema}".mirror_plan {asked}')
        file = tmp_path / "tiny.zip"
        with pytest.raises(RowError, match="MirrorPlan: the experiment asks for what is not inst"):
            operations.export_experiment(database, "tiny", file)
        assert not file.exists()


def test_another_scan_of_the_same_name_is_refused_whatever_is_asked(
    passed_on: Path, empty: Settings
) -> None:
    """What was computed from it elsewhere would stand beside what it was not computed from."""
    with opened(empty) as database:
        recording.Scan.add_without_trials("sim", 10)
        before = content_of(empty)
        for keep in (False, True):
            with pytest.raises(ConflictError, match=r"Scan \(scan=sim\): has another .* no row"):
                operations.import_archive(database, passed_on, keep_existing=keep)
        assert content_of(empty) == before


def test_an_experiment_is_no_backup(passed_on: Path, untouched: Settings) -> None:
    with pytest.raises(ArchiveError, match="neuroteach import archive"):
        restore(untouched, passed_on)
    assert n_rows(untouched) == 0
