"""NWB files as other laboratories lay them out, made of parts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.base import ImageReferences, Images
from pynwb.behavior import BehavioralTimeSeries, EyeTracking, PupilTracking, SpatialSeries
from pynwb.core import DynamicTable, VectorData
from pynwb.epoch import TimeIntervals
from pynwb.image import GrayscaleImage, ImageSeries, IndexSeries
from pynwb.ophys import Fluorescence, ImageSegmentation, OpticalChannel, RoiResponseSeries

from predictive_model.importers import nwb
from predictive_model.recordings.recording import Recording, RecordingError

N = 12  # images
SHOWN = np.r_[np.arange(N), 0, 1, 0, 1]
START = 1.0 + 0.8 * np.arange(len(SHOWN))
STOP = START + 0.5
PICTURES = np.random.default_rng(0).integers(0, 256, (N, 6, 8)).astype(np.uint8)
TIMES = np.arange(0, 16, 0.1)  # of fluorescence and behaviour

Fill = Callable[[NWBFile], object]


def made(*parts: Fill) -> NWBFile:
    file = NWBFile("a session", "s1", datetime(2024, 1, 1, tzinfo=UTC))
    for part in parts:
        part(file)
    return file


def session(folder: Path, *parts: Fill) -> Path:
    """The file, written."""
    file = made(*parts)
    path = folder / "session.nwb"
    with NWBHDF5IO(str(path), "w") as io:
        io.write(file, cache_spec=False)  # a third of the time
    return path


class InMemory:
    """A file that was not written, with all tables of intervals together as in one that was read.

    Writing and reading take most of the time, and what a file means does not hang on them.
    """

    def __init__(self, file: NWBFile) -> None:
        tables = (file.trials, file.epochs, file.invalid_times)
        self._file = file
        self.intervals = {**file.intervals} | {t.name: t for t in tables if t is not None}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextlib.contextmanager
def in_memory(*parts: Fill) -> Iterator[Path]:
    """A path that leads to a file of these parts while the context lasts."""
    file = InMemory(made(*parts))
    with patch.multiple(
        nwb, opened=lambda path: contextlib.nullcontext(file), broken_links=lambda path: ()
    ):
        yield Path("session.nwb")


def read(*parts: Fill, **options: Any) -> tuple[Recording, str]:
    """What is read from a file of these parts, and notes on it."""
    with in_memory(*parts) as path:
        scan, notes = nwb.scan_nwb(path, options=nwb.NwbOptions(**options))
    return scan, "\n".join(notes)


def refused(message: str, *parts: Fill, **options: Any) -> None:
    """Such a file is refused, with a message that matches."""
    with pytest.raises(RecordingError, match=message):
        read(*parts, **options)


def module(file: NWBFile, name: str) -> Any:
    return file.processing.get(name) or file.create_processing_module(name, name)


def stack(
    data: Any = PICTURES, kind: type = ImageSeries, name: str = "scenes", **about: Any
) -> Fill:
    more = about if kind is ImageSeries else {
        "distance": 0.1, "field_of_view": [0.1, 0.1], "orientation": "upper left",
    }  # fmt: skip
    return lambda file: file.add_stimulus_template(
        kind(name=name, data=data, unit="n.a.", rate=1.0, **more)
    )


def trials(name: str = "trials", column: str = "image_index", values: Any = SHOWN, **more: Any):
    def fill(file: NWBFile) -> None:
        columns = {"start_time": START, "stop_time": STOP, column: values} | more
        table = TimeIntervals(
            name=name,
            description="presentations",
            columns=[
                VectorData(name=n, description=n, data=list(d) if n == "tier" else d)
                for n, d in columns.items()
                if d is not None
            ],
        )
        if name == "trials":
            file.trials = table
        else:
            file.add_time_intervals(table)

    return fill


def traces(
    name: str = "Deconvolved",
    container: type = Fluorescence,
    data: Any = None,
    rois: int = 3,
    timestamps: Any = TIMES,
    box: str | None = None,
    columns: dict[str, Any] | None = None,
    **more: Any,
) -> Fill:
    """Neuron 2 does nothing; the others follow the clock, so that windows are known.

    The container is called ``box``, the table of four ROIs, of which the series has those from
    the second, gets further ``columns``, and ``more`` goes to the series.
    """
    box = box or container.__name__

    def fill(file: NWBFile) -> None:
        ophys = module(file, "ophys")
        if "ImageSegmentation" not in ophys.data_interfaces:
            device = file.create_device("microscope")
            channel = OpticalChannel(name="channel", description="green", emission_lambda=500.0)
            plane = file.create_imaging_plane(
                name="plane", optical_channel=channel, description="p", device=device,
                excitation_lambda=900.0, indicator="GCaMP6s", location="VISp",
            )  # fmt: skip
            segmentation = ImageSegmentation()
            ophys.add(segmentation)
            table = segmentation.create_plane_segmentation(
                name="cells", description="cells", imaging_plane=plane
            )
            for number in range(31, 35):
                table.add_roi(image_mask=np.ones((2, 2)), id=number)
            for column, values in (columns or {}).items():
                table.add_column(column, column, data=values)
            for axis in "xyz":
                table.add_column(axis, axis, data=[10.0 * i + ord(axis) for i in range(4)])
        table = ophys["ImageSegmentation"]["cells"]
        region = table.create_roi_table_region("the first", region=list(range(1, 1 + rois)))
        values = np.stack([TIMES, 2 * TIMES, 0 * TIMES], 1) if data is None else data
        series = RoiResponseSeries(
            name=name, data=values, unit="a.u.", rois=region, timestamps=timestamps, **more
        )
        if box not in ophys.data_interfaces:
            ophys.add(container(name=box))
        ophys[box].add_roi_response_series(series)

    return fill


def units(spikes: Any, **columns: Any) -> Fill:
    """A unit for each list of spikes, and a value for each in further columns of the table."""

    def fill(file: NWBFile) -> None:
        for column in columns:
            if column != "obs_intervals":
                file.add_unit_column(column, column)
        for number, times in enumerate(spikes):
            row = {column: values[number] for column, values in columns.items()}
            file.add_unit(spike_times=times, id=100 + number, **row)

    return fill


def steady(rate: float = 20.0, until: float = 16.0) -> np.ndarray:
    """Spikes at equal intervals, so that all windows of one length have as many."""
    return np.arange(0.0, until, 1 / rate)


def behaviour(file: NWBFile) -> None:
    blinking = np.stack([TIMES, -TIMES], axis=1)
    blinking[20:23] = np.nan
    here = module(file, "behavior")
    eye = SpatialSeries(
        name="pupil", data=blinking, timestamps=TIMES, reference_frame="camera", unit="pixels"
    )
    size = TimeSeries(name="pupil_size", data=TIMES**2, timestamps=TIMES, unit="mm")
    running = TimeSeries(name="running_speed", data=3 * TIMES, timestamps=TIMES, unit="cm/s")
    licks = TimeSeries(name="licks", data=0 * TIMES, timestamps=TIMES, unit="n.a.")
    here.add(EyeTracking(name="EyeTracking", spatial_series=eye))
    here.add(PupilTracking(name="PupilTracking", time_series=size))
    here.add(BehavioralTimeSeries(name="BehavioralTimeSeries", time_series=[running, licks]))


def by_name(ordered: bool, order: Any = None) -> Fill:
    """Pictures one by one; alphabetically the tenth would come before the second."""

    def fill(file: NWBFile) -> None:
        singles = [GrayscaleImage(name=f"scene_{i}", data=p) for i, p in enumerate(PICTURES)]
        given = [singles[i] for i in (range(N) if order is None else order)]
        references = ImageReferences(name="order_of_images", data=given) if ordered else None
        images = Images(name="scenes", images=singles, order_of_images=references)
        file.add_stimulus_template(images)
        if ordered:
            file.add_stimulus(
                IndexSeries(
                    name="shown", data=SHOWN.astype("u4"), indexed_images=images, unit="N/A",
                    timestamps=START,
                )
            )  # fmt: skip

    return fill


def by_trial(values: Any, rows: int | None = None, **more: Any) -> Fill:
    def fill(file: NWBFile) -> None:
        here = module(file, "responses")
        here.add(TimeSeries(name="responses", data=values, unit="a.u.", timestamps=START, **more))
        if rows is not None:
            column = VectorData(name="neuron_id", description="n", data=np.arange(rows))
            here.add(DynamicTable(name="neurons", description="n", columns=[column]))

    return fill
