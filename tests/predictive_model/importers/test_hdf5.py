"""An HDF5 file that needs something else is told from one that is damaged."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from predictive_model.exporters.nwb import write_nwb
from predictive_model.importers import read_recording, scan_recording
from predictive_model.importers.hdf5 import why_hdf5_fails
from predictive_model.recordings.recording import Recording, RecordingError


@pytest.fixture
def session(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    scan = Recording("toy", images, np.r_[:20, 0, 1], rng.random((22, 5), np.float32))
    return write_nwb(scan, tmp_path / "toy.nwb")


def images_of(file: h5py.File) -> h5py.Dataset:
    found: list[h5py.Dataset] = []
    file["stimulus"].visititems(lambda _, item: found.append(item))
    return next(item for item in found if getattr(item, "ndim", 0) > 2)


def test_a_filter_that_is_not_there_is_named(session: Path) -> None:
    """Its remedy is to install it, not to copy the file again."""
    with h5py.File(session, "r+") as file:
        images = images_of(file)
        name, values, attributes = images.name, images[:], dict(images.attrs)
        del file[name]
        anew = file.create_dataset(name, data=values, chunks=True, compression="gzip")
        anew.attrs.update(attributes)
    content = session.read_bytes()
    known, unknown = (
        b"\x01\x00\x08\x00\x01\x00\x01\x00deflate\x00",
        (b"\x01\x7d\x08\x00\x01\x00\x01\x00blosc\x00\x00\x00"),
    )
    assert known in content
    session.write_bytes(content.replace(known, unknown))
    with pytest.raises(RecordingError, match="compressed by blosc.*pip install hdf5plugin"):
        read_recording(session)


def test_links_that_lead_nowhere_are_said(session: Path) -> None:
    """What is missed may be what they lead to; if it is not, the rest is read."""
    with h5py.File(session, "r+") as file:
        file["acquisition/video"] = h5py.ExternalLink("video.h5", "/frames")
    scan, report = scan_recording(session)
    assert scan.n_neurons == 5
    expected = "/acquisition/video is a link to /frames of 'video.h5', which is not there"
    assert any(expected in note for note in report.notes)
    with h5py.File(session, "r+") as file:
        del file["stimulus/templates/images"]
        file["stimulus/templates/images"] = h5py.ExternalLink("images.nwb", "/images")
    with pytest.raises(RecordingError, match="images: the file has none.*'images.nwb', which is"):
        read_recording(session)


def test_a_file_that_is_not_beside_it_is_named(session: Path) -> None:
    with h5py.File(session, "r+") as file:
        images = images_of(file)
        name, shape, attributes = images.name, images.shape, dict(images.attrs)
        del file[name]
        anew = file.create_dataset(name, shape, "u1", external=[("pixels.raw", 0, 10**6)])
        anew.attrs.update(attributes)
    with pytest.raises(RecordingError, match="other files, which are not found: pixels.raw; put"):
        read_recording(session)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BlockingIOError("unable to lock file, errno = 11"), "another program has it open"),
        (OSError("open for write (may use <h5clear> to clear consistency flags)"), "what wrote it"),
        (OSError("truncated file: eof = 5"), "it is cut short .*copy or download it again"),
        (PermissionError(13, "Permission denied"), "may not be read"),
        (OSError("bad object header"), "bad object header; copy or download"),
    ],
)
def test_other_errors_have_their_own_remedies(session: Path, error: OSError, said: str) -> None:
    assert said.split(" .*")[0] in why_hdf5_fails(session, error)


def test_a_web_page_called_nwb_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.nwb").write_bytes(b"<!DOCTYPE html><html>DANDI: please sign in</html>")
    with pytest.raises(RecordingError, match="a.nwb: cannot be read as an NWB file: it is a w"):
        read_recording(tmp_path / "a.nwb")


def test_a_matlab_file_is_told_what_to_become(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64")
    with pytest.raises(RecordingError, match="it is a MATLAB file; read it with scipy.io.loadmat"):
        read_recording(tmp_path / "a.mat")
