"""File trees as they are published, and those that somebody has spoilt."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from predictive_model.importers import read_recording, scan_recording
from predictive_model.importers.sensorium import read_sensorium
from predictive_model.recordings.recording import RecordingError
from tests.predictive_model.importers.scans import assert_same, published, save, toy, zipped


def load(root: Path, name: str) -> np.ndarray:
    return np.load(root / f"{name}.npy")


def test_trials_of_one_image_are_its_repeats(tmp_path: Path) -> None:
    """An id is distinct within its class only; ids need not be numbers from 0."""
    root = published(tmp_path)
    scan = read_sensorium(root)
    assert (scan.name, scan.area, scan.simulated) == ("static1-2-3", "V1", False)
    assert (scan.n_images, scan.n_trials, scan.n_neurons) == (10, 14, 4)
    np.testing.assert_array_equal(np.sort(scan.repeats), [1] * 8 + [3] * 2)
    assert {t: len(scan.trials_of(t)) for t in ("train", "validation", "test")} == {
        "train": 6, "validation": 2, "test": 6,
    }  # fmt: skip
    kept = np.r_[:10, 12:16]
    for row, trial in enumerate(kept):
        image = load(root, f"data/images/{trial}")
        np.testing.assert_array_equal(scan.images[scan.image_index[row]], image)
        for kind, values in (("responses", scan.responses), ("pupil_center", scan.pupil),
                             ("behavior", scan.behaviour)):  # fmt: skip
            np.testing.assert_array_equal(
                values[row], load(root, f"data/{kind}/{trial}").astype("f4")
            )
    assert scan.behaviour_names == ("pupil_dilation", "pupil_dilation_derivative", "running_speed")
    np.testing.assert_array_equal(scan.neuron_ids, [11, 12, 14, 19])
    np.testing.assert_array_equal(
        scan.cortical_positions, load(root, "meta/neurons/cell_motor_coordinates")
    )


def test_trials_of_withheld_tiers_are_left_out_and_reported(tmp_path: Path) -> None:
    root = published(tmp_path)
    _, report = scan_recording(root)
    assert report.notes == (
        "4 trials of the tier final_test are left out, since its responses are withheld",
        "only 6 images are in the train tier; expected at least 100",
    )
    # Elsewhere withheld responses are files of zeros, and the tier has an innocent name.
    for trial in np.flatnonzero(load(root, "meta/trials/tiers") == "test"):
        save(root / f"data/responses/{trial}.npy", np.zeros(4))
    scan, report = scan_recording(root)
    assert set(scan.tier) == {"train", "validation"}
    assert "6 trials of the test tier are left out: no neuron responds" in report.notes[1]


def test_an_archive_holds_the_tree_at_its_top_or_in_one_folder(tmp_path: Path) -> None:
    root = published(tmp_path)
    expected = read_sensorium(root)
    assert_same(expected, read_recording(zipped(root)))
    (root.parent / "static1-2-3.zip").unlink()
    archive = shutil.make_archive(str(root), "zip", root.parent, root.name)
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("__MACOSX/static1-2-3/._data", "litter")
        more.writestr("static1-2-3/data/images/.DS_Store", "litter")
    assert_same(expected, read_recording(archive))
    assert sorted(os.listdir(tmp_path)) == ["static1-2-3", "static1-2-3.zip"]


def test_without_ids_images_are_told_apart_by_their_pixels(tmp_path: Path) -> None:
    root = published(tmp_path)
    labelled = read_sensorium(root)
    (root / "meta/trials/frame_image_id.npy").unlink()
    scan = read_sensorium(root)
    np.testing.assert_array_equal(
        scan.images[scan.image_index], labelled.images[labelled.image_index]
    )
    np.testing.assert_array_equal(np.sort(scan.repeats), np.sort(labelled.repeats))


def test_two_ids_of_one_picture_are_one_image(tmp_path: Path) -> None:
    root = published(tmp_path)
    save(root / "data/images/3.npy", load(root, "data/images/2"))
    scan, report = scan_recording(root)
    assert scan.n_images == 9
    assert scan.image_index[2] == scan.image_index[3]
    assert "1 images had the pixels of another image" in report.notes[1]


@pytest.mark.parametrize("scale", [1, 255], ids=["to 255", "to 1"])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_picture_in_two_tiers_and_two_types_is_a_test_picture(
    tmp_path: Path, labelled: bool, scale: int
) -> None:
    """The train tier shows, as floats, a picture that the test tier shows as bytes."""
    root = published(tmp_path)
    if not labelled:
        (root / "meta/trials/frame_image_id.npy").unlink()
    picture = load(root, "data/images/8")
    for trial in (8, 12, 14):
        save(root / f"data/images/{trial}.npy", picture.astype(np.uint8))
    save(root / "data/images/3.npy", picture / np.float32(scale))
    scan, report = scan_recording(root)
    assert scan.n_images == 9
    np.testing.assert_array_equal(scan.tier[scan.image_index == scan.image_index[8]], "test")
    assert {3, 8} <= set(scan.trials_of("test"))
    assert "1 trials of 1 images were moved to the test tier, which shows" in " ".join(report.notes)
    np.testing.assert_array_equal(scan.images[scan.image_index[8]], picture)


def test_one_name_in_two_tiers_is_a_test_picture(tmp_path: Path) -> None:
    root = published(tmp_path)
    change("meta/trials/tiers", at_12="train")(root)
    scan, report = scan_recording(root)
    assert scan.tier[10] == "test"
    assert "1 trials of 1 images were moved to the test tier" in report.notes[1]


def test_images_whose_names_are_wrong_can_be_told_apart_by_their_pixels(tmp_path: Path) -> None:
    root = published(tmp_path)
    right = read_sensorium(root)
    change("meta/trials/frame_image_id", at_2=5000)(root)
    scan = read_recording(root, options={"image_ids": "pixels"})
    np.testing.assert_array_equal(scan.images[scan.image_index], right.images[right.image_index])
    np.testing.assert_array_equal(np.sort(scan.repeats), np.sort(right.repeats))
    with pytest.raises(RecordingError, match="image_ids: 'name', expected `pixels` or one of"):
        read_recording(root, options={"image_ids": "name"})


def test_new_tiers_can_be_chosen_in_place_of_those_of_a_tree(tmp_path: Path) -> None:
    root = published(tmp_path)
    with pytest.raises(RecordingError, match="the file has tiers, .* new_tiers=true"):
        read_recording(root, test_images=3)
    scan = read_recording(root, test_images=3, options={"new_tiers": True})
    assert len(scan.images_of("test")) == 3 and len(scan.images_of("validation")) == 1
    assert scan.n_trials == 14, "tiers whose responses are withheld stay out"
    change("meta/trials/tiers", at_0="oracle")(root)
    assert read_recording(root, options={"new_tiers": True}).n_trials == 14


def test_a_tree_without_tiers_gets_some_on_demand(tmp_path: Path) -> None:
    root = published(tmp_path)
    (root / "meta/trials/tiers.npy").unlink()
    with pytest.raises(RecordingError, match="lacks meta/trials/tiers.npy.*new_tiers=true"):
        read_recording(root)
    scan = read_recording(root, options={"new_tiers": True})
    assert scan.n_trials == 14, "those that have responses"
    np.testing.assert_array_equal(scan.tier == "test", scan.repeats[scan.image_index] > 1)


def test_grey_values_become_small_only_where_nothing_is_lost(tmp_path: Path) -> None:
    root = published(tmp_path)
    assert read_sensorium(root).images.dtype == np.uint8
    last = load(root, "data/images/7") + np.float32(0.5)
    save(root / "data/images/7.npy", last)
    scan = read_sensorium(root)
    assert scan.images.dtype == np.float32
    np.testing.assert_array_equal(scan.images[scan.image_index[7]], last)
    np.testing.assert_array_equal(scan.images[scan.image_index[0]], load(root, "data/images/0"))


def test_downsampling_averages_squares_of_pixels(tmp_path: Path) -> None:
    root = published(tmp_path)
    scan = read_sensorium(root, downsample=2)
    picture = load(root, "data/images/4")[0]
    expected = picture[::2, ::2] + picture[1::2, ::2] + picture[::2, 1::2] + picture[1::2, 1::2]
    np.testing.assert_allclose(scan.images[scan.image_index[4], 0], expected / 4, rtol=1e-6)
    assert scan.image_shape == (1, 3, 4)


def test_behaviour_and_pupil_may_be_missing_and_images_flat(tmp_path: Path) -> None:
    root = published(tmp_path)
    shutil.rmtree(root / "data/behavior")
    shutil.rmtree(root / "data/pupil_center")
    shutil.rmtree(root / "meta/neurons")
    for trial in range(18):
        save(root / f"data/images/{trial}.npy", load(root, f"data/images/{trial}")[0])
    scan = read_sensorium(root)
    assert scan.behaviour is scan.pupil is scan.cortical_positions is None
    assert scan.image_shape == (1, 6, 8)


def test_what_contradicts_the_data_but_is_not_needed_is_noted(tmp_path: Path) -> None:
    root = published(tmp_path)
    save(root / "meta/statistics/responses/all/std.npy", np.ones(9))
    (root / "meta/statistics/behavior/all").mkdir(parents=True)
    (root / "meta/statistics/behavior/all/std.npy").write_text("none")
    save(root / "data/whiskers/0.npy", np.ones(9))
    save(root / "meta/neurons/area.npy", np.array(["V1", "V1", "LM", "V1"]))
    scan, report = scan_recording(root)
    notes = " ".join(report.notes)
    assert "std.npy has shape (9,), which contradicts data/responses of width 4" in notes
    assert "meta/statistics/behavior/all/std.npy cannot be read" in notes
    assert "data/whiskers is not known and left out" in notes
    assert "several areas (LM, V1)" in notes and scan.area == ""


# -- refusals ----------------------------------------------------------------------------------

Spoil = Callable[[Path], object]


def cut(root: Path, name: str, kept: int) -> None:
    file = root / f"{name}.npy"
    file.write_bytes(file.read_bytes()[:kept])


def change(name: str, **rows: object) -> Spoil:
    """Replace entries of an array, ``at_3=value``."""

    def spoil(root: Path) -> None:
        array = load(root, name)
        array = array.astype("U20") if array.dtype.kind == "U" else array.copy()
        for row, value in rows.items():
            array[int(row.removeprefix("at_"))] = value
        save(root / f"{name}.npy", array)

    return spoil


def put(name: str, value: object) -> Spoil:
    return lambda root: save(root / f"{name}.npy", np.asarray(value))


def remove(name: str) -> Spoil:
    return lambda root: (
        shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()
    )


def swap_images(root: Path) -> None:
    """Reordered files: two trials of the test tier show each other's picture."""
    eight, nine = (load(root, f"data/images/{trial}") for trial in (8, 9))
    save(root / "data/images/8.npy", nine)
    save(root / "data/images/9.npy", eight)


REFUSED: dict[str, tuple[Spoil, str]] = {
    "no tiers": (remove("meta/trials/tiers.npy"), "lacks meta/trials/tiers.npy"),
    "no meta": (remove("meta"), "lacks meta/trials/tiers.npy.* found only .'data'"),
    "no images": (remove("data/images"), "lacks data/images/0.npy"),
    "no responses": (remove("data/responses"), "lacks data/responses/0.npy"),
    "videos": (put("data/videos/0", np.ones(3)), "holds videos; only trees of still images"),
    "a gap": (remove("data/responses/4.npy"), "data/responses/4.npy: is missing, as are 0 oth"),
    "a gap in behaviour": (remove("data/behavior/0.npy"), "data/behavior/0.npy: is missing"),
    "a trial too many": (
        put("data/images/18", np.ones((1, 6, 8))),
        "data/images/18.npy: belongs to no trial; expected 0.npy to 17.npy",
    ),
    "an odd number": (put("data/images/007", np.ones(3)), "data/images/007.npy: belongs to no"),
    "an odd file": (
        lambda root: (root / "data/responses/notes.txt").write_text("hi"),
        "data/responses/notes.txt: belongs to no trial",
    ),
    "ragged responses": (
        put("data/responses/5", np.ones(3)), r"responses/5.npy: shape \(3,\), expected \(4,\)",
    ),
    "responses of two axes": (
        put("data/responses/0", np.ones((4, 2))), "responses/0.npy: shape .* expected one axis",
    ),
    "ragged images": (
        put("data/images/5", np.ones((1, 6, 9))), r"images/5.npy: shape \(1, 6, 9\), expected",
    ),
    "images of five axes": (put("data/images/0", np.ones((1,) * 5)), "images/0.npy: shape"),
    "a wide pupil": (put("data/pupil_center/0", np.ones(3)), "pupil_center: 3 values, expected 2"),
    "negative responses": (put("data/responses/5", [1, -1, 2, 3]), "responses: 1 values are neg"),
    "pickled objects": (
        put("data/responses/2", np.array([{}, 1, 2, 3], dtype=object)),
        "responses/2.npy: holds pickled objects, which are never loaded",
    ),
    "pickled tiers": (
        put("meta/trials/tiers", np.array(["train"] * 18, dtype=object)),
        "tiers.npy: holds pickled objects",
    ),
    "responses of text": (put("data/responses/2", list("abcd")), "responses/2.npy: type <U1"),
    "structured responses": (
        put("data/responses/2", np.zeros(4, [("rate", "f4")])), "responses/2.npy: a structured",
    ),
    "an empty file": (
        lambda root: (root / "data/images/2.npy").write_bytes(b""), "images/2.npy: cannot be read",
    ),
    "a cut header": (lambda root: cut(root, "data/images/2", 40), "images/2.npy: cannot be read"),
    "a cut array": (
        lambda root: cut(root, "data/images/2", 200), "images/2.npy: has 200 bytes, expected 320",
    ),
    "no array at all": (
        lambda root: (root / "meta/trials/tiers.npy").write_text("train\ntest"),
        "tiers.npy: cannot be read as an .npy file",
    ),
    "too few tiers": (put("meta/trials/tiers", ["train"] * 9), "belongs to no trial; expected 0"),
    "tiers of another shape": (put("meta/trials/tiers", [["train"] * 18]), "tiers.npy: shape"),
    "an unknown tier": (
        change("meta/trials/tiers", at_0="tarin"), r"tiers.npy: found \['tarin'\], expected only",
    ),
    "only withheld tiers": (put("meta/trials/tiers", ["live_test"] * 18), "no trial is in train"),
    "ids of another length": (
        put("meta/trials/frame_image_id", np.arange(9)),
        r"frame_image_id.npy: shape \(9,\), expected \(18,\)",
    ),
    "ids of fractions": (
        put("meta/trials/frame_image_id", np.arange(18) / 2), "frame_image_id.npy: type float64",
    ),
    "one id of two pictures": (
        change("meta/trials/frame_image_id", at_2=5000),
        "images/2.npy: another picture than .* both are image imagenet 5000.*image_ids=pixels",
    ),
    "pictures in another order": (swap_images, "images/12.npy: another picture than"),
    "neurons that are too few": (
        put("meta/neurons/unit_ids", [1, 2]), r"unit_ids.npy: shape \(2,\), expected one entry",
    ),
    "a neuron twice": (put("meta/neurons/unit_ids", [1, 2, 2, 3]), "unit_ids.npy: names a neuron"),
    "flat positions": (
        put("meta/neurons/cell_motor_coordinates", np.ones(4)), "cell_motor_coordinates.npy: shape",
    ),
    "a broken scan file": (
        lambda root: (root / "meta/scan.json").write_text("{"), "meta/scan.json: is no JSON",
    ),
    "an odd scan file": (
        lambda root: (root / "meta/scan.json").write_text(json.dumps({"simulated": "yes"})),
        "meta/scan.json: expected an object of species",
    ),
    "names of other behaviour": (
        lambda root: (root / "meta/scan.json").write_text('{"behaviour_names": ["a"]}'),
        "meta/scan.json: 1 behaviour_names for 3 columns",
    ),
}  # fmt: skip


# An archive is read by the same code, so a few of them in archives will do.
FORMS = [(name, False) for name in REFUSED] + [(name, True) for name in list(REFUSED)[::5]]


@pytest.mark.parametrize("name, packed", FORMS, ids=lambda x: {True: "zip", False: ""}.get(x, x))
def test_a_spoilt_tree_is_refused_by_name(tmp_path: Path, name: str, packed: bool) -> None:
    spoil, message = REFUSED[name]
    root = published(tmp_path)
    spoil(root)
    path = zipped(root) if packed else root
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(RecordingError, match=message) as caught:
        read_recording(path)
    assert str(caught.value).startswith(str(path))
    assert sorted(os.listdir(tmp_path)) == before, "nothing is unpacked or left behind"


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone.zip: no such file or folder"):
        read_recording(tmp_path / "gone.zip")
    with pytest.raises(RecordingError, match="a folder without `data` and `meta`"):
        read_recording(tmp_path)
    with pytest.raises(
        RecordingError, match="importer 'tree': .*expected one of npz, sensorium, nwb"
    ):
        read_recording(tmp_path, format="tree")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(RecordingError, match="notes.txt: is not known as a recording"):
        read_recording(tmp_path / "notes.txt")


@pytest.mark.parametrize("kept", [0, 30, 0.5, 0.99])
def test_a_truncated_archive_is_refused(tmp_path: Path, kept: float) -> None:
    path = zipped(published(tmp_path))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
    with pytest.raises(RecordingError, match="static1-2-3.zip: cannot be read as a zip archive"):
        read_recording(path)


def test_flipped_bits_in_an_archive_are_noticed(tmp_path: Path) -> None:
    path = zipped(published(tmp_path))
    whole, content = read_recording(path), path.read_bytes()
    for place in range(0, len(content), 997):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            scan = read_recording(path)
        except RecordingError as error:
            assert str(error).startswith(str(path))
            continue
        np.testing.assert_array_equal(scan.responses, whole.responses)
        np.testing.assert_array_equal(scan.images, whole.images)


@pytest.mark.parametrize("name", ["../evil.npy", "/etc/evil.npy", "data/../../evil", "data\\evil"])
def test_an_archive_that_points_outside_itself_is_refused(tmp_path: Path, name: str) -> None:
    path = zipped(published(tmp_path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(RecordingError, match="points outside it; do not trust where it comes from"):
        read_recording(path)
    assert not list(tmp_path.rglob("evil*"))


def test_archives_of_several_or_no_trees_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scans.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a", "b"):
            archive.writestr(f"{name}/data/images/0.npy", "")
    with pytest.raises(RecordingError, match=r"holds several trees, \['a', 'b'\]"):
        read_recording(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.jpg", "")
    with pytest.raises(RecordingError, match="lacks meta/trials/tiers.npy"):
        read_recording(path)
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("data/images/0.npy", "")
        archive.writestr("data/images/0.npy", "")
    with pytest.raises(RecordingError, match="holds 'data/images/0.npy' twice"):
        read_recording(path)


def test_a_tree_of_floats_stays_one_if_it_says_so(tmp_path: Path) -> None:
    """What other programs wrote as floats may become small; what we wrote comes back as it was."""
    from predictive_model.exporters import write_sensorium

    scan = toy(images=toy().images.astype("f4"))
    assert read_sensorium(write_sensorium(scan, tmp_path / "toy")).images.dtype == np.float32
