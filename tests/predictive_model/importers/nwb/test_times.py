"""Times in an NWB file that contradict each other, stop too early or are no seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pynwb import NWBFile, TimeSeries
from pynwb.behavior import PupilTracking

from tests.predictive_model.importers.nwb.sessions import (
    SHOWN,
    START,
    STOP,
    TIMES,
    Fill,
    by_name,
    by_trial,
    module,
    read,
    refused,
    stack,
    steady,
    traces,
    trials,
    units,
)

ALL = len(SHOWN)
EVERY = [steady()] * 4
ONES = np.ones((160, 3))


# -- spikes ------------------------------------------------------------------------------------

JOINED = np.r_[steady(until=8.0), steady(until=8.0)]  # the second belongs to 8 .. 16 s


def test_a_unit_whose_spike_times_start_over_is_left_out() -> None:
    """Sorted, it would have twice its spikes in the first half and none in the second."""
    parts = (stack(), trials(), units([JOINED, steady(), steady()]))
    scan, notes = read(*parts)
    np.testing.assert_array_equal(scan.neuron_ids, [101, 102])
    assert "the spike times of 1 of 3 units go back, by up to 7.950 s" in notes
    taken, _ = read(*parts, sort_spikes=True)
    assert taken.responses[0, 0] == 20 and taken.responses[-1, 0] == 0
    refused("sort_spikes=true", stack(), trials(), units([JOINED, JOINED, steady()]))


def test_spikes_in_no_order_are_sorted_and_those_padded_are_counted() -> None:
    shuffled = np.random.default_rng(0).permutation(steady())
    rounded = steady() + 1e-4 * (-1.0) ** np.arange(320)
    padded = np.r_[steady(), np.nan, np.nan]
    scan, notes = read(stack(), trials(), units([shuffled, rounded, padded]))
    assert np.abs(scan.responses - 10).max() <= 1
    assert "of 1 units were in no order" in notes and "of 1 units end with" in notes


# -- presentations -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start, message",
    [
        (0 * START, "all 16 presentations start at 0.000 s"),
        (np.r_[START[:8], START[:8]], "start over at row 8, from 6.600 back to 1.000 s"),
        (START / 4, "15? of 16 presentations overlap|16 of 16 presentations overlap"),
    ],
    ids=["all at 0", "start over", "too dense"],
)
def test_presentations_at_the_same_time_are_refused(start: Any, message: str) -> None:
    table = trials(start_time=start, stop_time=start + 0.5)
    refused(message, stack(), table, units(EVERY))


def test_an_index_series_that_stands_still_is_refused() -> None:
    def still(file: NWBFile) -> None:
        by_name(True)(file)
        file.stimulus["shown"].fields["timestamps"] = 0 * START

    refused("shown: its timestamps do not rise", still, units(EVERY))


def test_times_matter_only_where_something_has_times() -> None:
    """Trial averages, a row for each image, may all stand at 0."""
    table = trials(start_time=0 * START, stop_time=0 * STOP)
    assert read(stack(), table, by_trial(np.ones((16, 3))))[0].n_trials == ALL


def test_few_overlaps_are_left_out_and_rows_that_stand_twice_are_one() -> None:
    where = np.r_[0:5, 4, 5:16, 0:16]  # the fifth twice, and all of a second round
    start = np.r_[START[where[:17]], START + 20]
    start[9] = start[8] + 0.1
    table = trials(values=SHOWN[where], start_time=start, stop_time=start + 0.5)
    scan, notes = read(stack(), table, units([steady(until=40.0)] * 2))
    np.testing.assert_array_equal(scan.image_index, np.delete(SHOWN[where], [5, 8, 9]))
    assert "2 of 33 presentations overlap" in notes and "1 presentations stood there twice" in notes


def test_presentations_without_a_time_are_left_out() -> None:
    start, stop = START.copy(), STOP.copy()
    start[2], stop[-1] = np.nan, np.nan
    scan, notes = read(stack(), trials(start_time=start, stop_time=stop), units(EVERY))
    np.testing.assert_array_equal(scan.image_index, np.delete(SHOWN, [2, 15]))
    assert "2 presentations without a start and a later stop are left out" in notes


# -- recordings that end, or pause -------------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    [
        traces(data=ONES[:133], timestamps=TIMES[:133]),  # until 13.3, the last window to 13.55 s
        units([steady(40.0, until=13.3)] * 2),
        traces(data=ONES[10:], timestamps=TIMES[10:] + 0.5),  # from 1.5, the first from 1.05 s
    ],
    ids=["traces", "spikes", "traces that begin too late"],
)
def test_windows_that_are_not_recorded_whole_are_left_out(part: Fill) -> None:
    scan, notes = read(stack(), trials(), part)
    assert scan.n_trials == ALL - 1
    assert "windows of 1 presentations to their ends" in notes
    assert "1 of 16 trials are left out" in notes
    assert read(stack(), trials(), part, all_trials=True)[0].n_trials == ALL


def test_windows_in_a_pause_of_the_recording_are_left_out() -> None:
    there = (START[3] + 0.2 > TIMES) | (START[5] < TIMES)
    part = traces(data=ONES[there], timestamps=TIMES[there])
    scan, _ = read(stack(), trials(), part)
    np.testing.assert_array_equal(scan.image_index, np.delete(SHOWN, [3, 4]))


def test_samples_without_a_time_or_a_value_are_left_out() -> None:
    times, data = TIMES.copy(), np.tile(TIMES[:, None], 3)
    times[11], data[20] = np.nan, np.nan  # one sample of the first window, one of the second
    scan, notes = read(stack(), trials(), traces(data=data, timestamps=times))
    inside = (START[0] + 0.05 <= TIMES) & (START[0] + 0.55 > TIMES)
    assert scan.responses[0, 0] == pytest.approx(TIMES[inside][1:].mean(), rel=1e-5)
    assert scan.n_trials == ALL and "1 samples of 'Deconvolved' have no time" in notes


# -- windows and samples -----------------------------------------------------------------------


def test_a_window_shorter_than_a_sample_takes_the_nearest() -> None:
    """Imaging at 2.5 Hz, a window of .1 s: most hold no sample at all."""
    times = TIMES[::4]
    part = traces(data=np.tile(times[:, None], 3), timestamps=times)
    scan, notes = read(stack(), trials(), part, window_length=0.1)
    middle = START + 0.1
    nearest = times[np.abs(times[:, None] - middle - 1e-9).argmin(0)]
    np.testing.assert_allclose(scan.responses[:, 0], nearest, atol=1e-5)
    assert "shorter than a sample of 'Deconvolved', 0.4 s" in notes
    rare = traces(data=ONES[::16], timestamps=TIMES[::16])
    refused("a sample every 1.6 s, but an image every 0.8 s", stack(), trials(), rare)


def test_windows_that_reach_into_the_next_image_are_said() -> None:
    parts = (stack(), trials(), units(EVERY))
    assert "longer than the 0.8 s" in read(*parts, window_length=1.0)[1]
    assert "longer than" not in read(*parts)[1]


# -- clocks ------------------------------------------------------------------------------------

MS = {"start_time": 1e3 * START, "stop_time": 1e3 * STOP}
SPIKES_MS, TRACE_MS = units([1e3 * steady()] * 4), traces(timestamps=1e3 * TIMES)
SLOW = {"presentation_unit": 0.001}
FAST = {"response_unit": 0.001}


@pytest.mark.parametrize(
    "parts, message, options",
    [
        ((trials(**MS), units(EVERY)), "an image every 800 s.*presentation_unit=0.001", SLOW),
        ((trials(**MS), traces()), "an image every 800 s.*presentation_unit=0.001", SLOW),
        ((trials(), SPIKES_MS), "look like milliseconds, .*`--option response_unit=0.001`", FAST),
        ((trials(), TRACE_MS), "look like milliseconds.*response_unit=0.001", FAST),
        ((trials(**MS), SPIKES_MS), "presentation_unit=0.001.*response_unit=0.001", SLOW | FAST),
        ((trials(), units([3e4 * steady()] * 4)), "look like samples", {"response_unit": 1 / 3e4}),
        (
            (trials(), traces(timestamps=np.arange(160.0))),
            "its timestamps count its samples.*response_unit",
            {"response_unit": 0.1},
        ),
    ],
    ids=["trials", "trials of traces", "spikes", "traces", "both", "samples", "frames"],
)
def test_clocks_of_another_unit_are_refused_and_read_when_it_is_named(
    parts: tuple[Fill, ...], message: str, options: dict[str, float]
) -> None:
    refused(message, stack(), *parts)
    scan, _ = read(stack(), *parts, **options)
    of_traces = scan.neuron_ids is not None and scan.neuron_ids[0] == 32
    expected, _ = read(stack(), trials(), traces() if of_traces else units(EVERY))
    np.testing.assert_allclose(scan.responses, expected.responses, rtol=1e-4, atol=1)


def test_trials_of_another_clock_than_the_recording_are_refused() -> None:
    late = trials(start_time=START + 500, stop_time=STOP + 500)
    refused("16 of 16 presentations are outside of the rec", stack(), late, units(EVERY))


# -- behaviour ---------------------------------------------------------------------------------


def running(data: Any, timestamps: Any, name: str = "running_speed") -> Fill:
    series = {"name": name, "data": data, "timestamps": timestamps, "unit": "cm/s"}
    return lambda file: module(file, "behavior").add(TimeSeries(**series))


def test_trials_that_behaviour_does_not_cover_are_left_out_if_they_are_few() -> None:
    short = TIMES[:126]  # until 12.5; the last trial's middle is at 13.25 s
    parts = (stack(), trials(), units(EVERY), running(short, short))
    scan, notes = read(*parts)
    assert scan.n_trials == ALL - 1 and scan.behaviour_names == ("running_speed",)
    assert "not known in 1 of 16 trials" in notes and "without=running_speed" in notes
    scan, notes = read(*parts, without="running_speed")
    assert scan.n_trials == ALL and scan.behaviour is None


@pytest.mark.parametrize(
    "data, timestamps",
    [(TIMES[:50], TIMES[:50]), (np.nan * TIMES, TIMES)],
    ids=["too short", "never seen"],
)
def test_behaviour_of_few_trials_is_left_out_itself(data: Any, timestamps: Any) -> None:
    parts = (stack(), trials(), units(EVERY), running(data, timestamps))
    scan, notes = read(*parts)
    assert scan.n_trials == ALL and scan.behaviour is None
    assert "'running_speed'" in notes and "columns of behaviour are left out" in notes


def test_long_gaps_of_behaviour_are_not_bridged() -> None:
    times, data = np.arange(0, 30, 0.1), np.arange(0, 30, 0.1)
    data[(times > 14) & (times < 20)] = np.nan
    start = np.r_[START, 17.0, 21 + START[:4]]
    table = trials(values=np.r_[SHOWN, 3, SHOWN[:4]], start_time=start, stop_time=start + 0.5)
    scan, notes = read(stack(), table, units([steady(until=30.0)] * 2), running(data, times))
    assert scan.n_trials == len(start) - 1 and "with gaps of up to 6.0 s" in notes


@pytest.mark.parametrize(
    "timestamps, message",
    [
        (np.r_[TIMES[:80], TIMES[:80]], "its timestamps do not rise: they go back at sample 80"),
        (0 * TIMES, "its timestamps do not rise: most are the one before"),
        (np.arange(160.0), "its timestamps count its samples"),
        (1e3 * TIMES, "the presentations take up 0.08% .* look like milliseconds"),
    ],
    ids=["start over", "stand still", "frames", "milliseconds"],
)
def test_behaviour_at_no_known_time_is_refused_with_a_way_on(timestamps: Any, message: str) -> None:
    def pupil(file: NWBFile) -> None:
        size = TimeSeries(name="size", data=TIMES, timestamps=timestamps, unit="mm")
        module(file, "behavior").add(PupilTracking(time_series=size))

    parts = (stack(), trials(), units(EVERY), pupil)
    refused(f"size: {message}.*`--option without=size`", *parts)
    assert read(*parts, without="size")[0].n_trials == ALL
    refused("without: 'licks' is no behaviour of this file", *parts, without="licks")
