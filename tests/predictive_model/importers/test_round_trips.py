"""What was written is read again, bit by bit, in every format; and it is written whole or not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictive_model.encoders.neuralpredictors_compat import training
from predictive_model.exporters import whole, write_recording, write_sensorium
from predictive_model.importers import (
    describe_recording,
    read_recording,
    recognise_format,
    scan_recording,
)
from predictive_model.recordings.recording import Recording, RecordingError
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli
from tests.predictive_model.importers.scans import FORMS, assert_same, toy, written

every_form = pytest.mark.parametrize("ending", FORMS)


@every_form
def test_a_scan_is_read_as_it_was_written(tmp_path: Path, ending: str) -> None:
    path = written(toy(), tmp_path, ending)
    assert recognise_format(path) == FORMS[ending]
    assert_same(toy(), read_recording(path))
    assert os.listdir(tmp_path) == [path.name]


@every_form
def test_a_simulated_scan_stays_one(tmp_path: Path, ending: str) -> None:
    cortex = SimulatedCortex(SimulatedCortexConfig(n_neurons=4, image_shape=(18, 32)), seed=2)
    scan = cortex.record(
        natural_stimuli(30, (18, 32), seed=0), n_repeated=4, n_repeats=3, seed=1, name="sim"
    )
    again, report = scan_recording(written(scan, tmp_path, ending))
    assert_same(scan, again)
    assert again.simulated and str(report).splitlines()[0].endswith(", simulated")


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    """Recordings with and without every extra, in random order, each image shown at least once."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    n = draw(st.integers(12, 16))
    colours = draw(st.sampled_from([1, 3]))
    pictures = rng.integers(0, 256, (n, colours, 5, 4))
    dtype = draw(st.sampled_from(["u1", "f4", "fractions"]))
    images = pictures.astype("f4") / 7 if dtype == "fractions" else pictures.astype(dtype)
    index = rng.permutation(np.r_[:n, :3, rng.integers(0, 3, draw(st.integers(0, 6)))])
    neurons, k = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    axes = draw(st.sampled_from([None, 2, 3]))
    return Recording(
        name="some.scan-1",
        images=images,
        image_index=index,
        responses=rng.gamma(1.0, 1.0, (len(index), neurons)).astype("f4"),
        behaviour=rng.normal(0, 1, (len(index), k)) if k else None,
        pupil=rng.normal(0, 1, (len(index), 2)) if draw(st.booleans()) else None,
        neuron_ids=rng.permutation(100)[:neurons],
        cortical_positions=None if axes is None else rng.normal(0, 9, (neurons, axes)),
        species=draw(st.sampled_from(["", "Mus musculus"])),
        area=draw(st.sampled_from(["", "V1", "aire visuelle é"])),
        simulated=draw(st.booleans()),
    )


@every_form
@given(scan=recordings())
@settings(max_examples=5, deadline=None)
def test_any_scan_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, ending: str, scan: Recording
) -> None:
    assert_same(scan, read_recording(written(scan, tmp_path_factory.mktemp("scan"), ending)))


def test_formats_can_be_changed_in_a_circle(tmp_path: Path) -> None:
    scan = toy()
    for ending in (".nwb", ".zip", ".npz", "", ".nwb"):
        folder = tmp_path / f"to{ending}"
        folder.mkdir(exist_ok=True)
        path = write_recording(scan, folder / f"toy{ending}", format=FORMS[ending], overwrite=True)
        scan = read_recording(path)
    assert_same(toy(), scan)


def test_what_is_given_goes_before_what_the_file_says(tmp_path: Path) -> None:
    for ending in FORMS:
        path = written(toy(), tmp_path, ending)
        scan = read_recording(path, name="other", species="rat", area="V2", downsample=2)
        assert (scan.name, scan.species, scan.area) == ("other", "rat", "V2")
        squares = toy().images.reshape(20, 1, 3, 2, 4, 2).mean((3, 5))
        np.testing.assert_allclose(scan.images, squares, rtol=1e-6)
        with pytest.raises(RecordingError, match="downsample: 5, .* divides the images' 6 x 8"):
            read_recording(path, downsample=5)
        with pytest.raises(RecordingError, match="tier: .* has tiers, so test_images has nothing"):
            read_recording(path, test_images=2)


def test_a_tree_has_no_room_for_images_that_were_never_shown(tmp_path: Path) -> None:
    scan = toy()
    seen = np.isin(scan.image_index, np.arange(2, 20))
    fewer = toy(
        image_index=scan.image_index[seen],
        responses=scan.responses[seen],
        tier=scan.tier[seen],
        behaviour=None,
        pupil=None,
        behaviour_names=None,
    )
    again = read_recording(written(fewer, tmp_path, ".zip"))
    np.testing.assert_array_equal(again.images, scan.images[2:])
    np.testing.assert_array_equal(again.image_index, fewer.image_index - 2)


# -- describing --------------------------------------------------------------------------------


@every_form
def test_a_description_says_what_reading_would(tmp_path: Path, ending: str) -> None:
    path = written(toy(), tmp_path, ending)
    described, report = describe_recording(path), scan_recording(path)[1]
    assert described.n_trials == 24 and described.tiers == {"train": 15, "validation": 3, "test": 6}
    for field in ("format", "name", "image_shape", "n_images", "n_trials", "n_neurons", "tiers",
                  "n_repeated", "behaviour", "pupil", "positions", "simulated"):  # fmt: skip
        assert getattr(described, field) == getattr(report, field), field


def test_a_description_reads_neither_images_nor_responses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that can be read of them are the first bytes, which say their shape."""
    tree = written(toy(), tmp_path, "")
    for kind in ("images", "responses", "behavior", "pupil_center"):
        for trial in range(24):
            file = tree / f"data/{kind}/{trial}.npy"
            size = file.stat().st_size
            # Values of trial 0 become NaN or noise, of the others headers too.
            spoilt = file.read_bytes()[: 128 if trial == 0 else 0]
            file.write_bytes(spoilt + b"\xff" * (size - len(spoilt)))
    assert "24 trials (15 train" in str(describe_recording(tree))
    with pytest.raises(RecordingError, match=r"data/responses/1.npy: cannot be read"):
        read_recording(tree)

    pixels = np.random.default_rng(0).integers(0, 256, (20, 1, 60, 80)).astype(np.uint8)
    archive = written(toy(images=pixels), tmp_path, ".npz")
    content = bytearray(archive.read_bytes())
    place = content.index(b"images.npy") + 50_000  # far behind the header, among the pixels
    content[place : place + 300] = bytes(300)
    archive.write_bytes(content)
    assert describe_recording(archive).n_images == 20
    with pytest.raises(RecordingError, match="toy.npz: cannot be read"):
        read_recording(archive)

    import h5py

    read: list[str] = []
    slicing = h5py.Dataset.__getitem__

    def noting(dataset: h5py.Dataset, *arguments: object) -> object:
        read.append(dataset.name)
        return slicing(dataset, *arguments)

    session = written(toy(), tmp_path, ".nwb")
    monkeypatch.setattr(h5py.Dataset, "__getitem__", noting)
    assert describe_recording(session).n_neurons == 5
    big = {"/stimulus/templates/images/data", "/processing/responses/responses/data"}
    assert "/intervals/trials/image_index" in read and not big & set(read)
    read_recording(session)
    assert big <= set(read)


# -- written whole or not at all ---------------------------------------------------------------


@every_form
def test_what_is_there_is_kept_unless_told_otherwise(tmp_path: Path, ending: str) -> None:
    path = written(toy(), tmp_path, ending)
    other = toy(seed=1)
    with pytest.raises(FileExistsError, match="is there already; choose another name"):
        write_recording(other, path, format=FORMS[ending])
    assert_same(toy(), read_recording(path))
    write_recording(other, path, format=FORMS[ending], overwrite=True)
    assert_same(other, read_recording(path))
    assert os.listdir(tmp_path) == [path.name]


@every_form
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(toy(), tmp_path, ending)

    def fail(*arguments: object, **options: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("predictive_model.exporters.arrays.np.savez_compressed", fail)
    monkeypatch.setattr("predictive_model.exporters.sensorium._of_images", fail)
    monkeypatch.setattr("predictive_model.exporters.nwb.NWBHDF5IO.write", fail)
    for target in (path, tmp_path / f"new{ending}"):
        with pytest.raises(OSError, match="no space left"):
            write_recording(toy(seed=1), target, format=FORMS[ending], overwrite=True)
    assert os.listdir(tmp_path) == [path.name]
    assert_same(toy(), read_recording(path))


def test_a_folder_steps_back_if_its_successor_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(toy(), tmp_path, "")
    move = os.replace

    def fail_at_the_new_one(source: Path, target: Path) -> None:
        if Path(source).name == "toy" and Path(source) != path:
            raise OSError("another disk")
        move(source, target)

    monkeypatch.setattr(whole.os, "replace", fail_at_the_new_one)
    with pytest.raises(OSError, match="another disk"):
        write_sensorium(toy(seed=1), path, overwrite=True)
    assert os.listdir(tmp_path) == ["toy"]
    assert_same(toy(), read_recording(path))


def test_no_folder_but_a_file_tree_is_overwritten(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (home / "thesis.tex").write_text("years")
    for ending, format in FORMS.items():
        if ending != "":
            (tmp_path / f"folder{ending}").mkdir()
            with pytest.raises(FileExistsError, match="of another kind"):
                write_recording(toy(), tmp_path / f"folder{ending}", format=format, overwrite=True)
    with pytest.raises(FileExistsError, match="home: is there already and of another kind"):
        write_sensorium(toy(), home, overwrite=True)
    assert (home / "thesis.tex").read_text() == "years"


def test_names_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="expected a name that ends in .npz"):
        write_recording(toy(), tmp_path / "scan.mat", format="npz")
    with pytest.raises(RecordingError, match="expected a name that ends in .nwb"):
        write_recording(toy(), tmp_path / "scan", format="nwb")
    with pytest.raises(RecordingError, match="format: 'mat', expected one of npz, sensorium, nwb"):
        write_recording(toy(), tmp_path / "scan.mat", format="mat")
    with pytest.raises(FileNotFoundError, match="gone: no such folder; make it first"):
        write_recording(toy(), tmp_path / "gone" / "scan.nwb", format="nwb")
    objects = toy(neuron_ids=np.array(list("abcde"), dtype=object))
    with pytest.raises(RecordingError, match="neuron_ids: holds objects"):
        write_recording(objects, tmp_path / "scan.npz", format="npz")
    assert os.listdir(tmp_path) == []


# -- other programs ----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", ".zip"])
def test_neuralpredictors_reads_the_tree_and_scales_it_as_we_do(
    tmp_path: Path, ending: str
) -> None:
    scan = toy()
    path = written(scan, tmp_path, ending)
    library = training()
    keys = ("images", "responses", "behavior", "pupil_center")
    data = library.FileTreeDataset(str(path), *keys)
    assert len(data) == 24
    np.testing.assert_array_equal(data.trial_info.tiers, scan.tier)
    np.testing.assert_array_equal(data.neurons.unit_ids, scan.neuron_ids)
    point = data[22]
    np.testing.assert_array_equal(point.images, scan.images[scan.image_index[22]])
    np.testing.assert_array_equal(point.responses, scan.responses[22])

    norm = scan.normalisation
    data.transforms = [library.NeuroNormalizer(data, stats_source="train")]
    point = data[22]
    np.testing.assert_allclose(point.responses, norm.responses(scan.responses)[22], rtol=1e-5)
    np.testing.assert_allclose(point.behavior, norm.behaviour(scan.behaviour)[22], rtol=1e-5)
    np.testing.assert_allclose(point.pupil_center, norm.pupil(scan.pupil)[22], rtol=1e-4)
    image = norm.images(scan.images)[scan.image_index[22]]
    np.testing.assert_allclose(point.images, image, rtol=1e-4, atol=1e-5)


def test_statistics_of_all_trials_count_repeats(tmp_path: Path) -> None:
    scan = toy()
    tree = written(scan, tmp_path, "") / "meta/statistics/images/all"
    pixels = scan.images[scan.image_index].astype(float)
    for name, value in (("mean", pixels.mean()), ("std", pixels.std()), ("max", pixels.max())):
        assert np.load(tree / f"{name}.npy") == pytest.approx(value, rel=1e-9)


def test_train_images_that_were_repeated_are_scaled_as_we_do(tmp_path: Path) -> None:
    images = toy().images.copy()
    images[10] //= 8  # dark, and shown ten times more often than the others
    index = np.r_[:20, np.full(10, 10)]
    tier = np.where(index < 2, "test", np.where(index < 5, "validation", "train"))
    rng = np.random.default_rng(0)
    responses = rng.gamma(1.0, 2.0, (30, 5)).astype(np.float32)
    responses[:, 2] *= 1e-4
    scan = Recording("often", images, index, responses, tier=tier)
    library = training()
    data = library.FileTreeDataset(str(written(scan, tmp_path, "")), "images", "responses")
    data.transforms = [library.NeuroNormalizer(data, stats_source="train")]
    norm, loud = scan.normalisation, [0, 1, 3, 4]
    expected = norm.images(images)[10]
    np.testing.assert_allclose(data[25].images, expected, rtol=1e-4, atol=1e-5)
    expected = norm.responses(responses)[25]
    np.testing.assert_allclose(data[25].responses[loud], expected[loud], rtol=1e-5)
    # A neuron that hardly responds is where the two differ.
    threshold = 0.01 * responses[scan.trials_of("train")].astype(float).std(0, ddof=1).mean()
    assert norm.response_scale[2] == 1
    assert data[25].responses[2] == pytest.approx(responses[25, 2] / threshold, rel=1e-4)
