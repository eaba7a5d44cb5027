"""Pictures and arrays of images of any sizes, as stimuli of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictive_model.importers import archives, npy, pixels
from predictive_model.importers.decoding import SUFFIXES, PictureError, PictureReader
from predictive_model.recordings.recording import RecordingError
from predictive_model.recordings.stimuli import fit_images


def picture_files(folder: Path) -> list[Path]:
    """The image files right in a folder, by name; hidden ones are passed over.

    Links are followed, and one that leads nowhere is among the files, to be refused when it is
    read. Files of other kinds are passed over; if they may be pictures, a warning counts them.
    """
    found, others = [], []
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or archives.is_litter(file.name) or file.is_dir():
            continue
        if file.suffix.lower() in SUFFIXES:
            found.append(file)
        elif file.suffix.lower() not in archives.LISTS:
            others.append(file)
    if found and others:
        archives.note(
            f"{folder}: {len(others)} files that are no pictures by their names were passed over, "
            f"such as {others[0].name}"
        )
    return found


def read_pictures(files: list[Path], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Grey stimuli from image files, each made to fit by :func:`~.stimuli.fit_images`.

    They are read by :class:`~predictive_model.importers.decoding.PictureReader`.

    Parameters
    ----------
    files : list of Path
        At least one.
    shape : (height, width)

    Returns
    -------
    (n, 1, height, width) uint8

    Raises
    ------
    ValueError
        If a file cannot be read rightly or is blank; the message starts with its path.
    """
    reader = PictureReader()
    stimuli = np.concatenate([_fitted(reader, file, shape) for file in files])
    reader.warn_of_decisions(files[0].parent)
    return stimuli


def read_image_array(
    file: Path, shape: tuple[int, int], number: int | None = None, *, keep_values: bool = False
) -> NDArray:
    """Grey stimuli from an ``.npy`` file, made to fit by :func:`~.stimuli.fit_images`.

    Parameters
    ----------
    file : Path
        (n, height, width) or (n, 1 or 3, height, width).
    shape : (height, width)
    number : int, optional
        Take the first ones only.
    keep_values : bool
        Leave floats as they are; by default those from 0 to 1 are taken to 0 to 255, as
        :func:`~.pixels.as_grey_values` does, with a warning that says so.

    Returns
    -------
    (n, 1, height, width) uint8, or float32 if there are other values than whole grey ones

    Raises
    ------
    ValueError
        If it is no array of images; the message starts with the path.
    """
    try:
        with file.open("rb") as opened:
            images = npy.read_array(opened, file.stat().st_size, str(file))[:number]
    except OSError as error:
        raise RecordingError(f"{file}: cannot be read ({error.strerror})") from error
    if images.dtype != bool:
        npy.require_numbers(images.dtype, str(file))
    images = images[:, None] if images.ndim == 3 else images
    if images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        raise RecordingError(
            f"{file}: shape {images.shape}, expected (n, 1 or 3, height, width); put the channels "
            "first with numpy.moveaxis(images, -1, 1)"
        )
    if keep_values:
        images = images.astype(np.uint8 if images.dtype == bool else np.float32)
    else:
        images, said = pixels.as_grey_values(images)
        if said:
            archives.note(f"{file}: {said}")
    try:
        return fit_images(images, shape)
    except ValueError as error:
        raise RecordingError(f"{file}: {error}") from error


def _fitted(reader: PictureReader, file: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    pixels = np.asarray(reader.read(archives.read_file(file), file))
    channels_first = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    try:
        return fit_images(channels_first[None], shape)
    except ValueError as error:
        raise PictureError(f"{file}: {error}") from error
