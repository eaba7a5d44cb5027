"""Recordings from NWB files (Neurodata Without Borders) that show images and record neurons.

NWB leaves open where things stand. This is where they are looked for; what is found in several
places is refused until :class:`NwbOptions` names one of them.

**Images**, each distinct one once: an ``ImageSeries`` or ``OpticalSeries`` of
(image, height, width[, colour]), or ``Images``, among the stimulus templates. ``Images`` are in the
order of ``order_of_images``, or of their names without it; the images of a series may be named by
its ``control_description``.

**Presentations**, the trials: a table of intervals (``trials`` first) with a column of
``numbers.IMAGE_COLUMNS`` that holds numbers of images from 0, or names; or an ``IndexSeries``
among the stimuli, whose presentations last until the next. Blanks are left out. A column ``tier``
of the table is taken as it is; otherwise tiers are assigned.

**Responses** to each presentation, the first of these that is there:

1. a ``TimeSeries`` called ``responses`` in a processing module, (presentation, neuron), as our
   own exporter writes it, with a table ``neurons`` beside it;
2. ``RoiResponseSeries``: the mean over the samples in a window after onset, by default half a
   second from 50 ms on, as in Walker et al. 2019. Deconvolved activity (by its name) goes before
   dF/F, dF/F before raw fluorescence; neuropil is never taken;
3. ``units`` with ``spike_times``: the number of spikes in the window.

Neurons are named by the column ``neuron_id`` of their table or its ids. Their positions are its
column ``position``, or ``x``, ``y`` and maybe ``z``, micrometres.

**Behaviour**, interpolated at the middle of each presentation: ``PupilTracking`` of one value (size
of the pupil), series of ``BehavioralTimeSeries`` or of a processing module called ``running``,
``speed``, ``velocity``, ``treadmill`` or ``locomotion`` somewhere in their name, and a series
``behaviour`` of several columns with their names in ``comments``. **Pupil position**: the
``SpatialSeries`` of an ``EyeTracking``, (time, 2). Missing samples, such as blinks, are bridged.

What the file itself calls unusable is left out (``flags``, ``neurons``, ``valid``), and
so is what was not recorded (``traces``, ``spikes``); times that contradict each other are
refused (``times``). Options take it after all.

Species, area (``location`` of the neurons or the imaging plane) and the keyword ``simulated`` are
kept. ``predictive_model.exporters.nwb`` says what our own exporter writes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from pynwb import NWBFile

from predictive_model.importers.complete import largest_complete
from predictive_model.importers.importer import DEFAULTS, Common, Importer
from predictive_model.importers.nwb.activity import find_activity
from predictive_model.importers.nwb.behaviour import Behaviour, find_behaviour
from predictive_model.importers.nwb.file import broken_links, opened
from predictive_model.importers.nwb.images import ImageStack
from predictive_model.importers.nwb.measured import Activity, Measured
from predictive_model.importers.nwb.presentations import Presentations, find_presentations
from predictive_model.importers.nwb.times import (
    on_windows,
    require_seconds,
    without_conflicts,
)
from predictive_model.importers.nwb.valid import valid_presentations
from predictive_model.importers.nwb_options import NwbOptions
from predictive_model.importers.recorded import Recorded
from predictive_model.importers.report import ScanReport, count_tiers
from predictive_model.importers.usable import usable_recording
from predictive_model.recordings.recording import Recording, RecordingError


def read_nwb(
    path: Path | str,
    *,
    options: NwbOptions | None = None,
    **common: Unpack[Common],
) -> Recording:
    """Read a recording from an NWB file; the module's docstring says what is looked for where.

    Parameters
    ----------
    path : Path or str
    options : NwbOptions, optional
    **common
        See :class:`~predictive_model.importers.importer.Common`.

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
    return scan_nwb(path, options=options, **common)[0]


def describe_nwb(path: Path | str, *, options: NwbOptions | None = None) -> ScanReport:
    """What is in an NWB file by its tables and the shapes of its data; these are not read."""
    path = Path(path)
    with opened(path) as file:
        found = _find(file, path, options or NwbOptions())
        shown = found.presentations
        repeats = np.bincount(shown.image_index, minlength=found.images.n)
        return ScanReport(
            format="nwb",
            name=path.stem,
            image_shape=found.images.shape,
            n_images=found.images.n,
            n_trials=len(shown.start),
            n_neurons=len(found.activity.neurons),
            tiers=count_tiers(shown.tier),
            n_repeated=int((repeats > 1).sum()),
            behaviour=found.behaviour.names,
            pupil=found.behaviour.pupil is not None,
            positions=found.activity.neurons.positions is not None,
            simulated=_simulated(file),
            notes=found.notes,
        )


def scan_nwb(
    path: Path | str,
    *,
    options: NwbOptions | None = None,
    **common: Unpack[Common],
) -> tuple[Recording, tuple[str, ...]]:
    """As :func:`read_nwb`, with notes on what was left out or is unusual."""
    path = Path(path)
    downsample = common.get("downsample", 1)
    options = options or NwbOptions()
    with opened(path) as file:
        found = _find(file, path, options)
        shown, neurons = found.presentations, found.activity.neurons
        measured = found.activity.read(shown, options)
        behaviour, pupil, on_behaviour = found.behaviour.at(shown)
        recorded = Recorded(
            images=found.images.read(downsample),
            image_index=shown.image_index,
            responses=measured.responses,
            behaviour=behaviour,
            pupil=pupil,
            tier=shown.tier,
            neuron_ids=neurons.ids,
            behaviour_names=found.behaviour.names or None,
            cortical_positions=neurons.positions,
            notes=[*found.notes, *measured.notes, *on_behaviour],
        )
        _leave_out_unrecorded(recorded, measured)
        return usable_recording(
            recorded,
            name=path.stem,
            species=_species(file),
            area=found.activity.area,
            simulated=_simulated(file),
            options=options,
            asked=common,
        )


@dataclass(frozen=True)
class _Found:
    """What is taken from a file, before responses, behaviour and images are read."""

    presentations: Presentations
    images: ImageStack
    activity: Activity
    behaviour: Behaviour
    links: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        parts = (self.presentations, self.images, self.activity, self.behaviour)
        return (*self.links, *(note for part in parts for note in part.notes))


def _find(file: NWBFile, path: Path, options: NwbOptions) -> _Found:
    links = broken_links(path)
    try:
        shown, images = find_presentations(file, options)
        activity = find_activity(file, options, n_rows=shown.n_rows)
        shown = valid_presentations(file, shown, options)
        if activity.timed:
            require_seconds(shown, options)
            shown = without_conflicts(shown)
            shown = replace(shown, notes=(*shown.notes, *on_windows(shown, options)))
        return _Found(shown, images, activity, find_behaviour(file, options), links)
    except RecordingError as error:
        if links:  # what is missed may be what they lead to
            raise RecordingError("; ".join((str(error), *links))) from error
        raise


def _leave_out_unrecorded(recorded: Recorded, measured: Measured) -> None:
    """Leave out the trials or neurons that were not recorded, whichever loses less."""
    if measured.recorded is None or measured.recorded.all():
        return
    trials, neurons = largest_complete(measured.recorded)
    if not (trials.any() and neurons.any()):
        raise RecordingError(
            f"responses: no trial has a valid response of any neuron, as "
            f"{'; '.join(measured.notes)}. A shorter window (--window-length) may be recorded whole"
        )
    recorded.keep("trial", trials)
    recorded.keep("neuron", neurons)
    left = [
        f"{int((~kept).sum())} of {len(kept)} {what}"
        for kept, what in ((trials, "trials"), (neurons, "neurons"))
        if not kept.all()
    ]
    recorded.notes.append(
        f"{' and '.join(left)} are left out, as they have no valid response: this loses least"
    )


def _species(file: NWBFile) -> str:
    return (file.subject.species if file.subject is not None else None) or ""


def _simulated(file: NWBFile) -> bool:
    return "simulated" in ([] if file.keywords is None else [str(k) for k in file.keywords[:]])


def _scan(path: Path, **arguments: Any) -> tuple[Recording, tuple[str, ...]]:
    common: Any = {n: arguments.pop(n) for n in DEFAULTS}
    return scan_nwb(path, options=NwbOptions.of(arguments), **common)


def _describe(path: Path, **options: Any) -> ScanReport:
    return describe_nwb(path, options=NwbOptions.of(options))


IMPORTER = Importer(_scan, _describe)
