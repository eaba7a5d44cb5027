"""A folder of pictures of any sizes, as stimuli of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from predictive_model.recordings.stimuli import fit_images

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm")


def picture_files(folder: Path) -> list[Path]:
    """The image files right in a folder, by name; hidden ones are passed over."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file() and file.name[0] != "."
    )


def read_pictures(files: list[Path], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Grey stimuli from image files, each made to fit by :func:`~.stimuli.fit_images`.

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
        If a file cannot be decoded, has more than 8 bits a channel, or is blank; the message
        starts with its path.
    """
    return np.concatenate([_fitted(file, shape) for file in files])


def _fitted(file: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as opened:
            mode = opened.mode
            upright = ImageOps.exif_transpose(opened)
            picture = upright.convert("L" if mode in ("1", "L", "LA") else "RGB")
    except Exception as error:  # damaged bytes make Pillow's decoders raise nearly anything
        raise ValueError(
            f"{file}: cannot be decoded ({error}); replace or remove this image"
        ) from error
    if mode.startswith(("I", "F")):
        raise ValueError(f"{file}: has pixels of mode {mode}, expected 8 bits; convert it first")
    pixels = np.asarray(picture)
    channels_first = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    try:
        return fit_images(channels_first[None], shape)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
