"""Recordings as NWB files, laid out simply.

==========================================  ====================================================
``trials``                                  a row for each trial: ``start_time``, ``stop_time``,
                                            ``image_index``, ``tier``
``stimulus/templates/images``               ``ImageSeries`` (image, height, width[, colour])
``processing/responses/responses``          ``TimeSeries`` (trial, neuron)
``processing/responses/neurons``            ``DynamicTable``: ``neuron_id``, ``location``, and
                                            ``position`` (neuron, 2 or 3) in micrometres
``processing/behavior/behaviour``           ``TimeSeries`` (trial, k), names as JSON in ``comments``
``processing/behavior/EyeTracking/pupil``   ``SpatialSeries`` (trial, 2)
``general/subject/species``                 species
``general/keywords``                        ``simulated`` where no animal was involved
==========================================  ====================================================

A recording knows the order of its trials but not their times: they are nominal, one trial each
second and half a second long, and the file says so.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import EyeTracking, SpatialSeries
from pynwb.core import DynamicTable, VectorData
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.image import ImageSeries

from predictive_model.exporters.whole import written_whole
from predictive_model.recordings.recording import Recording, RecordingError

TRIAL_PERIOD = 1.0  # seconds from one nominal start to the next
PRESENTATION = 0.5  # seconds, as in Li et al. 2019

UNKNOWN_START = datetime(1970, 1, 1, tzinfo=UTC)


def write_nwb(
    recording: Recording,
    path: Path | str,
    *,
    session_start: datetime = UNKNOWN_START,
    overwrite: bool = False,
) -> Path:
    """Write a recording to an NWB file, laid out as the module's docstring says.

    Parameters
    ----------
    recording : Recording
    path : Path or str
        Ends in ``.nwb``.
    session_start : datetime
        With a time zone. A recording does not know it, but every NWB file has one.
    overwrite : bool

    Raises
    ------
    RecordingError
        If ``path`` does not end in ``.nwb``.
    FileExistsError
        If there is something at ``path`` already, and it shall not be overwritten.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from predictive_model.importers.nwb import read_nwb
    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    >>> scan = Recording("toy", images, np.r_[:20, 0, 1], rng.random((22, 5), np.float32))
    >>> with TemporaryDirectory() as folder:
    ...     read_nwb(write_nwb(scan, Path(folder) / "toy.nwb")).n_neurons
    5
    """
    path = Path(path)
    if path.suffix != ".nwb":
        raise RecordingError(f"{path}: expected a name that ends in .nwb")
    with (
        written_whole(path, overwrite=overwrite) as temporary,
        NWBHDF5IO(str(temporary), "w") as io,
    ):
        io.write(_nwb_file(recording, session_start))
    return path


def _nwb_file(recording: Recording, session_start: datetime) -> NWBFile:
    r = recording
    made = "Simulated: no animal was involved. " if r.simulated else ""
    content = hashlib.sha256(r.responses.tobytes() + r.image_index.tobytes())
    file = NWBFile(
        session_description=f"{made}Responses to images, a trial each; times are nominal.",
        identifier=f"{r.name}-{content.hexdigest()[:16]}",
        session_start_time=session_start,
        session_id=r.name,
        keywords=["natural images", *(["simulated"] if r.simulated else [])],
    )
    if r.species:
        file.subject = Subject(subject_id=r.name, species=r.species)
    start = np.arange(r.n_trials, dtype=np.float64) * TRIAL_PERIOD
    file.trials = _trials(r, start)
    file.add_stimulus_template(_images(r.images))
    responses = file.create_processing_module("responses", "What the neurons did in each trial")
    responses.add(
        TimeSeries(
            name="responses",
            description="One row for each trial, one column for each row of the table `neurons`",
            data=_compressed(r.responses),
            unit="a.u.",
            timestamps=start,
        )
    )
    responses.add(_neurons(r))
    if r.behaviour is not None or r.pupil is not None:
        _add_behaviour(file, r, start + PRESENTATION / 2)
    return file


def _add_behaviour(file: NWBFile, recording: Recording, middle: NDArray[np.float64]) -> None:
    """Behaviour and pupil, sampled in the middle of each trial."""
    r = recording
    module = file.create_processing_module("behavior", "What the animal did in each trial")
    if r.behaviour is not None:
        module.add(
            TimeSeries(
                name="behaviour",
                description="One row for each trial; `comments` names the columns",
                comments=json.dumps(list(r.behaviour_names or ())),
                data=_compressed(r.behaviour),
                unit="a.u.",
                timestamps=middle,
            )
        )
    if r.pupil is not None:
        pupil = SpatialSeries(
            name="pupil",
            description="Centre of the pupil, horizontal and vertical, one row for each trial",
            reference_frame="unknown",
            data=_compressed(r.pupil),
            unit="a.u.",
            timestamps=middle,
        )
        module.add(EyeTracking(name="EyeTracking", spatial_series=pupil))


def _trials(recording: Recording, start: NDArray[np.float64]) -> TimeIntervals:
    columns = {
        "start_time": ("Start of the image, seconds", start),
        "stop_time": ("End of the image, seconds", start + PRESENTATION),
        "image_index": ("Frame of the template `images` that was shown", recording.image_index),
        "tier": ("train, validation or test", np.asarray(recording.tier).astype(object)),
    }
    return TimeIntervals(
        name="trials",
        description="One row for each trial",
        columns=[
            VectorData(name=name, description=description, data=data)
            for name, (description, data) in columns.items()
        ],
    )


def _images(images: NDArray) -> ImageSeries:
    """Grey images as (image, height, width), coloured ones as (image, height, width, colour)."""
    data = images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)
    return ImageSeries(
        name="images",
        description="Every distinct image once, rows from the top",
        data=_compressed(data),
        unit="n.a.",
        format="raw",
        rate=1.0,
    )


def _neurons(recording: Recording) -> DynamicTable:
    r = recording
    ids = np.asarray(r.neuron_ids)
    columns = [
        VectorData(
            name="neuron_id",
            description="Distinct names of the neurons",
            data=ids.astype(object) if ids.dtype.kind == "U" else ids,
        )
    ]
    if r.area:
        columns.append(VectorData(name="location", description="Area", data=[r.area] * r.n_neurons))
    if r.cortical_positions is not None:
        columns.append(
            VectorData(
                name="position",
                description="Where the neuron lies in the cortex, micrometres",
                data=r.cortical_positions,
            )
        )
    return DynamicTable(
        name="neurons", description="One row for each column of `responses`", columns=columns
    )


def _compressed(data: NDArray) -> H5DataIO:
    return H5DataIO(data=data, compression="gzip", compression_opts=4)
