from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from predictive_model.importers import (
    NwbOptions,
    describe_recording,
    is_recording,
    read_recording,
    recognise_format,
    scan_recording,
)
from predictive_model.importers.importer import IMPORTERS
from predictive_model.recordings.recording import RecordingError
from tests.installed_package import installed_package

CODE = """
import numpy as np

from predictive_model.importers import Importer
from predictive_model.recordings.recording import Recording, RecordingError

def recognises(path):
    return path.suffix == ".toy"

def scan(path, *, name, test_images, seed, downsample, species, area, gain=1.0):
    n = int(path.read_text())
    if n < 20:
        raise RecordingError(f"images: {n}, expected at least 20")
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8)
    responses = gain * rng.gamma(2.0, 1.0, (n, 5)).astype(np.float32)
    recording = Recording(name or path.stem, images, np.arange(n), responses, area=area)
    return recording, ("made up.",)

def wrong(path, **arguments):
    return "a recording"

bare = Importer(scan)
broken = Importer(wrong)
number = 3
"""
OFFERS = {"neuroteach.importers": "toy = mylab_formats"}


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with installed_package(tmp_path, "mylab_formats", CODE, OFFERS):
        path = tmp_path / "session.toy"
        path.write_text("30")
        yield path


def test_a_format_of_another_package_is_recognised_read_and_described(path: Path) -> None:
    assert recognise_format(path) == "toy"
    assert is_recording(path)
    recording, report = scan_recording(path, area="V4", options={"gain": 2})
    assert (recording.name, recording.n_images, recording.area) == ("session", 30, "V4")
    assert (report.format, report.notes[0]) == ("toy", "made up.")
    plain, _ = scan_recording(path, format="mylab_formats:bare")
    assert (recording.responses == 2 * plain.responses).all()
    assert describe_recording(path).n_neurons == 5
    assert IMPORTERS.find("toy").origin.distribution == "mylab-formats"


def test_an_importer_that_recognises_nothing_has_to_be_named(path: Path) -> None:
    other = path.with_suffix(".txt")
    other.write_text("30")
    with pytest.raises(RecordingError, match="is not known as a recording"):
        scan_recording(other)
    assert scan_recording(other, format="mylab_formats:bare")[0].n_images == 30


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("mylab_formats:broken", "returned a str, expected"),
        ("mylab_formats:number", "is 3, expected an Importer, or a module with scan"),
        (
            "toys",
            "no part of this name is installed; expected one of npz, sensorium, nwb, assembly, toy",
        ),
    ],
)
def test_what_is_no_importer_says_so_with_the_file(path: Path, format: str, message: str) -> None:
    with pytest.raises(RecordingError, match=rf"session\.toy: importer '{format}': .*{message}"):
        scan_recording(path, format=format)


def test_what_an_importer_refuses_is_said_with_the_file(path: Path) -> None:
    path.write_text("3")
    with pytest.raises(RecordingError, match=r"session\.toy: images: 3, expected at least 20"):
        scan_recording(path)


def test_a_broken_package_keeps_nobody_from_other_files(path: Path) -> None:
    path.with_name("mylab_formats.py").write_text("1 / 0")
    with (
        pytest.warns(UserWarning, match="importer 'toy': importing mylab_formats failed"),
        pytest.raises(RecordingError, match="is not known as a recording"),
    ):
        recognise_format(path)


def test_an_importer_that_fails_to_look_keeps_nobody_from_other_files(path: Path) -> None:
    module = path.with_name("mylab_formats.py")
    module.write_text(CODE.replace('path.suffix == ".toy"', "path.read_text() // 2"))
    other = path.with_name("folder")
    other.mkdir()
    for unknown in (other, path):
        with (
            pytest.warns(UserWarning, match=r"importer 'toy': recognises failed \(\w+Error: "),
            pytest.raises(RecordingError, match="expected an .npz file of arrays"),
        ):
            recognise_format(unknown)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gian": 2}, r"importer 'toy': options: .*'gian'; expected those of \(.*gain=1.0\)"),
        ({"name": "x"}, "options: name are no options of an importer"),
    ],
)
def test_options_that_an_importer_does_not_take_are_refused(
    path: Path, options: dict[str, Any], message: str
) -> None:
    for read in (scan_recording, describe_recording):
        with pytest.raises(RecordingError, match=rf"session\.toy: {message}"):
            read(path, options=options)


def test_options_of_one_format_are_refused_for_another(path: Path) -> None:
    arrays = path.with_suffix(".npz")
    arrays.write_bytes(b"")
    with pytest.raises(RecordingError, match="options: gain, but this format has none; expected"):
        read_recording(arrays, options={"gain": 2})
    for other in (path, arrays):
        with pytest.raises(RecordingError, match="clip_negative: given, but only for NWB files"):
            read_recording(other, nwb=NwbOptions(clip_negative=True))
    assert read_recording(path, nwb=NwbOptions()).n_images == 30
