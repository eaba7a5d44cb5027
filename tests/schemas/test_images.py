"""Image sets that stay in their files: referred to, found again on any machine, or refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import psycopg2
import pytest

from pipeline.database.opening import Database
from pipeline.database.settings import Settings
from regularized_training.tasks.labelled_task import TaskError
from regularized_training.tasks.manifest import Manifest
from regularized_training.tasks.picture_files import find_pictures
from regularized_training.tasks.picture_task import PictureShape, PictureTask
from regularized_training.tasks.source import image_source
from schemas import base
from schemas.images import ImageSet, ReferencedImages, Superclasses
from tests.picture_sets import write_pictures

pytestmark = pytest.mark.database
KEY = {"image_set": "few"}
SHAPE = PictureShape(size=16, resize=20)


@pytest.fixture
def task(database: Database, settings: Settings) -> PictureTask:
    return find_pictures(write_pictures(settings.images_folder / "sets" / "few"), shape=SHAPE)


def test_a_set_by_reference_comes_back_as_it_went_in_and_is_added_once(
    task: PictureTask, settings: Settings
) -> None:
    task = replace(task, superclasses=("pet", "pet", "bird"))
    assert ImageSet.add(task, source="few")
    assert not ImageSet.add(task, source="few")
    after = ImageSet.load(KEY)
    assert isinstance(after, PictureTask)
    assert (after.digest, after.superclasses) == (task.digest, ("pet", "pet", "bird"))
    for part in ("test", "validation"):
        found, expected = (
            image_source(t.with_validation()).part_batches(part, 4) for t in (after, task)
        )
        for (a, _), (b, _) in zip(found, expected, strict=True):
            assert (a == b).all()
    row = (ImageSet & KEY).fetch1()
    assert (row["n_train"], row["n_test"]) == (24, 9)
    assert (row["channels"], row["height"], row["width"]) == (3, 16, 16)
    stored = sum(file.stat().st_size for file in settings.store.rglob("*.*"))
    pictures = sum(file.stat().st_size for file in task.folder.rglob("*.*"))
    assert stored < pictures / 2
    assert ReferencedImages.fetch1("folder", "n_pictures", "n_bytes") == ("sets/few", 33, pictures)


def test_the_database_has_no_machines_paths(task: PictureTask, tmp_path: Path) -> None:
    ImageSet.add(task, source="few")
    other = tmp_path / "another machine"
    shutil.copytree(task.folder, other / "sets" / "few")
    shutil.rmtree(task.folder)
    base.configure(images=other)
    after = ImageSet.load(KEY)
    assert isinstance(after, PictureTask)
    assert after.digest == task.digest
    assert len(list(image_source(after).part_batches("test", 3))) == 3


def test_what_an_evaluation_asks_for_is_read_and_nothing_else(
    task: PictureTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ImageSet.add(task, source="few")
    read: list[int] = []
    of_manifest = Manifest.read
    monkeypatch.setattr(
        Manifest, "read", lambda self, f, i: read.append(i) or of_manifest(self, f, i)
    )
    assert ImageSet.labels_of(KEY, "test").tolist() == task.test_labels.tolist()
    assert ImageSet.labels_of(KEY, "validation").tolist() == [0, 1, 2]
    assert read == []
    images, labels = ImageSet.images_of(KEY, "validation")
    assert (images.shape, images.dtype) == ((3, 3, 16, 16), np.uint8)
    assert labels.tolist() == [0, 1, 2]
    assert len(read) == 3
    images, _ = ImageSet.images_of(KEY, "test")
    assert len(images) == 9 and len(read) == 12


def test_images_that_memory_cannot_hold_are_refused(
    task: PictureTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ImageSet.add(task, source="few")
    little = psutil.virtual_memory()._replace(available=9 * 3 * 16 * 16)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    with pytest.raises(TaskError, match=r"few: its 9 test images of \(3, 16, 16\) would take"):
        ImageSet.images_of(KEY, "test")


def test_files_that_are_known_are_found_by_their_folder(task: PictureTask) -> None:
    assert ReferencedImages.known(task.folder) is None
    ImageSet.add(task, source="few")
    known = ReferencedImages.known(task.folder)
    assert known is not None
    assert known.digest == task.manifest.digest
    other = find_pictures(task.folder, name="smaller", shape=PictureShape(size=8), known=known)
    assert other.manifest.digest == task.manifest.digest
    assert ImageSet.add(other, source="few")


def test_a_link_below_the_folder_of_images_will_do(
    task: PictureTask, settings: Settings, tmp_path: Path
) -> None:
    elsewhere = shutil.move(task.folder, tmp_path / "disk")
    with pytest.raises(TaskError, match="disk: not below .*images, the setting `images`.*NEUROT"):
        ImageSet.add(replace(task, folder=Path(elsewhere)), source="few")
    assert len(ImageSet()) == len(ReferencedImages()) == 0
    task.folder.symlink_to(elsewhere)
    assert ImageSet.add(task, source="few")
    assert ReferencedImages.fetch1("folder") == "sets/few"


def test_a_folder_beside_that_of_images_is_not_below_it(
    task: PictureTask, settings: Settings, tmp_path: Path
) -> None:
    elsewhere = shutil.move(task.folder, tmp_path / "disk")
    around = task.folder.parent.parent / ".." / Path(elsewhere).name
    with pytest.raises(TaskError, match="not below"):
        ReferencedImages.relative(around)
    within = task.folder.parent / "other" / ".." / task.folder.name
    (task.folder.parent / "other").mkdir()
    task.folder.mkdir()
    assert ReferencedImages.relative(within) == "sets/few"


# -- refused -------------------------------------------------------------------------------


def test_a_moved_folder_and_changed_files_are_refused(task: PictureTask) -> None:
    ImageSet.add(task, source="few")
    file = task.folder / "train" / "cat" / "cat_1.JPEG"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(TaskError, match=r"1 of its files have changed .*train/cat/cat_1\.JPEG \("):
        ImageSet.load(KEY)
    file.write_bytes(content)
    ImageSet.load(KEY)
    task.folder.rename(task.folder.with_name("moved"))
    with pytest.raises(
        TaskError, match=r"of image set 'few' were in 'sets/few' below .*NEUROTEACH_IMAGES"
    ):
        ImageSet.load(KEY)


def test_another_set_of_the_same_name_is_refused_and_leaves_nothing(
    task: PictureTask, settings: Settings
) -> None:
    ImageSet.add(task, source="few")
    stored = sorted(settings.store.rglob("*"))
    for other in (replace(task, shape=PictureShape(size=16)), task.subset(5, None)):
        with pytest.raises(TaskError, match="another image set named 'few'"):
            ImageSet.add(other, source="few")
    assert sorted(settings.store.rglob("*")) == stored


def test_a_task_that_trains_on_test_pictures_is_refused(task: PictureTask) -> None:
    seen = replace(task, train_pictures=np.r_[task.train_pictures[:-1], task.test_pictures[:1]])
    with pytest.raises(TaskError, match="1 of 24 training images have the file of test images"):
        ImageSet.add(seen, source="few")


def test_a_set_whose_reference_cannot_be_stored_leaves_no_row(
    task: PictureTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReferencedImages, "relative", lambda folder: "f" * 300)
    with pytest.raises(psycopg2.DataError, match="too long"):
        ImageSet.add(replace(task, superclasses=("a", "a", "b")), source="few")
    assert len(ImageSet()) == len(ReferencedImages()) == len(Superclasses()) == 0
