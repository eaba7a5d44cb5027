"""Writers of recordings, one module per file format.

Each file or folder is written whole or not at all, and none is overwritten unasked.
"""

from __future__ import annotations

from pathlib import Path

from predictive_model.exporters.arrays import write_arrays
from predictive_model.exporters.nwb import write_nwb
from predictive_model.exporters.sensorium import write_sensorium
from predictive_model.recordings.recording import Recording, RecordingError

__all__ = ["WRITERS", "write_arrays", "write_nwb", "write_recording", "write_sensorium"]

WRITERS = {"npz": write_arrays, "sensorium": write_sensorium, "nwb": write_nwb}


def write_recording(
    recording: Recording, path: Path | str, *, format: str, overwrite: bool = False
) -> Path:
    """Write a recording as ``npz``, ``sensorium`` or ``nwb``, and return where.

    Raises
    ------
    RecordingError
        If the format is not known, or has no room for what the recording holds.
    FileExistsError
        If there is something at ``path`` already, and it shall not be overwritten.

    Examples
    --------
    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    >>> scan = Recording("toy", images, np.r_[:20, 0, 1], rng.random((22, 5), np.float32))
    >>> with TemporaryDirectory() as folder:
    ...     write_recording(scan, Path(folder) / "toy.nwb", format="nwb").name
    'toy.nwb'
    """
    if format not in WRITERS:
        raise RecordingError(f"format: {format!r}, expected one of {', '.join(WRITERS)}")
    return WRITERS[format](recording, path, overwrite=overwrite)
