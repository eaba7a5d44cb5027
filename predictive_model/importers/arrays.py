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
    (trial,), which image was shown, counted from 0, as whole numbers of any type, or names of
    ``image_names`` (n,); negative or missing ones are blanks and left out. It may be left out if
    trial i showed image i;

and, in the second form, if there are any,

``behaviour`` (trial, k) and ``behaviour_names`` (k,), ``pupil`` (trial, 2), ``tier`` (trial,) of
``train``, ``validation`` and ``test``. ``neuron_ids`` (neuron,), ``cortical_positions``
(neuron, 2 or 3), ``image_groups`` (n,), the texts ``species`` and ``area``, the number ``degrees``,
and ``simulated``, true or false, may stand in both. What each must hold is said in
:class:`~predictive_model.recordings.recording.Recording`, what becomes of missing values and equal
images in :mod:`~predictive_model.importers.usable`.
:class:`~predictive_model.importers.array_options.ArrayOptions` takes arrays of other names.

    numpy.savez_compressed("scan.npz", images=images, responses=responses, image_index=shown)
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, Unpack, cast

import numpy as np
from numpy.typing import NDArray

from predictive_model.file_kinds import why_unreadable
from predictive_model.importers import npy, pixels
from predictive_model.importers.archives import UnreadableError, check_zip_member
from predictive_model.importers.array_options import ArrayOptions, what_is_what
from predictive_model.importers.importer import DEFAULTS, Common, Importer
from predictive_model.importers.npy import UNREADABLE
from predictive_model.importers.recorded import Recorded
from predictive_model.importers.report import ScanReport, count_tiers
from predictive_model.importers.usable import usable_recording
from predictive_model.recordings.recording import Recording, RecordingError

T = TypeVar("T")
SMALL = {"image_index", "image_groups", "tier", "behaviour_names", "simulated", "degrees"}


def read_arrays(
    path: Path | str,
    *,
    options: ArrayOptions | None = None,
    **common: Unpack[Common],
) -> Recording:
    """Read a recording from an ``.npz`` file; the module's docstring describes it.

    Parameters
    ----------
    path : Path or str
    options : ArrayOptions, optional
    **common
        See :class:`~predictive_model.importers.importer.Common`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RecordingError
        If the file is damaged, lacks an array, or holds arrays that cannot be used.
    """
    return scan_arrays(path, options=options, **common)[0]


def scan_arrays(
    path: Path | str,
    *,
    options: ArrayOptions | None = None,
    **common: Unpack[Common],
) -> tuple[Recording, tuple[str, ...]]:
    """As :func:`read_arrays`, with notes on what was left out or is unusual."""
    path = Path(path)
    downsample = common.get("downsample", 1)
    options = options or ArrayOptions()
    arrays = _load(path, options)
    images = _as_images(arrays["images"])
    if downsample != 1 and images.ndim == 4:
        images = pixels.downsample(images, downsample)
    if "trials" in arrays:
        responses, index = _from_trials(arrays["trials"], len(images))
    else:
        responses = arrays["responses"]
        index = arrays.get("image_index", np.arange(len(np.atleast_1d(responses))))
        index = _numbers(index, arrays.get("image_names"), options.first_image)
    found = Recorded(
        images=images,
        image_index=index,
        responses=responses,
        behaviour=arrays.get("behaviour"),
        pupil=arrays.get("pupil"),
        tier=arrays.get("tier"),
        neuron_ids=arrays.get("neuron_ids"),
        behaviour_names=_names(arrays.get("behaviour_names")),
        cortical_positions=arrays.get("cortical_positions"),
        image_groups=arrays.get("image_groups"),
    )
    _leave_out_blank_trials(found)
    return usable_recording(
        found,
        name=path.stem,
        species=_text(arrays, "species"),
        area=_text(arrays, "area"),
        simulated=_truth(arrays, "simulated"),
        degrees=_number(arrays, "degrees"),
        options=options,
        asked=common,
    )


def describe_arrays(path: Path | str, *, options: ArrayOptions | None = None) -> ScanReport:
    """What is in an ``.npz`` file by the headers of its arrays; only those of tiers are read.

    Raises
    ------
    FileNotFoundError, RecordingError
        As :func:`read_arrays`, but for what only the values of images and responses could tell.
    """
    path = Path(path)
    shapes, small = _shapes(path, options or ArrayOptions())
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
        n_groups=len(np.unique(small.get("image_groups", []))),
        degrees=_number(small, "degrees"),
    )


def _check_axes(path: Path, key: str, shape: tuple[int, ...], *expected: str) -> None:
    """Refuse an array that has as many axes as none of the descriptions."""
    if len(shape) not in {text.count(",") + 1 for text in expected}:
        raise RecordingError(f"{path}: {key}: shape {shape}, expected {' or '.join(expected)}")


def _shapes(
    path: Path, options: ArrayOptions
) -> tuple[dict[str, tuple[int, ...]], dict[str, NDArray]]:
    """Shapes of all arrays in a file, and the few small ones that say what a scan is."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected an .npz file of arrays")
    try:
        archive = zipfile.ZipFile(path)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    _check_compression(path)
    with archive:
        found = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        members = {our: found[name] for name, our in what_is_what(path, options, found).items()}

        def of(key: str, reader: Callable[[BinaryIO, int, str], T]) -> T:
            try:
                with archive.open(members[key]) as file:
                    return reader(cast("BinaryIO", file), members[key].file_size, f"{path}: {key}")
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
                raise _unreadable(path, error) from error

        shapes = {key: of(key, npy.read_header).shape for key in members}
        small = {key: of(key, npy.read_array) for key in SMALL & set(members)}
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


def _number(arrays: dict[str, NDArray], key: str) -> float | None:
    value = arrays.get(key)
    if value is None:
        return None
    if value.ndim or value.dtype.kind not in "fiu":
        raise RecordingError(f"{key}: shape {value.shape} of {value.dtype}, expected one number")
    return float(value)


def _are_integers_of_a_byte(images: NDArray) -> bool:
    return bool(
        np.issubdtype(images.dtype, np.integer)
        and images.min(initial=0) >= 0
        and images.max(initial=0) <= 255
    )


def _load(path: Path, options: ArrayOptions) -> dict[str, NDArray]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected an .npz file of arrays")
    if not zipfile.is_zipfile(path):
        # NumPy would take it for a pickle, and advise to trust it.
        raise _unreadable(path, "it is no archive of arrays, or only a part of one")
    _check_compression(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            place = what_is_what(path, options, archive.files)
            arrays = {our: archive[name] for name, our in place.items()}
            for key, value in arrays.items():
                if not isinstance(value, np.ndarray):
                    raise ValueError(f"{key!r} is not an array")
    except RecordingError:
        raise
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
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
    there = ~np.isnan(trials).all(2)
    image, repeat = np.nonzero(there)
    return trials[there], image


def _numbers(index: NDArray, names: NDArray | None, first: int) -> NDArray:
    """Numbers of images from 0, -1 for blanks; what is no index is left to the recording."""
    if index.dtype.kind in "US":
        return _numbers_of_names(index.astype(str), names)
    if index.dtype.kind == "f":
        # MATLAB writes every number as a float.
        index = np.where(np.isnan(index), first - 1, index)
        if not (np.isfinite(index).all() and (index == index.round()).all()):
            return index
        index = index.astype(np.int64)
    return np.maximum(index.astype(np.int64) - first, -1) if index.dtype.kind in "iu" else index


def _numbers_of_names(index: NDArray[np.str_], names: NDArray | None) -> NDArray[np.int64]:
    if names is None:
        raise RecordingError(
            f"image_index: names such as {str(index.flat[0])!r}, but nothing says whose they are; "
            "add an array `image_names` with a name for each image, in their order"
        )
    called = [str(name) for name in names.astype(str).tolist()]
    place = {name: number for number, name in enumerate(called)} | {"": -1}
    unknown = sorted(set(index.tolist()) - set(place))
    if unknown or len(place) <= len(called):
        what = f"{unknown[0]!r} is not among image_names" if unknown else "image_names repeat"
        raise RecordingError(
            f"image_index: {what}, {called[:3]} ...; expected a name of its own for each image, "
            "and an empty one for blanks"
        )
    return np.array([place[name] for name in index.tolist()], np.int64)


def _leave_out_blank_trials(found: Recorded) -> None:
    index = found.image_index
    n_trials = len(np.atleast_1d(found.responses))
    if index.dtype.kind not in "iu" or index.shape != (n_trials,):
        return
    shown = index >= 0
    if shown.all() or not shown.any():
        return
    found.keep("trial", shown)
    found.notes.append(f"{int((~shown).sum())} trials without an image are left out")


def _as_images(images: NDArray) -> NDArray:
    """Images as (n, channels, height, width), of uint8 or float32 where that loses nothing."""
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.dtype == bool:
        return images * np.uint8(255)
    if _are_integers_of_a_byte(images):
        return images.astype(np.uint8)
    # Deeper integers too: single precision holds those of up to 24 bits.
    if images.dtype.kind in "fiu":
        return images.astype(np.float32)
    return images


def _scan(path: Path, **arguments: Any) -> tuple[Recording, tuple[str, ...]]:
    common: Any = {n: arguments.pop(n) for n in DEFAULTS}
    return scan_arrays(path, options=ArrayOptions.of(arguments), **common)


def _describe(path: Path, **options: Any) -> ScanReport:
    return describe_arrays(path, options=ArrayOptions.of(options))


IMPORTER = Importer(_scan, _describe)
