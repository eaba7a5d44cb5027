"""Recordings as Sensorium file trees, which neuralpredictors' ``FileTreeDataset`` reads too.

``predictive_model.importers.sensorium`` describes the tree. Beyond what it reads, the exporter
writes ``meta/statistics/{images,responses,behavior,pupil_center}/{all,train}/{mean,std,min,max}``:
over all trials, as in published trees, and over the train tier, as in this project, where an image
counts once however often it was shown. So ``NeuroNormalizer(data, stats_source="train")`` scales as
:class:`~predictive_model.recordings.recording.Normalisation` does, but for neurons that hardly
respond: that divides them by a hundredth of the population's mean standard deviation, this leaves
them as they are. Images that were never shown have no trial to stand in, and are left out.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from predictive_model.exporters.whole import written_whole
from predictive_model.recordings.recording import Recording


def write_sensorium(recording: Recording, path: Path | str, *, overwrite: bool = False) -> Path:
    """Write a recording as a folder, or as a zip archive where ``path`` ends in ``.zip``.

    An archive holds one folder of its own name, as neuralpredictors expects.

    Raises
    ------
    FileExistsError
        If there is something at ``path`` already, and it shall not be overwritten.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    >>> scan = Recording("toy", images, np.r_[:20, 0, 1], rng.random((22, 5), np.float32))
    >>> with TemporaryDirectory() as folder:
    ...     tree = write_sensorium(scan, Path(folder) / "toy")
    ...     len(list((tree / "data" / "images").iterdir()))
    22
    """
    path = Path(path)
    if path.suffix == ".zip":
        with (
            written_whole(path, overwrite=overwrite) as temporary,
            zipfile.ZipFile(temporary, "w") as archive,
        ):
            _write_tree(recording, _Archive(archive, path.stem))
    else:
        with written_whole(path, overwrite=overwrite, ours=_is_tree) as temporary:
            _write_tree(recording, _Folder(temporary))
    return path


class _Target(Protocol):
    def open(self, name: str) -> BinaryIO: ...


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, name: str) -> BinaryIO:
        file = self._root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("wb")


class _Archive:
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        self._archive = archive
        self._root = root

    def open(self, name: str) -> BinaryIO:
        # Without a date, so that the same scan makes the same file.
        member = zipfile.ZipInfo(f"{self._root}/{name}")
        member.compress_type = zipfile.ZIP_DEFLATED
        member.external_attr = 0o644 << 16
        return cast("BinaryIO", self._archive.open(member, "w"))


def _is_tree(path: Path) -> bool:
    return path.is_dir() and {"data", "meta"} <= {p.name for p in path.iterdir()} <= {
        "data", "meta", "config.json",
    }  # fmt: skip


def _write_tree(recording: Recording, target: _Target) -> None:
    r = recording
    assert r.tier is not None and r.neuron_ids is not None
    by_trial = {"responses": r.responses, "behavior": r.behaviour, "pupil_center": r.pupil}
    given = {kind: values for kind, values in by_trial.items() if values is not None}
    for trial, image in enumerate(r.image_index):
        _save(target, f"data/images/{trial}", r.images[image])
        for kind, values in given.items():
            _save(target, f"data/{kind}/{trial}", values[trial])
    _save(target, "meta/trials/tiers", r.tier)
    _save(target, "meta/trials/frame_image_id", r.image_index)
    _save(target, "meta/trials/trial_idx", np.arange(r.n_trials))
    _save(target, "meta/neurons/unit_ids", r.neuron_ids)
    if r.cortical_positions is not None:
        _save(target, "meta/neurons/cell_motor_coordinates", r.cortical_positions)
    if r.area:
        _save(target, "meta/neurons/area", np.full(r.n_neurons, r.area))
    for source, trials in (("all", np.arange(r.n_trials)), ("train", r.trials_of("train"))):
        if len(trials) > 1:
            found = {"images": _of_images(r, trials, by_trial=source == "all")}
            found |= {kind: _of_trials(values[trials]) for kind, values in given.items()}
            for kind, statistics in found.items():
                for name, value in statistics.items():
                    _save(target, f"meta/statistics/{kind}/{source}/{name}", value)
    known = {
        "species": r.species,
        "area": r.area,
        "simulated": r.simulated,
        "behaviour_names": list(r.behaviour_names or ()),
        "images": str(r.images.dtype),
    }
    with target.open("meta/scan.json") as file:
        file.write(json.dumps(known, indent=1).encode())


def _of_images(
    recording: Recording, trials: NDArray[np.int64], *, by_trial: bool
) -> dict[str, NDArray]:
    """Statistics over all pixels of what was shown, repeats counted or every image once."""
    shown = np.bincount(recording.image_index[trials], minlength=recording.n_images)
    weight = shown if by_trial else shown > 0
    flat = recording.images.reshape(recording.n_images, -1)
    # Sums of each image first, so that repeats count without images being repeated.
    sums = np.array([[p.sum(), np.vdot(p, p)] for p in map(np.float64, flat)])
    mean, square = weight @ sums / (weight.sum() * flat.shape[1])
    seen = flat[shown > 0]
    return {
        "mean": np.asarray(mean),
        "std": np.asarray(np.sqrt(max(square - mean**2, 0.0))),
        "min": np.asarray(seen.min(), np.float64),
        "max": np.asarray(seen.max(), np.float64),
    }


def _of_trials(values: NDArray[np.float32]) -> dict[str, NDArray]:
    """Statistics of each column over trials."""
    chosen = values.astype(np.float64)
    return {
        "mean": chosen.mean(0),
        "std": chosen.std(0, ddof=1),
        "min": chosen.min(0),
        "max": chosen.max(0),
    }


def _save(target: _Target, name: str, array: NDArray) -> None:
    with target.open(f"{name}.npy") as file:
        np.save(file, array, allow_pickle=False)
