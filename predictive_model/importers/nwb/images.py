"""The images that an NWB file shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb.base import Image, Images
from pynwb.image import ImageSeries

from predictive_model.importers import pixels
from predictive_model.importers.npy import require_numbers
from predictive_model.importers.nwb.series import converted, in_its_unit
from predictive_model.recordings.recording import RecordingError

IMAGES_AT_ONCE = 256


class ImageStack:
    """Images that are read when they are asked for.

    Attributes
    ----------
    n : int
    shape : (channels, height, width)
    names : tuple of str
        Of single images, where they have names.
    """

    def __init__(self, source: ImageSeries | Images, *, width_first: bool = False) -> None:
        self.name: str = source.name
        self.notes: tuple[str, ...] = ()
        self._source = source
        self._width_first = width_first
        self._parts: list[Any]  # arrays of images, or single images
        if isinstance(source, Images):
            images, self.notes = in_order(source)
            self.names = tuple(image.name for image in images)
            self.n, shape = self._single(images)
        else:
            self.names = _names_of_frames(source)
            self.n, shape = self._stacked(source)
        self._opaque = len(shape) == 3 and shape[2] == 4 and isinstance(source, Images)
        if self.n == 0 or len(shape) not in (2, 3):
            raise self._wrong_shape(shape)
        if len(shape) == 3 and shape[2] not in (1, 3) and not self._opaque:
            raise self._wrong_shape(shape)
        for part in self._parts:
            require_numbers(part.dtype, self.name)
        height, width = (shape[1], shape[0]) if width_first else shape[:2]
        channels = 3 if self._opaque else shape[2] if len(shape) == 3 else 1
        self.shape = (channels, height, width)

    def _single(self, images: list[Any]) -> tuple[int, tuple[int, ...]]:
        elsewhere = [image for image in images if not isinstance(image, Image)]
        if elsewhere:
            raise self._elsewhere(str(elsewhere[0].data))
        self._parts = [image.data for image in images]
        shapes = {np.shape(data) for data in self._parts}
        if len(shapes) != 1:
            raise RecordingError(
                f"{self.name}: images of {len(shapes)} shapes, {sorted(shapes)[:3]} ..., "
                "expected all of one size"
            )
        return len(images), shapes.pop()

    def _stacked(self, source: ImageSeries) -> tuple[int, tuple[int, ...]]:
        if source.external_file is not None:
            raise self._elsewhere(str(source.external_file[0]))
        self._parts = [source.data]
        self.notes = converted(source)
        n, *shape = np.shape(source.data) or (0,)
        return n, tuple(shape)

    def _elsewhere(self, file: str) -> RecordingError:
        return RecordingError(
            f"{self.name}: its images are in other files, {file!r} ...; write the pixels into the "
            "NWB file"
        )

    def _wrong_shape(self, shape: tuple[int, ...]) -> RecordingError:
        return RecordingError(
            f"{self.name}: {self.n} images of shape {shape}, expected some of (height, width) "
            "or (height, width, 3)"
        )

    def read(self, downsample: int) -> NDArray:
        """(n, channels, height, width) uint8 or float32, in the unit that the file names."""
        pixels.check_downsample(downsample, self.shape)
        c, h, w = self.shape
        small = downsample == 1 and all(part.dtype == np.uint8 for part in self._parts)
        shape = (self.n, c, h // downsample, w // downsample)
        out = np.empty(shape, np.uint8 if small and not self._is_converted else np.float32)
        for place, batch in self._batches():
            with np.errstate(over="ignore"):
                out[place] = pixels.downsample(batch, downsample)
        return out

    @property
    def _is_converted(self) -> bool:
        return isinstance(self._source, ImageSeries) and bool(converted(self._source))

    def _batches(self) -> Iterator[tuple[slice, NDArray]]:
        """Places and images (some, channels, height, width), in their unit."""
        if isinstance(self._source, Images):
            for number, image in enumerate(self._parts):
                single = image[:][None]
                if self._opaque:
                    single = self._without_alpha(single, number)
                yield slice(number, number + 1), self._channels_first(single)
            return
        for start in range(0, self.n, IMAGES_AT_ONCE):
            place = slice(start, start + IMAGES_AT_ONCE)
            yield place, self._channels_first(in_its_unit(self._source, self._parts[0][place]))

    def _without_alpha(self, image: NDArray, number: int) -> NDArray:
        most = np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1.0
        if (image[..., 3] < most).any():
            raise RecordingError(
                f"{self.name}: image {self.names[number]!r} is transparent in places; put it on "
                "the background that was shown, and write it as an RGBImage or GrayscaleImage"
            )
        return image[..., :3]

    def _channels_first(self, images: NDArray) -> NDArray:
        if images.ndim == 3:
            images = images[..., None]
        return images.transpose(0, 3, 2, 1) if self._width_first else images.transpose(0, 3, 1, 2)


def in_order(source: Images) -> tuple[list[Any], tuple[str, ...]]:
    """Single images in the order that the file gives, or of their names."""
    order = source.order_of_images
    if order is not None:
        return [order.data[i] for i in range(len(order.data))], ()
    images = sorted(source.images.values(), key=lambda image: natural(image.name))
    return images, (f"{source.name!r} has no order_of_images: images go by their names",)


def natural(name: str) -> list[tuple[int, str]]:
    """What to sort names by, so that the tenth comes after the second."""
    return [(int(t or 0) if t.isdigit() else -1, t) for t in re.split(r"(\d+)", name)]


def _names_of_frames(series: ImageSeries) -> tuple[str, ...]:
    """Names of a series' images: its ``control_description``, as its ``control`` numbers them."""
    if series.control_description is None:
        return ()
    described = [str(name) for name in series.control_description[:]]
    n = len(series.data)
    places = np.arange(n) if series.control is None else np.asarray(series.control[:], np.int64)
    if len(places) != n or (n and places.max() >= len(described)):
        return ()
    names = tuple(described[place] for place in places)
    return names if len(set(names)) == n else ()
