"""Recordings from array files (``.npz``), the format that anyone can write.

A file holds

``images``
    (n, height, width) or (n, channels, height, width), uint8 or float32, every image once; other
    integers from 0 to 255 are kept as uint8;

and either

``trials``
    (n, repeat, neuron), the responses by image and repeat, NaN where a repeat is missing for all
    neurons,

or

``responses``
    (trial, neuron), and
``image_index``
    (trial,), which image was shown, counted from 0, as whole numbers of any type; it may be left
    out if trial i showed image i;

and, in the second form, if there are any,

``behaviour`` (trial, k) and ``behaviour_names`` (k,), ``pupil`` (trial, 2), ``tier`` (trial,) of
``train``, ``validation`` and ``test``. ``neuron_ids`` (neuron,), ``cortical_positions``
(neuron, 2 or 3), the texts ``species`` and ``area``, and ``simulated``, true or false, may stand in
both. What each must hold is said in :class:`~predictive_model.recordings.recording.Recording`.

    numpy.savez_compressed("scan.npz", images=images, responses=responses, image_index=shown)
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from predictive_model.file_kinds import why_unreadable
from predictive_model.importers import npy, pixels
from predictive_model.importers.archives import UnreadableError, check_zip_member
from predictive_model.importers.importer import Importer
from predictive_model.importers.npy import UNREADABLE
from predictive_model.importers.report import ScanReport, count_tiers
from predictive_model.recordings.recording import Recording, RecordingError, assign_tiers

REQUIRED = {"images"}
ONE_OF = ("trials", "responses")
OF_SCAN = {"neuron_ids", "cortical_positions", "species", "area", "simulated"}
OPTIONAL = {"image_index", "behaviour", "behaviour_names", "pupil", "tier"} | OF_SCAN

T = TypeVar("T")


def read_arrays(
    path: Path | str,
    *,
    name: str | None = None,
    test_images: int | None = None,
    seed: int = 0,
    downsample: int = 1,
    species: str = "",
    area: str = "",
) -> Recording:
    """Read a recording from an ``.npz`` file; the module's docstring describes it.

    Parameters
    ----------
    path : Path or str
    name : str, optional
        Of the scan; the file's name without its ending by default.
    test_images : int, optional
        Hold out this many images as the test tier, where all of them were repeated, or none.
    seed : int
        Chooses validation images, and test images if asked to.
    downsample : int
        Average blocks of ``downsample`` x ``downsample`` pixels.
    species, area : str
        What the file says by default.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RecordingError
        If the file is damaged, lacks an array, or holds arrays that cannot be used.
    """
    path = Path(path)
    arrays = _load(path)
    images = arrays["images"]
    if images.ndim == 3:
        images = images[:, None]
    if np.issubdtype(images.dtype, np.floating):
        images = images.astype(np.float32)
    elif _are_integers_of_a_byte(images):
        images = images.astype(np.uint8)
    if downsample != 1 and images.ndim == 4:
        images = pixels.downsample(images, downsample)
    if "trials" in arrays:
        responses, index = _from_trials(arrays["trials"], len(images))
    else:
        responses = arrays["responses"]
        index = arrays.get("image_index", np.arange(len(np.atleast_1d(responses))))
        # MATLAB writes every number as a float.
        if index.dtype.kind == "f" and np.isfinite(index).all() and (index == index.round()).all():
            index = index.astype(np.int64)
    tier = arrays.get("tier")
    if tier is not None and test_images is not None:
        raise RecordingError("tier: the file has tiers, so test_images has nothing to choose")
    if tier is None:
        valid = index.ndim == 1 and np.issubdtype(index.dtype, np.integer)
        # An index that is not one is the Recording's to refuse, with its own message.
        tier = assign_tiers(index, test_images=test_images, seed=seed) if valid else None
    return Recording(
        name=name or path.stem,
        images=images,
        image_index=index,
        responses=responses,
        behaviour=arrays.get("behaviour"),
        pupil=arrays.get("pupil"),
        tier=tier,
        neuron_ids=arrays.get("neuron_ids"),
        behaviour_names=_names(arrays.get("behaviour_names")),
        cortical_positions=arrays.get("cortical_positions"),
        species=species or _text(arrays, "species"),
        area=area or _text(arrays, "area"),
        simulated=_truth(arrays, "simulated"),
    )


def describe_arrays(path: Path | str) -> ScanReport:
    """What is in an ``.npz`` file by the headers of its arrays; only those of tiers are read.

    Raises
    ------
    FileNotFoundError, RecordingError
        As :func:`read_arrays`, but for what only the values of images and responses could tell.
    """
    path = Path(path)
    shapes, small = _shapes(path)
    images, form = shapes["images"], "responses" if "responses" in shapes else "trials"
    responses = shapes[form]
    _check_axes(path, "images", images, "(n, height, width)", "(n, channels, height, width)")
    expected = "(trial, neuron)" if form == "responses" else "(image, repeat, neuron)"
    _check_axes(path, form, responses, expected)
    k = shapes["behaviour"][1] if len(shapes.get("behaviour", ())) == 2 else 0
    index = small.get("image_index")
    repeats = None if index is None else np.unique(index, return_counts=True)[1]
    return ScanReport(
        format="npz",
        name=path.stem,
        image_shape=(1, *images[1:]) if len(images) == 3 else images[1:],  # type: ignore[arg-type]
        n_images=images[0],
        n_trials=responses[0] if form == "responses" else None,
        n_neurons=responses[-1],
        tiers=count_tiers(small.get("tier")),
        n_repeated=None if repeats is None else int((repeats > 1).sum()),
        behaviour=_names(small.get("behaviour_names")) or tuple(f"behaviour_{i}" for i in range(k)),
        pupil="pupil" in shapes,
        positions="cortical_positions" in shapes,
        simulated=_truth(small, "simulated"),
    )


def _check_axes(path: Path, key: str, shape: tuple[int, ...], *expected: str) -> None:
    """Refuse an array that has as many axes as none of the descriptions."""
    if len(shape) not in {text.count(",") + 1 for text in expected}:
        raise RecordingError(f"{path}: {key}: shape {shape}, expected {' or '.join(expected)}")


def _shapes(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, NDArray]]:
    """Shapes of all arrays in a file, and the few small ones that say what a scan is."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected an .npz file of arrays")
    try:
        archive = zipfile.ZipFile(path)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    _check_compression(path)
    with archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        _check_members(path, set(members))

        def of(key: str, reader: Callable[[BinaryIO, int, str], T]) -> T:
            try:
                with archive.open(members[key]) as file:
                    return reader(cast("BinaryIO", file), members[key].file_size, f"{path}: {key}")
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
                raise _unreadable(path, error) from error

        shapes = {key: of(key, npy.read_header).shape for key in members}
        small = {
            key: of(key, npy.read_array)
            for key in {"image_index", "tier", "behaviour_names", "simulated"} & set(members)
        }
    return shapes, small


def _names(values: NDArray | None) -> tuple[str, ...] | None:
    if values is None:
        return None
    if values.ndim != 1 or values.dtype.kind != "U":
        raise RecordingError(
            f"behaviour_names: shape {values.shape} of {values.dtype}, expected a text for each "
            "column of behaviour"
        )
    return tuple(values.tolist())


def _text(arrays: dict[str, NDArray], key: str) -> str:
    value = arrays.get(key, np.array(""))
    if value.ndim or value.dtype.kind != "U":
        raise RecordingError(f"{key}: shape {value.shape} of {value.dtype}, expected one text")
    return str(value)


def _truth(arrays: dict[str, NDArray], key: str) -> bool:
    value = arrays.get(key, np.array(False))
    if value.ndim or value.dtype != bool:
        raise RecordingError(
            f"{key}: shape {value.shape} of {value.dtype}, expected one true or false"
        )
    return bool(value)


def _are_integers_of_a_byte(images: NDArray) -> bool:
    return bool(
        np.issubdtype(images.dtype, np.integer)
        and images.min(initial=0) >= 0
        and images.max(initial=0) <= 255
    )


def _load(path: Path) -> dict[str, NDArray]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected an .npz file of arrays")
    if not zipfile.is_zipfile(path):
        # NumPy would take it for a pickle, and advise to trust it.
        raise _unreadable(path, "it is no archive of arrays, or only a part of one")
    _check_compression(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = set(archive.files)
            arrays = {key: archive[key] for key in names}
            for key, value in arrays.items():
                if not isinstance(value, np.ndarray):
                    raise ValueError(f"{key!r} is not an array")
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    _check_members(path, names)
    return arrays


def _check_compression(path: Path) -> None:
    """Refuse arrays that are encrypted, or compressed in a way that Python does not know."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                check_zip_member(member, f"{path}: {member.filename}")
    except zipfile.BadZipFile as error:
        raise _unreadable(path, error) from error
    except UnreadableError as error:
        raise RecordingError(str(error)) from error


def _unreadable(path: Path, error: Exception | str) -> RecordingError:
    why = why_unreadable(path, error, "copy it again", expected="a zip")
    return RecordingError(
        f"{path}: cannot be read as an .npz file of plain arrays: {why}; expected what "
        "numpy.savez_compressed writes"
    )


def _check_members(path: Path, names: set[str]) -> None:
    missing = [f"`{key}`" for key in sorted(REQUIRED - names)]
    if not names.intersection(ONE_OF):
        missing.append("`responses` (or `trials`)")
    if missing:
        raise RecordingError(f"{path}: lacks {' and '.join(missing)}; it holds {sorted(names)}")
    if names.issuperset(ONE_OF):
        raise RecordingError(
            f"{path}: expected either `trials` or `responses`, found {sorted(names)}"
        )
    if unknown := names - REQUIRED - OPTIONAL - set(ONE_OF):
        raise RecordingError(
            f"{path}: {sorted(unknown)} are not known; expected images, trials or responses, and "
            f"any of {sorted(OPTIONAL)}"
        )
    if "trials" in names and (clash := names & (OPTIONAL - OF_SCAN)):
        raise RecordingError(
            f"{path}: {sorted(clash)} go by trial and cannot stand beside `trials`; use "
            "`responses` and `image_index`"
        )


def _from_trials(trials: NDArray, n_images: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if trials.ndim != 3 or len(trials) != n_images:
        raise RecordingError(
            f"trials: shape {trials.shape}, expected ({n_images}, repeat, neuron), one row for "
            "each image"
        )
    if not np.issubdtype(trials.dtype, np.number) or np.iscomplexobj(trials):
        raise RecordingError(f"trials: type {trials.dtype}, expected real numbers")
    if not np.issubdtype(trials.dtype, np.floating):
        trials = trials.astype(np.float32)
    missing = np.isnan(trials)
    partly = missing.any(2) & ~missing.all(2)
    if partly.any():
        image, repeat = np.argwhere(partly)[0]
        raise RecordingError(
            f"trials: {int(partly.sum())} trials are missing for some neurons only, the first is "
            f"image {image}, repeat {repeat}; leave those neurons or those trials out"
        )
    image, repeat = np.nonzero(~missing.all(2))
    return trials[image, repeat].astype(np.float32), image


def _scan(path: Path, **arguments: Any) -> tuple[Recording, tuple[str, ...]]:
    return read_arrays(path, **arguments), ()


IMPORTER = Importer(_scan, describe_arrays)
