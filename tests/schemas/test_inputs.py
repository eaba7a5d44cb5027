"""Scans, stimuli, image sets and settings come back as they went in, or are refused whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import psycopg2
import pytest

from pipeline.database.opening import Database
from pipeline.database.settings import Settings
from predictive_model.fits.config import FitConfig
from predictive_model.recordings.recording import Recording, RecordingError
from regularized_training.tasks.image_task import ImageTask
from regularized_training.tasks.labelled_task import TaskError
from schemas import encoding, training
from schemas.recording import Scan, ScanImages, StimulusSet

pytestmark = pytest.mark.database


def random_recording(*, seed: int = 0, extras: bool = True, **changes: Any) -> Recording:
    """Random numbers in the shape of a recording, with or without behaviour and pupil."""
    rng = np.random.default_rng(seed)
    n_images, n_trials = 30, 42
    arrays: dict[str, Any] = {
        "images": rng.integers(0, 256, (n_images, 1, 8, 10)).astype(np.uint8),
        "image_index": np.concatenate([np.arange(n_images), np.repeat([3, 8, 9, 20], 3)]),
        "responses": rng.random((n_trials, 4)).astype(np.float32),
        "neuron_ids": np.array([7, 3, 11, 5]),
    }
    if extras:
        arrays["behaviour"] = rng.random((n_trials, 2)).astype(np.float32)
        arrays["behaviour_names"] = ("running speed", "pupil size")
        arrays["pupil"] = rng.random((n_trials, 2)).astype(np.float32)
    return Recording(**{"name": "scan", "species": "mouse", "area": "V1"} | arrays | changes)


def random_task(*, seed: int = 0) -> ImageTask:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (12, 3, 8, 8)).astype(np.uint8)
    labels = np.arange(12) % 3
    return ImageTask("letters", images[:9], labels[:9], images[9:], labels[9:], ("a", "b", "c"))


@pytest.mark.parametrize("degrees", [None, 8.0])
@pytest.mark.parametrize("groups", [None, np.array(["bear", "car", "dog"] * 10)])
def test_groups_and_degrees_belong_to_the_scan(
    database: Database, groups: Any, degrees: float | None
) -> None:
    before = random_recording(image_groups=groups, degrees=degrees)
    assert Scan.add(before, source="test") and not Scan.add(before, source="test")
    after = Scan.load({"scan": "scan"})
    assert after.degrees == degrees
    if groups is None:
        assert after.image_groups is None
    else:
        assert after.image_groups is not None and after.image_groups.tolist() == groups.tolist()
    assert len(ScanImages()) == (groups is not None or degrees is not None)
    with pytest.raises(RecordingError, match="another scan named 'scan'"):
        Scan.add(replace(before, degrees=3.0), source="test")


@pytest.mark.parametrize("extras", [True, False], ids=["with behaviour and pupil", "without"])
def test_a_scan_comes_back_as_it_went_in(database: Database, extras: bool) -> None:
    before = random_recording(extras=extras, simulated=True)
    assert Scan.add(before, source="test")
    after = Scan.load({"scan": "scan"})
    for name in ("images", "image_index", "responses", "tier", "neuron_ids", "behaviour", "pupil"):
        a, b = getattr(before, name), getattr(after, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert (a.dtype, a.shape) == (b.dtype, b.shape), name
            assert np.array_equal(a, b), name
    for name in ("name", "species", "area", "simulated", "behaviour_names"):
        assert getattr(before, name) == getattr(after, name)


def test_images_of_any_scale_come_back_as_they_went_in(database: Database) -> None:
    images = np.random.default_rng(0).standard_normal((30, 3, 8, 10)).astype(np.float32)
    Scan.add(random_recording(images=images), source="test")
    assert np.array_equal(Scan.load({"scan": "scan"}).images, images)


def test_the_very_same_scan_is_added_once(database: Database, settings: Settings) -> None:
    assert Scan.add(random_recording(), source="test")
    files = sorted(settings.store.rglob("*"))
    assert not Scan.add(random_recording(), source="elsewhere")
    assert (len(Scan()), len(StimulusSet())) == (1, 1)
    assert sorted(settings.store.rglob("*")) == files


def test_another_scan_of_the_same_name_is_refused_and_leaves_nothing(
    database: Database, settings: Settings
) -> None:
    first = random_recording()
    Scan.add(first, source="test")
    files = sorted(settings.store.rglob("*"))
    responses = first.responses.copy()
    responses[0, 0] += 1
    for other in (random_recording(seed=1), replace(first, responses=responses)):
        with pytest.raises(RecordingError, match="another scan named 'scan'; choose another name"):
            Scan.add(other, source="test")
    assert (len(Scan()), len(StimulusSet())) == (1, 1)
    assert sorted(settings.store.rglob("*")) == files
    assert np.array_equal(Scan.load({"scan": "scan"}).responses, first.responses)


def test_scans_of_the_same_images_share_them(database: Database) -> None:
    first = random_recording()
    Scan.add(first, source="test")
    Scan.add(random_recording(seed=1, name="other", images=first.images), source="test")
    assert (len(Scan()), len(StimulusSet())) == (2, 1)


def test_a_scan_that_cannot_be_inserted_leaves_no_row(database: Database) -> None:
    with pytest.raises(psycopg2.DataError, match="too long"):
        Scan.add(random_recording(species="s" * 65), source="test")
    assert (len(Scan()), len(StimulusSet())) == (0, 0)
    assert not database.connection.in_transaction


def test_an_image_set_comes_back_as_it_went_in_and_is_added_once(database: Database) -> None:
    before = random_task()
    assert training.ImageSet.add(before, source="test")
    assert not training.ImageSet.add(random_task(), source="test")
    after = training.ImageSet.load({"image_set": "letters"})
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        a, b = getattr(before, name), getattr(after, name)
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    assert (after.name, after.classes) == ("letters", ("a", "b", "c"))
    seen = np.concatenate([before.train_images[:8], before.test_images[:1]])
    with pytest.raises(TaskError, match="1 of 9 training images have the pixels of test images"):
        training.ImageSet.add(replace(before, name="seen", train_images=seen), source="test")


def test_another_image_set_of_the_same_name_is_refused(
    database: Database, settings: Settings
) -> None:
    training.ImageSet.add(random_task(), source="test")
    files = sorted(settings.store.rglob("*"))
    renamed = replace(random_task(), classes=("a", "b", "d"))
    for other in (random_task(seed=1), renamed):
        with pytest.raises(TaskError, match="another image set named 'letters'"):
            training.ImageSet.add(other, source="test")
    assert len(training.ImageSet()) == 1
    assert sorted(settings.store.rglob("*")) == files


def test_a_configuration_is_kept_once_with_its_defaults(database: Database) -> None:
    config = FitConfig(max_epochs=7)
    key = encoding.FitConfig.add(config)
    assert encoding.FitConfig.add(FitConfig(max_epochs=7, patience=5)) == key
    row = encoding.FitConfig.fetch1()
    assert (row["fit_hash"], row["max_epochs"], row["config"]["patience"]) == (key, 7, 5)
    assert FitConfig.model_validate(row["config"]) == config
