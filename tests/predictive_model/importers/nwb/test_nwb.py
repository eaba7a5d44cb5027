"""NWB files of other laboratories, laid out in the common ways, and those that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pydantic import ValidationError
from pynwb import NWBFile
from pynwb.base import Images
from pynwb.file import Subject
from pynwb.image import GrayscaleImage, ImageSeries, OpticalSeries
from pynwb.ophys import DfOverF

from predictive_model.importers import read_recording, scan_recording
from predictive_model.importers.nwb import NwbOptions, read_nwb
from predictive_model.recordings.recording import RecordingError
from tests.predictive_model.importers.nwb.sessions import (
    PICTURES,
    SHOWN,
    START,
    TIMES,
    Fill,
    N,
    behaviour,
    by_name,
    by_trial,
    session,
    stack,
    traces,
    trials,
    units,
)
from tests.predictive_model.importers.scans import toy, written

# -- layouts that are understood ---------------------------------------------------------------


def test_traces_are_averaged_in_the_window_of_each_trial(tmp_path: Path) -> None:
    path = session(tmp_path, stack(), trials(), traces(), behaviour)
    scan, report = scan_recording(path)
    # From 0.05 to 0.55 s after onset there are five samples; their mean is their middle.
    first = np.array([TIMES[(s + 0.05 <= TIMES) & (s + 0.55 > TIMES)].mean() for s in START])
    expected = np.stack([first, 2 * first, 0 * first], axis=1)
    np.testing.assert_allclose(scan.responses, expected, rtol=1e-5)
    np.testing.assert_array_equal(scan.image_index, SHOWN)
    np.testing.assert_array_equal(scan.images[:, 0], PICTURES)
    np.testing.assert_array_equal(scan.neuron_ids, [32, 33, 34])
    np.testing.assert_array_equal(scan.cortical_positions[0], [130, 131, 132])
    assert scan.area == "VISp"
    assert set(scan.image_index[scan.tier == "test"]) == {0, 1}
    later = read_nwb(path, options=NwbOptions(window_start=0.25))
    np.testing.assert_allclose(later.responses, expected + [0.2, 0.4, 0], rtol=1e-5)

    middle = START + 0.25
    assert scan.behaviour_names == ("pupil_size", "running_speed")
    np.testing.assert_allclose(scan.behaviour[:, 1], 3 * middle, rtol=1e-6)
    # A blink is bridged: the line goes on, as this eye moves at a constant speed.
    np.testing.assert_allclose(scan.pupil, np.stack([middle, -middle], 1), rtol=1e-6)
    notes = " ".join(report.notes)
    assert "1.9% of 'pupil' are missing and bridged" in notes
    assert "behaviour 'licks' is left out" in notes


def test_deconvolved_activity_goes_before_df_over_f_and_that_before_fluorescence(
    tmp_path: Path,
) -> None:
    several = [
        traces("RawF", data=np.full((160, 3), 9.0)),
        traces("Neuropil", data=np.full((160, 3), 7.0)),
        traces("plane0", DfOverF, data=np.full((160, 3), 5.0)),
    ]
    for extra, expected in (([], 5), ([traces("Inferred", data=np.full((160, 3), 2.0))], 2)):
        path = session(tmp_path, stack(), trials(), *several, *extra)
        scan, report = scan_recording(path)
        np.testing.assert_array_equal(scan.responses, expected)
        assert "RawF" in report.notes[0]
    named = read_nwb(path, options=NwbOptions(responses="RawF"))
    np.testing.assert_array_equal(named.responses, 9)


def test_spikes_are_counted_in_the_window(tmp_path: Path) -> None:
    at = START[3] + 0.05
    spikes = [[at, at + 0.1, at + 0.499, at + 0.501, at - 0.001], [20.0], []]
    # Units keep their spikes in no particular order in some files.
    path = session(tmp_path, stack(), trials(), units([np.array(s) for s in spikes]))
    scan = read_recording(path)
    expected = np.zeros((len(SHOWN), 3))
    expected[3, 0] = 3
    np.testing.assert_array_equal(scan.responses, expected)
    np.testing.assert_array_equal(scan.neuron_ids, [100, 101, 102])


@pytest.mark.parametrize("order", [None, np.arange(N)[::-1]], ids=["as added", "reversed"])
def test_an_index_series_shows_images_in_the_order_that_they_say(
    tmp_path: Path, order: Any
) -> None:
    scan = read_recording(session(tmp_path, by_name(True, order), traces()))
    np.testing.assert_array_equal(scan.image_index, SHOWN)
    np.testing.assert_array_equal(scan.images[:, 0], PICTURES if order is None else PICTURES[order])


def test_images_may_be_called_by_their_names(tmp_path: Path) -> None:
    names = [f"scene_{i}" for i in SHOWN]
    path = session(tmp_path, by_name(False), trials(column="stimulus", values=names), traces())
    scan, report = scan_recording(path)
    np.testing.assert_array_equal(scan.image_index, SHOWN)
    np.testing.assert_array_equal(scan.images[:, 0], PICTURES)
    assert "'scenes' has no order_of_images: images go by their names" in report.notes


def test_blank_presentations_are_left_out(tmp_path: Path) -> None:
    """As in the visual coding files of the Allen Institute: floats, -1 for a grey screen."""
    frames = SHOWN.astype(float)
    frames[[2, 5]] = -1, np.nan
    path = session(
        tmp_path,
        stack(PICTURES.astype("f8"), OpticalSeries),
        trials("natural_scenes_presentations", "frame", frames),
        trials("drifting_gratings_presentations", "orientation", frames),
        traces(),
    )
    scan, report = scan_recording(path)
    kept = np.delete(np.arange(len(SHOWN)), [2, 5])
    np.testing.assert_array_equal(scan.image_index, SHOWN[kept])
    whole = read_recording(session(tmp_path, stack(), trials(), traces()))
    np.testing.assert_array_equal(scan.responses, whole.responses[kept])
    assert report.notes[0] == "2 presentations without an image are left out"
    assert scan.images.dtype == np.float32


def test_rows_of_a_response_array_follow_the_trials_that_are_left(tmp_path: Path) -> None:
    values = np.arange(48, dtype=float).reshape(16, 3)
    shown = np.where(np.arange(16) == 2, -1, SHOWN)
    path = session(tmp_path, stack(), trials(values=shown), by_trial(values))
    np.testing.assert_array_equal(read_recording(path).responses, np.delete(values, 2, axis=0))


def test_images_may_be_stored_width_first_and_in_colour(tmp_path: Path) -> None:
    colour = np.stack([PICTURES, PICTURES // 2, PICTURES // 3], axis=-1)
    path = session(tmp_path, stack(colour), trials(), traces())
    np.testing.assert_array_equal(read_recording(path).images, colour.transpose(0, 3, 1, 2))
    path = session(tmp_path, stack(PICTURES.transpose(0, 2, 1)), trials(), traces())
    scan = read_recording(path, nwb=NwbOptions(width_first=True))
    np.testing.assert_array_equal(scan.images[:, 0], PICTURES)


def test_negative_responses_are_clipped_only_on_demand(tmp_path: Path) -> None:
    data = np.full((160, 3), -0.5)
    data[:, 0] = 2
    path = session(tmp_path, stack(), trials(), traces("dff", data=data))
    with pytest.raises(RecordingError, match="32 values are negative .* `--option negative=clip`"):
        read_recording(path)
    assert read_recording(path, options={"negative": "keep"}).responses.min() == -0.5
    scan, report = scan_recording(path, nwb=NwbOptions(clip_negative=True))
    np.testing.assert_array_equal(scan.responses, np.clip(data[:16], 0, None))
    assert "32 negative responses (66.7%) were set to 0" in report.notes


def test_tiers_species_and_simulation_are_kept(tmp_path: Path) -> None:
    tier = np.where(SHOWN < 2, "test", np.where(SHOWN < 4, "validation", "train"))

    def about(file: NWBFile) -> None:
        file.subject = Subject(subject_id="m1", species="Mus musculus")
        file.keywords = ["vision", "simulated"]

    path = session(tmp_path, stack(), trials(tier=tier.tolist()), traces(), about)
    scan = read_recording(path)
    np.testing.assert_array_equal(scan.tier, tier)
    assert (scan.species, scan.simulated) == ("Mus musculus", True)


# -- refusals ----------------------------------------------------------------------------------

WHOLE = (stack(), trials(), traces())
SHORT = slice(0, 50)


def external(file: NWBFile) -> None:
    file.add_stimulus_template(
        ImageSeries(
            name="scenes", external_file=["a.tif"], format="external", rate=1.0, num_samples=2
        )
    )


def two_sizes(file: NWBFile) -> None:
    images = [GrayscaleImage(name=f"i{n}", data=np.ones((n, 4))) for n in (4, 5)]
    file.add_stimulus_template(Images(name="scenes", images=images))


REFUSED: dict[str, tuple[tuple[Fill, ...], str]] = {
    "nothing": ((), "presentations: the file has none; expected a table of intervals"),
    "no images": ((trials(), traces()), "images: the file has none; expected an ImageSeries"),
    "no responses": ((stack(), trials()), "responses: the file has none; expected a TimeSeries"),
    "no presentations": ((stack(), traces()), "presentations: the file has none"),
    "trials without images": (
        (stack(), trials(column="reward"), traces()), "presentations: the file has none",
    ),
    "two tables": (
        (stack(), trials("first"), trials("second"), traces()),
        r"presentations: found \['first', 'second'\]; say which with `presentations`",
    ),
    "two templates": (
        (*WHOLE, stack(name="others")), r"images: found \['others', 'scenes'\]; say which",
    ),
    "traces of one kind twice": (
        (*WHOLE, traces("Deconvolved2")), r"responses: found \['Deconvolved', 'Deconvolved2'\]",
    ),
    "traces and spikes": ((*WHOLE, units([[1.0]])), r"responses: found \['Deconvolved', 'units'\]"),
    "images elsewhere": ((external, trials(), traces()), "scenes: its images are in other files"),
    "images of two sizes": ((two_sizes, trials(), traces()), "scenes: images of 2 shapes"),
    "images of four colours": (
        (stack(np.ones((N, 6, 8, 4))), trials(), traces()), r"scenes: 12 images of shape \(6, 8, 4",
    ),
    "images that are not finite": (
        (stack(np.full((N, 6, 8), np.nan)), trials(), traces()), "images: 12 hold values that are",
    ),
    "blank images": ((stack(np.ones((N, 6, 8))), trials(), traces()), "images: 12 are constant"),
    "an image too many": (
        (stack(), trials(values=SHOWN + 1), traces()),
        "trials: shows image 12, expected 0 to 11 for the 12 images of 'scenes'",
    ),
    "fractions of images": (
        (stack(), trials(values=SHOWN + 0.5), traces()), "trials.image_index: holds fractions",
    ),
    "unknown names": (
        (by_name(False), trials(values=["cat"] * 16), traces()),
        "trials.image_index: 'cat' is no image of 'scenes', which has .'scene_0'",
    ),
    "names of nameless images": (
        (stack(), trials(values=["cat"] * 16), traces()), "'scenes', which has no names",
    ),
    "blanks only": ((stack(), trials(values=SHOWN * 0 - 1), traces()), "trials: shows no image"),
    "a stop before the start": (
        (stack(), trials(stop_time=START - 1), traces()), "trials: row 0 lasts from 1.0 to 0.0 s",
    ),
    "a start that is unknown": (
        (stack(), trials(start_time=START * np.nan), traces()), "trials: row 0 lasts from nan",
    ),
    "an unknown tier": (
        (stack(), trials(tier=["trian"] * 16), traces()), r"tier: found \['trian'\], expected only",
    ),
    "images in two tiers throughout": (
        (stack(), trials(tier=["train"] + ["test"] * 15), traces()), "tier: .* nothing to train",
    ),
    "traces that end too early": (
        (stack(), trials(), traces(data=np.ones((50, 3)), timestamps=TIMES[SHORT])),
        "trials: 11 of 16 presentations are outside of the recording, as .*'Deconvolved' from 0 to",
    ),
    "traces that go back in time": (
        (stack(), trials(), traces(timestamps=TIMES[::-1])), "Deconvolved: its timestamps do not",
    ),
    "traces of other neurons": (
        (stack(), trials(), traces(rois=2)), r"Deconvolved: shape \(160, 3\) for 2 ROIs",
    ),
    "traces with gaps": (
        (stack(), trials(), traces(data=np.full((160, 3), np.nan))), "responses: 16 trials hold",
    ),
    "spikes at no time": (
        (stack(), trials(), units([[np.nan, 1.0]])), "1 units have spikes without a time",
    ),
    "rows that are too few": (
        (stack(), trials(), by_trial(np.ones((16, 3)), rows=2)), "neurons: 2 rows for the 3 column",
    ),
    "responses of one axis": (
        (stack(), trials(), by_trial(np.ones(16))), r"responses: shape \(16,\), expected \(16, neu",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("parts, message", REFUSED.values(), ids=REFUSED)
def test_a_session_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, parts: tuple[Fill, ...], message: str
) -> None:
    path = session(tmp_path, *parts)
    with pytest.raises(RecordingError, match=message) as caught:
        read_recording(path)
    assert str(caught.value).startswith(str(path))
    assert os.listdir(tmp_path) == ["session.nwb"]


def cut_rows(name: str) -> Callable[[h5py.File], None]:
    """Half of a data set's rows."""

    def spoil(file: h5py.File) -> None:
        half, attributes = file[name][: len(file[name]) // 2], dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, data=half).attrs.update(attributes)

    return spoil


def drop(name: str) -> Callable[[h5py.File], None]:
    def spoil(file: h5py.File) -> None:
        del file[name]

    return spoil


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "spoil, message",
    [
        (cut_rows("processing/responses/responses/data"), r"responses: shape \(12, 5\), expected"),
        (cut_rows("stimulus/templates/images/data"), "trials: shows image 19, expected 0 to 9"),
        (cut_rows("processing/behavior/EyeTracking/pupil/timestamps"), "pupil: 12 timestamps for"),
        (cut_rows("intervals/trials/image_index"), "trials.image_index: shape|cannot be read"),
        (drop("intervals/trials"), "presentations: the file has none"),
        (drop("stimulus/templates/images"), "images: the file has none"),
        (drop("processing/responses"), "responses: the file has none"),
        (drop("session_start_time"), "cannot be read as an NWB file"),
    ],
)
def test_a_file_of_ours_that_was_spoilt_is_refused(
    tmp_path: Path, spoil: Callable[[h5py.File], None], message: str
) -> None:
    path = written(toy(), tmp_path, ".nwb")
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(RecordingError, match=message):
        read_recording(path)


def test_what_is_no_nwb_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "session.nwb"
    with pytest.raises(FileNotFoundError, match="session.nwb: no such file"):
        read_recording(path)
    for content in (b"", b"hello", b"\x89HDF\r\n\x1a\n" + bytes(200)):
        path.write_bytes(content)
        with pytest.raises(RecordingError, match="session.nwb: cannot be read as an NWB file"):
            read_recording(path)
    with h5py.File(path, "w") as file:
        file["weights"] = np.ones(3)
    with pytest.raises(RecordingError, match="session.nwb: cannot be read as an NWB file"):
        read_recording(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: float) -> None:
    path = written(toy(), tmp_path, ".nwb")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(RecordingError, match="toy.nwb: "):
        read_recording(path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"responses": "Soma"}, r"responses: 'Soma' is not among \['Deconvolved'\]"),
        ({"images": "faces"}, r"images: 'faces' is not among \['scenes'\]"),
        ({"presentations": "epochs"}, r"presentations: 'epochs' is not among \['trials'\]"),
    ],
)
def test_names_that_are_not_in_the_file_are_refused(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    path = session(tmp_path, *WHOLE)
    with pytest.raises(RecordingError, match=message):
        read_recording(path, nwb=NwbOptions(**options))


def test_a_window_of_no_length_is_refused() -> None:
    with pytest.raises(ValidationError, match="window_length"):
        NwbOptions(window_length=0)
