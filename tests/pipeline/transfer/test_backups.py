"""Backup and restore: the same to the byte, or nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.database.settings import Settings
from pipeline.transfer import operations
from pipeline.transfer.conflicts import ConflictError
from pipeline.transfer.manifest import ArchiveError
from pipeline.transfer.rows import line_of
from regularized_training.tasks.evaluation_set import EvaluationSet as EvaluationImages
from regularized_training.tasks.labelled_task import TaskError
from regularized_training.tasks.picture_files import find_pictures
from regularized_training.tasks.picture_task import PictureShape, PictureTask
from schemas import experiment, recording
from schemas.evaluation_set import EvaluationSet
from schemas.images import ImageSet
from schemas.objects import StoreError
from tests.picture_sets import write_pictures
from tests.pipeline.transfer.content import (
    Made,
    altered,
    content_of,
    drop,
    fill,
    n_rows,
    objects_of,
    old_orphan,
    opened,
    restore,
)
from tests.tiny_experiment import tiny_recording

pytestmark = pytest.mark.database

VERSION_3 = Path(__file__).resolve().parents[2] / "fixtures" / "version3" / "backup.zip"


def test_a_restored_database_is_the_one_that_was_saved(
    filled: Settings, saved: Path, new_tables: Made, tmp_path: Path
) -> None:
    """In the very schema that was wiped, so that nothing is renamed."""
    mine = new_tables(tmp_path)
    with opened(mine) as database:
        fill()
        file = tmp_path / "all.zip"
        manifest = operations.backup_database(database, file)
    before = content_of(mine)
    drop(mine)
    shutil.rmtree(mine.home / "store")
    result = restore(mine, file)
    try:
        assert content_of(mine) == before
        assert result.rows == manifest.n_rows == sum(map(len, before[0].values()))
        assert result.objects == len(before[1]) == len(manifest.objects)
        assert result.renamed is None
        with opened(mine) as database:
            assert recording.Scan.load({"scan": "sim"}).responses.sum() > 0
            assert operations.check_database(database).problems == []
    finally:
        drop(mine)


def test_in_a_schema_of_another_name_only_the_names_of_objects_differ(
    filled: Settings, saved: Path, empty: Settings
) -> None:
    result = restore(empty, saved)
    assert content_of(empty) == content_of(filled)
    assert result.renamed == (filled.schema_name, empty.schema_name)
    with opened(empty) as database:
        report = operations.check_database(database)
        np.testing.assert_array_equal(
            recording.Scan.load({"scan": "sim"}).responses, tiny_recording().responses
        )
    assert (report.problems, report.young) == ([], 0)
    assert report.objects == len(objects_of(empty))


def test_restoring_again_changes_nothing(saved: Path, empty: Settings) -> None:
    first = restore(empty, saved)
    before = content_of(empty)
    assert first.unrelated == 0
    old_orphan(empty, "_hash", "abcdefghijklmnopqrstuvwxyz")
    again = restore(empty, saved)
    assert (again.rows, again.objects, again.unrelated) == (0, 0, 1)
    assert (again.rows_present, again.objects_present) == (first.rows, first.objects)
    assert content_of(empty)[0] == before[0]


def test_a_database_with_other_rows_is_refused_and_stays_as_it_is(
    saved: Path, empty: Settings
) -> None:
    with opened(empty) as database:
        for name, message in (
            ("mine", r"Scan \(mine\): .* no row was written"),
            ("Za", r"Scan \(scan=Za\): .* other content"),
        ):
            recording.Scan.add_without_trials(name, 5)
            before = content_of(empty)
            with pytest.raises(ConflictError, match=message):
                operations.restore_database(database, saved)
            assert content_of(empty) == before
            (recording.Scan & {"scan": name}).delete_quick()


def test_damaged_and_lost_objects_are_put_back(saved: Path, empty: Settings) -> None:
    restore(empty, saved)
    before = content_of(empty)
    root = Path(empty.store_root())
    lost, short, bad = sorted(root.glob("_schema/*/scan/**/*.npy"))[:3]
    lost.unlink()
    short.write_bytes(short.read_bytes()[:-1])
    bad.write_bytes(bad.read_bytes()[:-1] + b"?")
    assert content_of(empty) != before
    assert restore(empty, saved).objects == 3
    assert content_of(empty) == before


def test_what_was_lost_is_put_back_in_a_database_that_has_gone_on(
    saved: Path, empty: Settings
) -> None:
    restore(empty, saved)
    with opened(empty) as database:
        recording.Scan.add_without_trials("since", 3)
        before = content_of(empty)
        lost, bad = sorted(Path(empty.store_root()).glob("_schema/*/scan/scan=sim/*.npy"))[:2]
        lost.unlink()
        bad.write_bytes(bad.read_bytes()[:-1] + b"?")
        with pytest.raises(ConflictError, match="neuroteach import archive"):
            operations.restore_database(database, saved)
        result = operations.import_archive(database, saved)
        assert (result.rows, result.objects, result.kept) == (0, 2, [])
        assert content_of(empty) == before
        assert operations.check_database(database).problems == []


@pytest.mark.parametrize("part", [0.2, 0.99])
def test_of_a_file_that_was_cut_short_nothing_is_written(
    saved: Path, untouched: Settings, part: float
) -> None:
    def cut(content: bytearray) -> None:
        del content[int(part * len(content)) :]

    with pytest.raises(ArchiveError, match="cut short"):
        restore(untouched, altered(saved, cut))
    assert (n_rows(untouched), objects_of(untouched)) == (0, {})


@pytest.mark.parametrize("entry", ["rows/Scan.jsonl", "objects/"])
def test_of_a_file_with_one_other_byte_nothing_is_written(
    saved: Path, untouched: Settings, entry: str
) -> None:
    with zipfile.ZipFile(saved) as archive:
        info = next(i for i in archive.infolist() if i.filename.startswith(entry))
        place = info.header_offset + len(info.FileHeader()) + info.compress_size // 2

    def flip(content: bytearray) -> None:
        content[place] ^= 0x10

    with pytest.raises(ArchiveError, match=entry):
        restore(untouched, altered(saved, flip))
    assert (n_rows(untouched), objects_of(untouched)) == (0, {})


def test_tables_of_a_newer_version_are_refused(
    saved: Path, untouched: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.database import migrations

    with opened(untouched) as database:
        monkeypatch.setattr(migrations, "LATEST", migrations.LATEST - 1)
        with pytest.raises(ArchiveError, match="newer than this program"):
            operations.restore_database(database, saved)
        with pytest.raises(ArchiveError, match="newer than this program"):
            operations.import_archive(database, saved)
    assert (n_rows(untouched), objects_of(untouched)) == (0, {})


def test_a_backup_names_nobody_s_password_and_no_folder(saved: Path, filled: Settings) -> None:
    with zipfile.ZipFile(saved) as archive:
        manifest = archive.read("manifest.json").decode()
    assert str(filled.home) not in manifest
    assert "postgresql" not in manifest
    assert json.loads(manifest)["holds"] == {
        "kind": "database",
        "experiment": None,
        "scale": None,
    }


def test_a_backup_that_finds_an_object_missing_names_it_and_leaves_no_file(
    empty: Settings, saved: Path, tmp_path: Path
) -> None:
    restore(empty, saved)
    next(Path(empty.store_root()).glob("_schema/*/image_set/**/train_images_*.npy")).unlink()
    with (
        opened(empty) as database,
        pytest.raises(StoreError, match=r"ImageSet \(image_set=digits\) train_images: .* missing"),
    ):
        operations.backup_database(database, tmp_path / "new.zip")
    assert not list(tmp_path.glob("*new.zip*"))


def test_rows_of_an_earlier_version_get_the_defaults_of_their_new_columns(
    empty: Settings, tmp_path: Path
) -> None:
    new = ("priority", "added_by")
    with zipfile.ZipFile(VERSION_3) as old, zipfile.ZipFile(tmp_path / "old.zip", "w") as archive:
        manifest = json.loads(old.read("manifest.json"))
        rows = [json.loads(line) for line in old.open("rows/Experiment.jsonl")]
        assert rows[0]["priority"] == 5
        for row in rows:
            for name in new:
                del row[name]
        content = b"".join(map(line_of, rows))
        table = manifest["tables"]["Experiment"]
        table.update(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name in new:
            del table["columns"][name]
        manifest["schema_version"] = 0
        for name in old.namelist():
            archive.writestr(name, old.read(name))
        for name, changed in (
            ("rows/Experiment.jsonl", content),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            archive.NameToInfo.pop(name)
            archive.filelist = [i for i in archive.filelist if i.filename != name]
            archive.writestr(name, changed)
    result = restore(empty, tmp_path / "old.zip")
    assert result.rows == sum(map(len, content_of(empty)[0].values()))
    with opened(empty):
        rows = experiment.Experiment.to_dicts()
    assert {(row["priority"], row["added_by"]) for row in rows} == {(5, "")}
    assert restore(empty, tmp_path / "old.zip").rows == 0


def test_images_by_reference_and_evaluation_sets_are_restored_where_the_files_are(
    empty: Settings, new_tables: Made, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    task = find_pictures(write_pictures(images / "few"), shape=PictureShape(size=16))
    answers = EvaluationImages(
        "few-val", np.zeros((2, 3, 8, 8), np.uint8), np.array([0, 1]), ("cat", "dog")
    )
    mine = new_tables(tmp_path / "mine").model_copy(update={"images": images})
    file = tmp_path / "all.zip"
    with opened(mine) as database:
        ImageSet.add(task, source="few")
        EvaluationSet.add(answers, source="few")
        operations.backup_database(database, file)
    drop(mine)
    theirs = empty.model_copy(update={"images": tmp_path / "theirs"})
    restore(theirs, file)
    key = {"image_set": "few", "evaluation_set": "few-val"}
    with opened(theirs) as database:
        assert EvaluationSet.load(key).digest == answers.digest
        assert operations.check_database(database).problems == []
        with pytest.raises(TaskError, match="were in 'few' below the setting `images`"):
            ImageSet.load(key)
        shutil.move(images, tmp_path / "theirs")
        found = ImageSet.load(key)
        assert isinstance(found, PictureTask)
        assert found.digest == task.digest
