"""Whether the times of an NWB file agree with each other: no two images at once, one clock."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictive_model.importers.nwb.presentations import Presentations
from predictive_model.importers.nwb.series import Clock
from predictive_model.importers.nwb_options import NwbOptions
from predictive_model.recordings.recording import RecordingError

SAME_TIME = 1e-3  # seconds
# Of presentations that contradict each other, more than this share is no slip of a few rows.
FEW = 0.1
# From one image to the next: longer is no experiment, but another unit of time.
LONGEST_INTERVAL = 100.0
# How much longer than the presentations a recording may last.
LONGEST_RECORDING = 200.0
# How much later than the last presentation timestamps end which count samples, at the least.
SAMPLES_BEYOND = 5.0
UNITS = {1e3: "milliseconds", 1e6: "microseconds"}  # by how many make a second
SAMPLES = ("samples", "SECONDS")
RESPONSE_UNIT = (
    "`--option response_unit={unit}` says so (for samples, one over their rate; 1 for seconds)"
)


def without_conflicts(found: Presentations) -> Presentations:
    """Presentations of which no two are at the same time.

    Of rows that stand there twice one is kept; others that overlap by more than half are left
    out if they are few.

    Raises
    ------
    RecordingError
        If they are more than a tenth.
    """
    order = np.argsort(found.start, kind="stable")
    start, length = found.start[order], (found.stop - found.start)[order]
    step = np.diff(start)
    shorter = np.minimum(length[:-1], length[1:])
    at_once = (step < SAME_TIME) | (step < shorter / 2)
    same = (step < SAME_TIME) & (np.diff(found.image_index[order]) == 0)
    in_conflict = np.zeros(len(order), bool)
    other = np.flatnonzero(at_once & ~same)
    in_conflict[order[other]] = in_conflict[order[other + 1]] = True
    n, n_conflicts = len(order), int(in_conflict.sum())
    if n_conflicts > FEW * n:
        raise RecordingError(_conflict(found, n_conflicts))
    if n_conflicts:
        row = found.rows[order[other[0]]]
        found = found.only(
            ~in_conflict,
            f"{n_conflicts} of {n} presentations overlap others with another image, as row {row} "
            f"does at {found.start[order[other[0]]]:.3f} s, and are left out",
        )
        return without_conflicts(found)
    if same.any():
        twice = np.zeros(n, bool)
        twice[order[np.flatnonzero(same) + 1]] = True
        found = found.only(~twice, f"{int(twice.sum())} presentations stood there twice")
    return found


def _conflict(found: Presentations, count: int) -> str:
    n = len(found.start)
    back = np.flatnonzero(np.diff(found.start) < 0)
    if np.ptp(found.start) < SAME_TIME:
        what = f"all {n} presentations start at {found.start[0]:.3f} s"
    elif len(back):
        last, next_ = found.start[back[0]], found.start[back[0] + 1]
        what = (
            f"the presentations start over at row {found.rows[back[0] + 1]}, from {last:.3f} back "
            f"to {next_:.3f} s, and {count} of {n} overlap others"
        )
    else:
        what = f"{count} of {n} presentations overlap another one by more than half"
    return (
        f"{found.name}: {what}, so it is not known when which image was shown; expected times "
        "since the session's start that go on from trial to trial: write start_time and stop_time "
        "anew, for instance with the onsets that the stimulus computer logged"
    )


def require_seconds(found: Presentations, options: NwbOptions) -> None:
    """Refuse presentations whose times are in no plausible unit.

    Raises
    ------
    RecordingError
        If the time from one to the next is so long that it must be milliseconds or less.
    """
    if options.presentation_unit is not None or len(found.start) < 2:
        return
    interval = float(np.median(np.diff(np.sort(found.start))))
    if interval > LONGEST_INTERVAL:
        raise RecordingError(
            f"{found.name}: an image every {interval:.6g} s, expected seconds; if these are "
            "milliseconds, `--option presentation_unit=0.001` says so, and if the "
            "responses have them too, `--option response_unit=0.001`; if they are samples, "
            "one over the sampling rate does"
        )


def on_windows(found: Presentations, options: NwbOptions) -> tuple[str, ...]:
    """A note on windows that reach into the next image."""
    if len(found.start) < 2:
        return ()
    interval = float(np.median(np.diff(np.sort(found.start))))
    if options.window_length <= 1.01 * interval:
        return ()
    return (
        f"windows of {options.window_length:g} s are longer than the {interval:.3g} s from one "
        "image to the next, so that responses are those to several; a shorter --window-length "
        "parts them",
    )


def require_overlap(
    found: Presentations, first: float, last: float, name: str, options: NwbOptions
) -> None:
    """Refuse responses from ``first`` to ``last`` second that most presentations are outside of.

    Raises
    ------
    RecordingError
        If more than half are; with the unit that would fit.
    """
    start = found.start + options.window_start
    outside = (start < first) | (start > last)
    if outside.mean() <= 0.5:
        return
    ratio = _span(start) / max(last - first, 1e-9)
    looks, unit = _unit(ratio) if ratio > min(UNITS) / 3 else ("another clock's", "SECONDS")
    raise RecordingError(
        f"{found.name}: {int(outside.sum())} of {len(start)} presentations are outside of the "
        f"recording, as they last from {start.min():.10g} to {start.max():.10g} s and {name!r} "
        f"from {first:.6g} to {last:.6g} s; their times look like {looks}: put both on the clock "
        f"of the session, or say what one unit is worth with `--option presentation_unit={unit}`"
    )


def require_seconds_of(
    found: Presentations, first: float, last: float, name: str, remedy: str
) -> None:
    """Refuse a series of which the presentations take up hardly any time.

    Raises
    ------
    RecordingError
        With the remedy, in which ``{unit}`` is the unit that it may be in.
    """
    ratio = (last - first) / max(_span(found.start), 1e-9)
    if len(found.start) > 1 and ratio > LONGEST_RECORDING:
        looks, unit = _unit(ratio)
        raise RecordingError(
            f"{name}: the presentations take up {1 / ratio:.2%} of its time, from {first:.6g} to "
            f"{last:.6g} s: its times look like {looks}, expected seconds; "
            + remedy.format(unit=unit)
        )


def require_times(clock: Clock, found: Presentations, name: str, remedy: str) -> None:
    """Refuse timestamps that are numbers of samples, or no seconds.

    Raises
    ------
    RecordingError
        If they are whole, one apart, and go on far beyond the presentations, or if these take up
        hardly any of their time; with the remedy, in which ``{unit}`` is the unit to be named.
    """
    counted = (np.diff(clock.times) == 1).all() and float(clock.times[0]).is_integer()
    if counted and clock.times[-1] > SAMPLES_BEYOND * found.stop.max():
        raise RecordingError(
            f"{name}: its timestamps count its samples, from {clock.times[0]:g} to "
            f"{clock.times[-1]:g}, while presentations end at {found.stop.max():.1f} s; "
            + remedy.format(unit=SAMPLES[1])
        )
    require_seconds_of(found, clock.times[0], clock.times[-1], name, remedy)


def _span(times: NDArray[np.float64]) -> float:
    return float(times.max() - times.min())


def _unit(ratio: float) -> tuple[str, str]:
    """What times are that are ``ratio`` times too large, and what one unit is worth."""
    for factor, name in UNITS.items():
        if factor / 3 < ratio < factor * 3:
            return name, f"{1 / factor:g}"
    return SAMPLES
