"""Which images an NWB file shows, and when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile, TimeSeries
from pynwb.base import Images
from pynwb.epoch import TimeIntervals
from pynwb.image import ImageSeries, IndexSeries

from predictive_model.importers import pixels
from predictive_model.importers.npy import require_numbers
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
IMAGES_AT_ONCE = 256


@dataclass(frozen=True)
class Presentations:
    """When which image was shown.

    Attributes
    ----------
    start, stop : (trial,) float64, seconds
    image_index : (trial,) int
    tier : (trial,) str, or None
    rows : (trial,) int
        Row of each trial among the ``n_rows`` that the file has, blanks included.
    """

    start: NDArray[np.float64]
    stop: NDArray[np.float64]
    image_index: NDArray[np.int64]
    tier: NDArray[np.str_] | None
    rows: NDArray[np.int64]
    n_rows: int
    notes: tuple[str, ...] = ()


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
        self._width_first = width_first
        self._parts: list[Any]  # arrays of images, or single images
        if isinstance(source, Images):
            images, self.notes = _in_order(source)
            self.names = tuple(image.name for image in images)
            self._parts = [image.data for image in images]
            shapes = {np.shape(data) for data in self._parts}
            if len(shapes) != 1:
                raise RecordingError(
                    f"{self.name}: images of {len(shapes)} shapes, {sorted(shapes)[:3]} ..., "
                    "expected all of one size"
                )
            self.n, shape = len(images), shapes.pop()
        else:
            self.names = ()
            if source.external_file is not None:
                raise RecordingError(
                    f"{self.name}: its images are in other files, {list(source.external_file)[:1]} "
                    "...; write the pixels into the NWB file"
                )
            self._parts = [source.data]
            self.n, *rest = np.shape(source.data) or (0,)
            shape = tuple(rest)
        if self.n == 0 or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
            raise RecordingError(
                f"{self.name}: {self.n} images of shape {shape}, expected some of (height, width) "
                "or (height, width, 3)"
            )
        for part in self._parts:
            require_numbers(part.dtype, self.name)
        height, width = (shape[1], shape[0]) if width_first else shape[:2]
        self.shape = (shape[2] if len(shape) == 3 else 1, height, width)

    def read(self, downsample: int) -> NDArray:
        """(n, channels, height, width) uint8 or float32."""
        pixels.check_downsample(downsample, self.shape)
        c, h, w = self.shape
        small = downsample == 1 and all(part.dtype == np.uint8 for part in self._parts)
        shape = (self.n, c, h // downsample, w // downsample)
        out = np.empty(shape, np.uint8 if small else np.float32)
        if self.names:
            for number, image in enumerate(self._parts):
                out[number] = pixels.downsample(self._channels_first(image[:][None]), downsample)[0]
            return out
        for start in range(0, self.n, IMAGES_AT_ONCE):
            batch = slice(start, start + IMAGES_AT_ONCE)
            out[batch] = pixels.downsample(self._channels_first(self._parts[0][batch]), downsample)
        return out

    def _channels_first(self, images: NDArray) -> NDArray:
        if images.ndim == 3:
            images = images[..., None]
        return images.transpose(0, 3, 2, 1) if self._width_first else images.transpose(0, 3, 1, 2)


def find_presentations(
    file: NWBFile, *, presentations: str | None, images: str | None, width_first: bool
) -> tuple[Presentations, ImageStack]:
    """Find presentations and the images they show; the names choose among several.

    Raises
    ------
    RecordingError
        If either is missing, there more than once, or one contradicts the other.
    """
    tables = {
        name: table
        for name, table in (file.intervals or {}).items()
        if any(column in table.colnames for column in IMAGE_COLUMNS)
    }
    series = {n: s for n, s in file.stimulus.items() if isinstance(s, IndexSeries)}
    if presentations is None and "trials" in tables:
        presentations = "trials"
    chosen = choose("presentations", {**tables, **series}, presentations, WHERE_PRESENTATIONS)
    stack = ImageStack(_images(file, chosen, images), width_first=width_first)
    found = _from_table(chosen, stack) if chosen.name in tables else _from_series(chosen, stack)
    if not len(found.image_index):
        raise RecordingError(f"{chosen.name}: shows no image")
    if found.image_index.max() >= stack.n:
        raise RecordingError(
            f"{chosen.name}: shows image {found.image_index.max()}, expected 0 to {stack.n - 1} "
            f"for the {stack.n} images of {stack.name!r}"
        )
    return found, stack


WHERE_PRESENTATIONS = (
    f"a table of intervals with a column of {', '.join(IMAGE_COLUMNS)}, or an IndexSeries among "
    "the stimuli"
)
WHERE_IMAGES = "an ImageSeries, an OpticalSeries or Images among the stimulus templates"


def choose(what: str, candidates: Mapping[str, Any], name: str | None, where: str) -> Any:
    """The candidate of a name, or the only one there is."""
    if name is not None:
        if name not in candidates:
            raise RecordingError(
                f"{what}: {name!r} is not among {sorted(candidates)}; expected {where}"
            )
        return candidates[name]
    if not candidates:
        raise RecordingError(f"{what}: the file has none; expected {where}")
    if len(candidates) > 1:
        raise RecordingError(f"{what}: found {sorted(candidates)}; say which with `{what}`")
    return next(iter(candidates.values()))


def times_of(series: TimeSeries) -> NDArray[np.float64]:
    """(sample,) times in seconds, which must rise and be as many as the samples."""
    n = len(series.data)
    if series.timestamps is not None:
        times = np.asarray(series.timestamps[:], np.float64)
    elif series.rate:
        times = (series.starting_time or 0.0) + np.arange(n) / series.rate
    else:
        raise RecordingError(f"{series.name}: has neither timestamps nor a rate")
    if times.shape != (n,):
        raise RecordingError(f"{series.name}: {len(times)} timestamps for {n} samples")
    if n == 0 or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise RecordingError(f"{series.name}: its timestamps do not rise, or there are none")
    return times


def _images(file: NWBFile, chosen: TimeIntervals | IndexSeries, name: str | None) -> Any:
    if name is None and isinstance(chosen, IndexSeries):
        for linked in (chosen.indexed_images, chosen.indexed_timeseries):
            if linked is not None:
                return linked
    templates = {
        n: t for n, t in file.stimulus_template.items() if isinstance(t, (ImageSeries, Images))
    }
    return choose("images", templates, name, WHERE_IMAGES)


def _from_table(table: TimeIntervals, images: ImageStack) -> Presentations:
    column = next(c for c in IMAGE_COLUMNS if c in table.colnames)
    label = f"{table.name}.{column}"
    start, stop = (np.asarray(table[c][:], np.float64) for c in ("start_time", "stop_time"))
    bad = np.flatnonzero(~(np.isfinite(start) & np.isfinite(stop) & (stop >= start)))
    if len(bad):
        raise RecordingError(
            f"{table.name}: row {bad[0]} lasts from {start[bad[0]]} to {stop[bad[0]]} s, expected "
            "a start and a later stop"
        )
    values = np.asarray(table[column][:])
    if values.shape != start.shape:
        raise RecordingError(f"{label}: shape {values.shape}, expected ({len(start)},)")
    index = _numbers(values, images, label)
    shown = index >= 0
    tier = np.asarray(table["tier"][:]).astype(str)[shown] if "tier" in table.colnames else None
    return _presentations(start[shown], stop[shown], index, tier)


def _from_series(series: IndexSeries, images: ImageStack) -> Presentations:
    start = times_of(series)
    values = np.asarray(series.data[:])
    if values.ndim != 1:
        raise RecordingError(f"{series.name}: shape {values.shape}, expected one image at a time")
    index = _numbers(values, images, series.name)
    # The last one lasts as long as most do.
    usual = np.median(np.diff(start)) if len(start) > 1 else 0.0
    stop = np.append(start[1:], start[-1:] + usual)
    shown = index >= 0
    return _presentations(start[shown], stop[shown], index, None)


def _presentations(
    start: NDArray[np.float64],
    stop: NDArray[np.float64],
    index: NDArray[np.int64],
    tier: NDArray[np.str_] | None,
) -> Presentations:
    rows = np.flatnonzero(index >= 0)
    blanks = len(index) - len(rows)
    notes = (f"{blanks} presentations without an image are left out",) if blanks else ()
    return Presentations(start, stop, index[rows], tier, rows, len(index), notes)


def _numbers(values: NDArray, images: ImageStack, label: str) -> NDArray[np.int64]:
    """Numbers of images, -1 for blanks, from numbers or names."""
    if values.dtype.kind in "OSU":
        place = {name: number for number, name in enumerate(images.names)}
        names = [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
        unknown = sorted(set(names) - set(place) - {""})
        if unknown:
            raise RecordingError(
                f"{label}: {unknown[0]!r} is no image of {images.name!r}, "
                + (f"which has {list(images.names[:3])} ..." if place else "which has no names")
            )
        return np.array([place.get(name, -1) for name in names], np.int64)
    require_numbers(values.dtype, label)
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -1, values)
        if not (np.isfinite(values).all() and (values == np.floor(values)).all()):
            raise RecordingError(f"{label}: holds fractions, expected numbers of images")
    elif values.dtype.kind == "u" and values.max(initial=0) > np.iinfo(np.int64).max:
        raise RecordingError(f"{label}: {values.max()} is no number of an image")
    return np.maximum(values.astype(np.int64), -1)


def _in_order(source: Images) -> tuple[list[Any], tuple[str, ...]]:
    order = source.order_of_images
    if order is not None:
        return [order.data[i] for i in range(len(order.data))], ()

    def natural(image: Any) -> list[tuple[int, str]]:
        return [(int(t or 0) if t.isdigit() else -1, t) for t in re.split(r"(\d+)", image.name)]

    images = sorted(source.images.values(), key=natural)
    return images, (f"{source.name!r} has no order_of_images: images go by their names",)
