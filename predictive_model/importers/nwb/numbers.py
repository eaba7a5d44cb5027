"""Numbers of images, from 0, out of what a column says was shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from predictive_model.importers.npy import require_numbers
from predictive_model.importers.nwb.images import ImageStack, natural
from predictive_model.importers.nwb_options import NwbOptions
from predictive_model.recordings.recording import RecordingError

IMAGE_COLUMNS = (
    "image_index",
    "frame",
    "stimulus_index",
    "image",
    "image_name",
    "stimulus",
    "image_id",
)
# What is written where no image was shown.
BLANKS = {"", "nan", "none", "null", "n/a", "na", "omitted", "omission", "blank", "spontaneous"}
BLANKS |= {f"{grey}{screen}" for grey in ("grey", "gray") for screen in ("", " screen", "_screen")}


@dataclass(frozen=True)
class ImageNumbers:
    """Which image each row shows.

    Attributes
    ----------
    index : (row,) int
        -1 where none is shown.
    notes : tuple of str
    """

    index: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def image_numbers(
    values: NDArray, images: ImageStack, label: str, options: NwbOptions
) -> ImageNumbers:
    """Numbers of images from numbers or names; ``label`` says where these stand.

    Raises
    ------
    RecordingError
        If they are neither numbers of the images nor names of theirs.
    """
    if values.dtype.kind not in "OSU":
        require_numbers(values.dtype, label)
        return _by_number(values, images, label, options.first_image)
    words = [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
    shown = sorted({word for word in words if not _is_blank(word)}, key=natural)
    places = _places(shown, images.names)
    numbers = None if places else _as_numbers(words)
    if numbers is not None:
        return _by_number(numbers, images, label, options.first_image)
    if not places and options.names_in_order and len(shown) == images.n:
        places = {name: number for number, name in enumerate(shown)}
    if not places and shown:
        raise _unknown_names(shown, images, label)
    index = np.array([places.get(word, -1) for word in words], np.int64)
    others = [word for word in words if word not in places and not _is_blank(word)]
    notes = _blanks(int((index < 0).sum()) - len(others))
    if others:
        some = ", ".join(map(repr, sorted(set(others))[:3]))
        notes += (f"{len(others)} presentations of {some} show no image and are left out",)
    return ImageNumbers(index, notes)


def _by_number(values: NDArray, images: ImageStack, label: str, first: int) -> ImageNumbers:
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -1, values)
        if not (np.isfinite(values).all() and (values == np.floor(values)).all()):
            raise RecordingError(f"{label}: holds fractions, expected numbers of images")
    elif values.dtype.kind == "u" and values.max(initial=0) > np.iinfo(np.int64).max:
        raise RecordingError(f"{label}: {values.max()} is no number of an image")
    index = np.maximum(values.astype(np.int64) - first, -1)
    beyond = index >= images.n
    if not beyond.any():
        return ImageNumbers(index, _blanks(int((index < 0).sum())))
    named = _places([str(v) for v in np.unique(values[index >= 0])], images.names)
    if len(named) == len(np.unique(index[index >= 0])):
        by_name = [named.get(str(int(v)), -1) for v in values.tolist()]
        return ImageNumbers(np.array(by_name, np.int64))
    if not ((index[beyond] == images.n).all() and (index == 0).any()):
        raise _out_of_range(index, images, label, first)
    # As in behavioural tasks, where an image that was due and not shown has the next number.
    omitted = int(beyond.sum())
    index = np.where(beyond, -1, index)
    note = (
        f"{omitted} presentations of image {images.n + first}, one more than there are, are taken "
        "as omissions and left out"
    )
    return ImageNumbers(index, (*_blanks(int((index < 0).sum()) - omitted), note))


def _places(shown: list[str], names: tuple[str, ...]) -> dict[str, int]:
    """Which image each of the names is, if need be but for endings such as ``.png``."""
    place = {name: number for number, name in enumerate(names)}
    found = {word: place[word] for word in shown if word in place}
    if found:
        return found
    stems = {PurePosixPath(name).stem: number for name, number in place.items()}
    if len(stems) < len(place):
        return {}
    return {w: stems[PurePosixPath(w).stem] for w in shown if PurePosixPath(w).stem in stems}


def _as_numbers(words: list[str]) -> NDArray[np.float64] | None:
    """Numbers that were written as text; None if there are others, or blanks only."""
    try:
        numbers = [np.nan if _is_blank(word) else float(word) for word in words]
    except ValueError:
        return None
    return None if np.isnan(numbers).all() else np.array(numbers)


def _is_blank(word: str) -> bool:
    return word.strip().lower() in BLANKS


def _blanks(count: int) -> tuple[str, ...]:
    return (f"{count} presentations without an image are left out",) if count else ()


def _unknown_names(shown: list[str], images: ImageStack, label: str) -> RecordingError:
    named = f"which has {list(images.names[:3])} ..." if images.names else "which has no names"
    remedy = (
        "write numbers of images from 0 instead, or take another column (`--option "
        "image_column=NAME`)"
    )
    if len(shown) == images.n:
        remedy += (
            f"; if these {len(shown)} names stand for the images in their order, say so with "
            "`--option names_in_order=true`"
        )
    return RecordingError(
        f"{label}: {shown[0]!r} is no image of {images.name!r}, {named}; {remedy}"
    )


def _out_of_range(
    index: NDArray[np.int64], images: ImageStack, label: str, first: int
) -> RecordingError:
    table = label.partition(".")[0]
    from_one = index[index >= 0].min() == 1 and index.max() == images.n and not first
    return RecordingError(
        f"{table}: shows image {index.max() + first}, expected {first} to {images.n - 1 + first} "
        f"for the {images.n} images of {images.name!r}; "
        + (
            "if they are counted from 1, say so with `--option first_image=1`"
            if from_one
            else "choose others with `images` (--images), or write -1 where none of them was shown"
        )
    )
