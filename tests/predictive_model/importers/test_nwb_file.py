"""Why an NWB file cannot be read: what is missing is named, and only damage is called so."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from predictive_model.importers import read_recording, scan_recording
from predictive_model.recordings.recording import RecordingError
from tests.predictive_model.importers.sessions import (
    PICTURES,
    behaviour,
    session,
    stack,
    steady,
    trials,
    units,
)

DATA = "stimulus/templates/scenes/data"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return session(tmp_path, stack(), trials(), units([steady()] * 2), behaviour)


def test_a_filter_that_is_not_installed_is_named(path: Path) -> None:
    """Blosc is common in the archive, and no part of HDF5."""
    with h5py.File(path, "r+") as file:
        attributes = dict(file[DATA].attrs)
        del file[DATA]
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_chunk(PICTURES.shape)
        layout.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, (1, 2))
        space = h5py.h5s.create_simple(PICTURES.shape)
        parent, name = DATA.rsplit("/", 1)
        made = h5py.h5d.create(
            file[parent].id, name.encode(), h5py.h5t.NATIVE_UINT8, space, dcpl=layout
        )
        made.write_direct_chunk((0, 0, 0), b"compressed", filter_mask=0)
        file[DATA].attrs.update(attributes)
    with pytest.raises(RecordingError, match="HDF5 filter 32099.*pip install hdf5plugin") as caught:
        read_recording(path)
    assert "damaged" not in str(caught.value)


def test_a_file_that_holds_the_data_and_is_not_there_is_named(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        attributes = dict(file[DATA].attrs)
        del file[DATA]
        elsewhere = [("pixels.raw", 0, h5py.h5f.UNLIMITED)]
        made = file.create_dataset(DATA, PICTURES.shape, np.uint8, external=elsewhere)
        made.attrs.update(attributes)
    with pytest.raises(RecordingError, match="other files, of which 'pixels.raw' is not there"):
        read_recording(path)


def test_links_that_lead_nowhere_are_named(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["processing/behavior/PupilTracking"]
        link = h5py.ExternalLink("pupil.nwb", "/processing/behavior/PupilTracking")
        file["processing/behavior/PupilTracking"] = link
    _, report = scan_recording(path)
    expected = "is a link to /processing/behavior/PupilTracking of 'pupil.nwb', which is not there"
    assert any(expected in note for note in report.notes)
    with h5py.File(path, "r+") as file:
        del file["stimulus/templates/scenes"]
        file["stimulus/templates/scenes"] = h5py.ExternalLink("images.nwb", "/scenes")
    with pytest.raises(RecordingError, match="images: the file has none.*'images.nwb', which is"):
        read_recording(path)


def test_a_file_that_was_not_copied_to_its_end_is_told_from_one_of_another_kind(
    path: Path,
) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(RecordingError, match="not copied to its end: copy or download it again"):
        read_recording(path)
    path.write_text("<!DOCTYPE html>")
    with pytest.raises(RecordingError, match="no HDF5 file at all"):
        read_recording(path)
