"""Recordings from NWB files (Neurodata Without Borders) that show images and record neurons.

NWB leaves open where things stand. This is where they are looked for; what is found in several
places is refused until :class:`NwbOptions` names one of them.

**Images**, each distinct one once: an ``ImageSeries`` or ``OpticalSeries`` of
(image, height, width[, colour]), or ``Images``, among the stimulus templates. ``Images`` are in the
order of ``order_of_images``, or of their names without it.

**Presentations**, the trials: a table of intervals (``trials`` first) with a column
``image_index``, ``frame``, ``stimulus_index``, ``image``, ``image_name``, ``stimulus`` or
``image_id`` of numbers of images from 0, or names of ``Images``; or an ``IndexSeries`` among the
stimuli, whose presentations last until the next. Negative or missing numbers are blanks and left
out. A column ``tier`` of the table is taken as it is; otherwise tiers are assigned.

**Responses** to each presentation, the first of these that is there:

1. a ``TimeSeries`` called ``responses`` in a processing module, (presentation, neuron), as our
   own exporter writes it, with a table ``neurons`` beside it;
2. ``RoiResponseSeries``: the mean over the samples in a window after onset, by default half a
   second from 50 ms on, as in Walker et al. 2019. Deconvolved activity (by its name) goes before
   dF/F, dF/F before raw fluorescence; neuropil is passed over;
3. ``units`` with ``spike_times``: the number of spikes in the window.

Neurons are named by the column ``neuron_id`` of their table or its ids. Their positions are its
column ``position``, or ``x``, ``y`` and maybe ``z``, micrometres.

**Behaviour**, interpolated at the middle of each presentation: ``PupilTracking`` of one value (size
of the pupil), series of ``BehavioralTimeSeries`` or of a processing module called ``running``,
``speed``, ``velocity``, ``treadmill`` or ``locomotion`` somewhere in their name, and a series
``behaviour`` of several columns with their names in ``comments``. **Pupil position**: the
``SpatialSeries`` of an ``EyeTracking``, (time, 2). Missing samples, such as blinks, are bridged.

Species, area (``location`` of the neurons or the imaging plane) and the keyword ``simulated`` are
kept. ``predictive_model.exporters.nwb`` says what our own exporter writes.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pynwb import NWBHDF5IO, NWBFile

from predictive_model.importers.importer import COMMON, Importer
from predictive_model.importers.nwb_activity import Activity, find_activity
from predictive_model.importers.nwb_behaviour import Behaviour, find_behaviour
from predictive_model.importers.nwb_options import NwbOptions
from predictive_model.importers.nwb_presentations import (
    ImageStack,
    Presentations,
    find_presentations,
)
from predictive_model.importers.recorded import Recorded
from predictive_model.importers.report import ScanReport, count_tiers
from predictive_model.importers.usable import usable_recording
from predictive_model.recordings.recording import Recording, RecordingError


def read_nwb(
    path: Path | str,
    *,
    name: str | None = None,
    test_images: int | None = None,
    seed: int = 0,
    downsample: int = 1,
    species: str = "",
    area: str = "",
    options: NwbOptions | None = None,
) -> Recording:
    """Read a recording from an NWB file; the module's docstring says what is looked for where.

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
    options : NwbOptions, optional

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RecordingError
        If it cannot be read, lacks something, holds it more than once, or contradicts itself.

    Examples
    --------
    ``read_nwb("session.nwb", options=NwbOptions(responses="Deconvolved"))``
    """
    return scan_nwb(
        path,
        name=name,
        test_images=test_images,
        seed=seed,
        downsample=downsample,
        species=species,
        area=area,
        options=options,
    )[0]


def describe_nwb(path: Path | str, *, options: NwbOptions | None = None) -> ScanReport:
    """What is in an NWB file by its tables and the shapes of its data; these are not read."""
    path = Path(path)
    options = options or NwbOptions()
    with _opened(path) as file:
        found, images, activity, behaviour = _find(file, options)
        repeats = np.bincount(found.image_index, minlength=images.n)
        return ScanReport(
            format="nwb",
            name=path.stem,
            image_shape=images.shape,
            n_images=images.n,
            n_trials=len(found.start),
            n_neurons=activity.n_neurons,
            tiers=count_tiers(found.tier),
            n_repeated=int((repeats > 1).sum()),
            behaviour=behaviour.names,
            pupil=behaviour.pupil is not None,
            positions=activity.positions is not None,
            simulated=_simulated(file),
            notes=(*found.notes, *images.notes, *activity.notes, *behaviour.notes),
        )


def scan_nwb(
    path: Path | str,
    *,
    name: str | None = None,
    test_images: int | None = None,
    seed: int = 0,
    downsample: int = 1,
    species: str = "",
    area: str = "",
    options: NwbOptions | None = None,
) -> tuple[Recording, tuple[str, ...]]:
    """As :func:`read_nwb`, with notes on what was left out or is unusual."""
    path = Path(path)
    options = options or NwbOptions()
    with _opened(path) as file:
        found, images, activity, behaviour = _find(file, options)
        responses = activity.read(found, options.window_start, options.window_length)
        columns, pupil, bridged = behaviour.at((found.start + found.stop) / 2)
        notes = (*found.notes, *images.notes, *activity.notes, *behaviour.notes, *bridged)
        recorded = Recorded(
            images=images.read(downsample),
            image_index=found.image_index,
            responses=responses,
            behaviour=columns,
            pupil=pupil,
            tier=found.tier,
            neuron_ids=activity.ids,
            behaviour_names=behaviour.names or None,
            cortical_positions=activity.positions,
            notes=list(notes),
        )
        return usable_recording(
            recorded,
            name=name or path.stem,
            test_images=test_images,
            seed=seed,
            species=species or _species(file),
            area=area or activity.area,
            simulated=_simulated(file),
            options=options,
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[NWBFile]:
    """An NWB file whose data are read only where they are sliced."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected an NWB file")
    with contextlib.ExitStack() as stack:
        with warnings.catch_warnings():
            # They are about the versions of cached schemas, which nobody here can mend.
            warnings.simplefilter("ignore")
            try:
                io = stack.enter_context(NWBHDF5IO(str(path), "r"))
                file = io.read()
            except Exception as error:  # HDF5, hdmf and pynwb raise whatever they met
                said = " ".join(str(error).split())[:200]
                raise RecordingError(
                    f"{path}: cannot be read as an NWB file ({said}); check it with "
                    "`pynwb-validate`"
                ) from error
        try:
            yield file
        except OSError as error:
            raise RecordingError(
                f"{path}: is damaged ({error}); copy or download it again"
            ) from error


def _find(
    file: NWBFile, options: NwbOptions
) -> tuple[Presentations, ImageStack, Activity, Behaviour]:
    found, images = find_presentations(
        file,
        presentations=options.presentations,
        images=options.images,
        width_first=options.width_first,
    )
    activity = find_activity(file, options.responses, n_rows=found.n_rows)
    return found, images, activity, find_behaviour(file)


def _species(file: NWBFile) -> str:
    return (file.subject.species if file.subject is not None else None) or ""


def _simulated(file: NWBFile) -> bool:
    return "simulated" in ([] if file.keywords is None else [str(k) for k in file.keywords[:]])


def _scan(path: Path, **arguments: Any) -> tuple[Recording, tuple[str, ...]]:
    common = {n: arguments.pop(n) for n in COMMON}
    return scan_nwb(path, options=NwbOptions.of(arguments), **common)


def _describe(path: Path, **options: Any) -> ScanReport:
    return describe_nwb(path, options=NwbOptions.of(options))


IMPORTER = Importer(_scan, _describe)
