"""A real session goes through every format unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from predictive_model.exporters import write_recording
from predictive_model.importers import describe_recording, scan_recording
from predictive_model.recordings.recording import Recording
from tests.predictive_model.importers.scans import assert_same


@pytest.mark.parametrize(
    "format, ending", [("npz", ".npz"), ("sensorium", ".zip"), ("nwb", ".nwb")]
)
def test_the_v4_session_is_the_same_in_every_format(
    v4: Recording, tmp_path: Path, format: str, ending: str
) -> None:
    path = write_recording(v4, tmp_path / f"{v4.name}{ending}", format=format)
    again, report = scan_recording(path)
    assert_same(v4, again)
    assert (report.format, report.n_repeated, report.notes) == (format, 640, ())
    assert describe_recording(path).tiers == report.tiers
