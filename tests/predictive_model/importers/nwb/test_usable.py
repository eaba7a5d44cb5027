"""What an NWB file itself calls unusable is not used, and said; an option takes it after all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pynwb import NWBFile, TimeSeries
from pynwb.ophys import DfOverF

from predictive_model.importers.nwb import describe_nwb
from predictive_model.recordings.recording import RecordingError
from tests.predictive_model.importers.nwb.sessions import (
    PICTURES,
    SHOWN,
    START,
    TIMES,
    Fill,
    by_trial,
    in_memory,
    module,
    read,
    stack,
    steady,
    traces,
    trials,
    units,
)

ALL = len(SHOWN)
END = START + 0.55  # of the windows
EVERY = [steady()] * 4
FROM_0_05_TO_0_55 = 10  # spikes of a steady unit in a window


# -- trials ------------------------------------------------------------------------------------


def invalid(*intervals: tuple[float, float]) -> Fill:
    def fill(file: NWBFile) -> None:
        for start, stop in intervals:
            file.add_invalid_time_interval(start_time=start, stop_time=stop)

    return fill


def epochs(*tagged: tuple[float, float, list[str]]) -> Fill:
    def fill(file: NWBFile) -> None:
        for start, stop, tags in tagged:
            file.add_epoch(start_time=start, stop_time=stop, tags=tags)

    return fill


def tags(*words: str) -> Fill:
    """The trials, of which the first has these words among its tags."""

    def fill(file: NWBFile) -> None:
        file.add_trial_column("image_index", "n")
        for row, (start, image) in enumerate(zip(START, SHOWN, strict=True)):
            file.add_trial(
                start_time=start, stop_time=start + 0.5, image_index=image,
                tags=list(words) if row == 0 else ["seen"],
            )  # fmt: skip

    return fill


@pytest.mark.parametrize(
    "part",
    [
        invalid((START[3] + 0.52, START[6])),  # from within a window to the next onset but two
        epochs((0.0, START[3], ["first half"]), (START[3], START[5] + 0.2, ["artifact"])),
    ],
    ids=["invalid_times", "an epoch tagged so"],
)
def test_presentations_during_invalid_times_are_left_out(part: Fill) -> None:
    parts = (stack(), trials(), units(EVERY), part)
    scan, notes = read(*parts)
    np.testing.assert_array_equal(scan.image_index, np.delete(SHOWN, [3, 4, 5]))
    assert "3 of 16 presentations are left out, as the file calls them invalid" in notes
    with in_memory(*parts) as path:
        assert describe_nwb(path).n_trials == 13
    every, notes = read(*parts, all_trials=True)
    assert every.n_trials == ALL and "in spite of the file" in notes


NO = np.arange(ALL) == 0


@pytest.mark.parametrize(
    "part",
    [
        trials(valid=~NO),
        trials(is_bad=NO.astype(int)),
        trials(artifact=NO.astype(float)),
        trials(is_valid_trial=np.where(NO, "False", "True").astype(object)),
        trials(status=np.where(NO, "invalid", "done").astype(object)),
        tags("seen", "invalid"),
    ],
    ids=["valid", "is_bad", "artifact", "text", "status", "tags"],
)
def test_a_presentation_that_its_table_calls_invalid_is_left_out(part: Fill) -> None:
    scan, notes = read(stack(), part, units(EVERY))
    np.testing.assert_array_equal(scan.image_index, SHOWN[1:])
    assert "1 of 16 presentations are left out" in notes


def test_columns_of_other_things_flag_no_presentation() -> None:
    part = trials(
        correct=NO.astype(int), artifact=np.linspace(0, 3, ALL), valid=np.full(ALL, np.nan)
    )
    assert read(stack(), part, units(EVERY))[0].n_trials == ALL


def test_a_file_that_calls_everything_invalid_is_refused_with_a_way_on() -> None:
    parts = (stack(), trials(), units(EVERY), invalid((0.0, 100.0)))
    with pytest.raises(RecordingError, match="all 16 presentations invalid.*all_trials=true"):
        read(*parts)
    assert read(*parts, all_trials=True)[0].n_trials == ALL


# -- units -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [
        {"quality": ["good", "noise", "mua", "good"]},
        {"group": ["good", "Noise", "mua", "unsorted"]},
        {"KSLabel": ["good", "good", "mua", "mua"], "group": ["", "noise", "unsorted", "good"]},
        {"decoder_label": ["sua", "noise", "mua", "sua"]},
        {"is_good": [True, False, True, True]},
        {"quality": ["good", "fair", "good", "good"], "bad_unit": [0, 1, 0, 0]},
    ],
    ids=lambda columns: " and ".join(columns),
)  # fmt: skip
def test_units_called_noise_are_left_out(columns: dict[str, Any]) -> None:
    parts = (stack(), trials(), units(EVERY, **columns))
    scan, notes = read(*parts)
    np.testing.assert_array_equal(scan.neuron_ids, [100, 102, 103])
    assert "1 of 4 neurons in 'units' are left out" in notes
    assert read(*parts, all_neurons=True)[0].n_neurons == 4


def test_multi_unit_activity_is_reported_and_left_out_on_demand() -> None:
    parts = (stack(), trials(), units(EVERY, quality=["good", "mua", "mua", "good"]))
    assert "called 'mua' (2); `--option quality=good`" in read(*parts)[1]
    scan = read(*parts, quality="good")[0]
    np.testing.assert_array_equal(scan.neuron_ids, [100, 103])
    with pytest.raises(RecordingError, match="none of its 4 neurons is usable.*all_neurons=true"):
        read(*parts, quality="single")
    with pytest.raises(RecordingError, match="'units' has no labels of quality"):
        read(stack(), trials(), units(EVERY, group=["a", "b", "c", "d"]), quality="good")


def test_measures_of_sorting_are_reported_and_choose_nothing() -> None:
    part = units(EVERY, isi_violations=[0.0, 9.0, 0.1, 3.0])
    scan, notes = read(stack(), trials(), part)
    assert scan.n_neurons == 4 and "not chosen by isi_violations" in notes


def test_units_on_bad_electrodes_only_are_left_out() -> None:
    def probe(file: NWBFile) -> None:
        group = file.create_electrode_group("p", "p", "V1", file.create_device("probe"))
        file.add_electrode_column("bad", "b")
        for bad in (True, False, True):
            file.add_electrode(group=group, location="V1", bad=bad)
        for electrodes in ([0, 2], [0, 1], [1]):
            file.add_unit(spike_times=steady(), electrodes=electrodes)

    scan, notes = read(stack(), trials(), probe)
    np.testing.assert_array_equal(scan.neuron_ids, [1, 2])
    assert "1 by their bad electrodes" in notes


WHOLE = [[0.0, 20.0]]


@pytest.mark.parametrize(
    "intervals, trials_left, units_left",
    [
        ([WHOLE, WHOLE, [[0.0, END[3]]], WHOLE], ALL, 3),
        ([[[0.0, END[12]]]] * 4, 13, 4),
        ([[[0.0, START[5] + 0.3], [START[5] + 0.3, 20.0]], *[WHOLE] * 3], ALL, 4),
        ([[[0.0, START[5] + 0.3], [START[5] + 0.31, 20.0]], *[WHOLE] * 3], ALL - 1, 4),
        ([[[0.0, END[12]]], [[0.0, END[12]]], [[5.0, 6.0]], [[0.0, END[12]]]], 13, 3),
    ],
    ids=["one unit", "the end", "intervals that touch", "a gap", "one unit and the end"],
)
def test_what_was_not_observed_is_left_out_whichever_loses_less(
    intervals: Any, trials_left: int, units_left: int
) -> None:
    """Spikes are counted in observation intervals only: none outside of them says nothing."""
    parts = (stack(), trials(), units(EVERY, obs_intervals=intervals))
    scan, notes = read(*parts)
    assert (scan.n_trials, scan.n_neurons) == (trials_left, units_left)
    assert (scan.responses == FROM_0_05_TO_0_55).all()
    if (trials_left, units_left) != (ALL, 4):
        assert "obs_intervals do not hold the windows" in notes
        every, _ = read(*parts, all_trials=True)
        assert (every.n_trials, every.n_neurons) == (ALL, 4)


def test_observation_of_no_whole_window_is_refused_with_a_way_on() -> None:
    seen = [np.stack([START, START + 0.5], 1)] * 4  # windows go on for another .05 s
    parts = (stack(), trials(), units(EVERY, obs_intervals=seen))
    with pytest.raises(RecordingError, match="obs_intervals do not .* shorter window"):
        read(*parts)
    assert read(*parts, window_length=0.45)[0].n_trials == ALL


# -- cells -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [
        {"iscell": np.stack([[1, 1, 0, 1.0], [0.9, 0.8, 0.7, 0.6]], 1)},
        {"iscell": [True, True, False, True]},
        {"iscell": [0.9, 0.8, 0.2, 0.6]},
        {"is_cell": [1, 1, 0, 1]},
        {"Accepted": [1, 1, 0, 1], "Rejected": [0, 0, 1, 0]},
        {"Rejected": [0, 0, 1, 0]},
        {"valid_roi": [True, True, False, True]},
    ],
    ids=["two columns", "bool", "probability", "is_cell", "Accepted", "Rejected", "valid_roi"],
)
def test_regions_that_the_segmentation_rejected_are_left_out(columns: dict[str, Any]) -> None:
    """The series has the ROIs 32, 33 and 34 of the table's four, and the third is no cell."""
    parts = (stack(), trials(), traces(columns=columns))
    scan, notes = read(*parts)
    np.testing.assert_array_equal(scan.neuron_ids, [32, 34])
    middle = np.array([TIMES[(s + 0.05 <= TIMES) & (s + 0.55 > TIMES)].mean() for s in START])
    np.testing.assert_allclose(scan.responses[:, 0], middle, rtol=1e-5)
    assert scan.cortical_positions is not None and scan.cortical_positions[1, 0] == 150
    assert "1 of 3 neurons in 'cells' are left out" in notes
    assert read(*parts, all_neurons=True)[0].n_neurons == 3


# -- neuropil ----------------------------------------------------------------------------------

NINE = np.full((160, 3), 9.0)


@pytest.mark.parametrize("box", ["Neuropil", "NeuropilFluorescence", "Fneu", "Background"])
def test_neuropil_is_told_by_its_container(box: str) -> None:
    parts = (traces("plane0", box="Fluorescence"), traces("plane0", box=box, data=NINE))
    scan, notes = read(stack(), trials(), *parts)
    assert scan.responses[0, 2] == 0
    assert f"not {box}/plane0" in notes
    with pytest.raises(RecordingError, match="neuropil, .* is no neuron's response"):
        read(stack(), trials(), parts[1])


def test_fluorescence_that_neuropil_was_taken_from_is_none() -> None:
    scan, _ = read(stack(), trials(), traces("neuropil_corrected", data=NINE))
    assert (scan.responses == 9).all()


# -- units of measurement ----------------------------------------------------------------------


def test_samples_are_taken_in_the_unit_that_the_file_names() -> None:
    """Stored as (dF/F + 1) x 1000: what comes is data x conversion + offset."""

    def running(file: NWBFile) -> None:
        series = TimeSeries(
            name="running_speed", data=(10 * TIMES).astype("i2"), timestamps=TIMES, unit="cm/s",
            conversion=0.5, offset=-2.0,
        )  # fmt: skip
        module(file, "behavior").add(series)

    stored = np.full((160, 3), 1500, "u2")
    parts = (traces("dff", DfOverF, data=stored, conversion=0.001, offset=-1.0), running)
    scan, notes = read(stack(), trials(), *parts)
    np.testing.assert_allclose(scan.responses, 0.5, atol=1e-6)
    assert scan.behaviour is not None
    np.testing.assert_allclose(scan.behaviour[:, 0], 5 * (START + 0.25) - 2, atol=0.3)
    assert "'dff' is its data times 0.001, plus -1, as the file says" in notes


def test_negative_samples_are_told_after_the_conversion() -> None:
    parts = (stack(), trials(), traces(data=np.full((160, 3), 500, "u2"), offset=-1.0,
                                       conversion=0.001))  # fmt: skip
    with pytest.raises(RecordingError, match="48 values are negative"):
        read(*parts)
    scan, _ = read(*parts, negative="keep")
    np.testing.assert_allclose(scan.responses, -0.5, atol=1e-6)


def test_images_and_responses_of_trials_are_converted_too() -> None:
    scan, _ = read(stack(conversion=2.0), trials(), by_trial(np.ones((16, 3)), offset=1.0))
    np.testing.assert_array_equal(scan.images[:, 0], 2.0 * PICTURES)
    assert (scan.responses == 2).all()
