"""Recordings as array files (``.npz``), which ``predictive_model.importers.arrays`` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from predictive_model.exporters.whole import written_whole
from predictive_model.recordings.recording import Recording, RecordingError


def write_arrays(recording: Recording, path: Path | str, *, overwrite: bool = False) -> Path:
    """Write a recording to an ``.npz`` file, and return where.

    Raises
    ------
    RecordingError
        If ``path`` does not end in ``.npz``.
    FileExistsError
        If there is something at ``path`` already, and it shall not be overwritten.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    >>> scan = Recording("toy", images, np.r_[:20, 0, 1], rng.random((22, 5), np.float32))
    >>> with TemporaryDirectory() as folder:
    ...     with np.load(write_arrays(scan, Path(folder) / "toy.npz")) as arrays:
    ...         arrays["responses"].shape
    (22, 5)
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise RecordingError(f"{path}: expected a name that ends in .npz")
    r = recording
    arrays = {
        "images": r.images,
        "image_index": r.image_index,
        "responses": r.responses,
        "behaviour": r.behaviour,
        "pupil": r.pupil,
        "tier": r.tier,
        "neuron_ids": r.neuron_ids,
        "cortical_positions": r.cortical_positions,
        "behaviour_names": np.array(r.behaviour_names, dtype=str) if r.behaviour_names else None,
        "species": np.array(r.species) if r.species else None,
        "area": np.array(r.area) if r.area else None,
        "simulated": np.array(True) if r.simulated else None,
        "image_groups": r.image_groups,
        "degrees": None if r.degrees is None else np.array(r.degrees),
    }
    given = {name: array for name, array in arrays.items() if array is not None}
    if objects := [name for name, array in given.items() if array.dtype.hasobject]:
        raise RecordingError(f"{objects[0]}: holds objects, which would be pickled; use numbers")
    with written_whole(path, overwrite=overwrite) as temporary:
        np.savez_compressed(temporary, **given)  # type: ignore[arg-type]
    return path
