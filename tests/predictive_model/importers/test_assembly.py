"""Assemblies in netCDF: the same scan from either version, by repeats or averaged, or one error."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import netcdf_file

from predictive_model.importers import read_recording, scan_recording
from predictive_model.recordings.recording import Recording, RecordingError

N, NEURONS = 12, 5
IDS = [f"im{i:02d}" for i in range(N)]
OBJECTS = ["bear", "car", "dog"]
TEXT = h5py.string_dtype()
REGIONS = ["V4"] * 2 + ["IT"] * 3


def coordinates(repeats: int) -> dict[str, tuple[str, list]]:
    order = list(range(N)) * repeats
    return {
        "image_id": ("presentation", [IDS[i] for i in order]),
        "object_name": ("presentation", [OBJECTS[i % 3] for i in order]),
        "category_name": ("presentation", ["thing" for _ in order]),
        "repetition": ("presentation", [r for r in range(repeats) for _ in range(N)]),
        "neuroid_id": ("neuroid", [f"A_{i}" for i in range(NEURONS)]),
        "region": ("neuroid", REGIONS),
        "time_bin_start": ("time_bin", [70]),
    }


def responses_of(repeats: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N * repeats, NEURONS))


def write_netcdf4(
    path: Path, repeats: int = 1, bins: int = 1, fixed: bool = False, **changes: Any
) -> np.ndarray:
    """(neuroid, presentation, time_bin), as netCDF-4 lays it out in HDF5; texts of either kind."""
    values = responses_of(repeats)
    sizes = {"presentation": N * repeats, "neuroid": NEURONS, "time_bin": bins}
    with h5py.File(path, "w") as file:
        for axis, n in sizes.items():
            scale = file.create_dataset(axis, (n,), "f4")
            scale.make_scale(f"This is a netCDF dimension but not a netCDF variable. {n:10d}")
        for name, (axis, column) in (coordinates(repeats) | changes).items():
            if axis is None:
                continue
            if not isinstance(column[0], str):
                stored = file.create_dataset(name, data=column)
            elif fixed:
                array = np.array(column, "S16")
                stored = file.create_dataset(name, data=array.view("S1").reshape(len(array), 16))
            else:
                stored = file.create_dataset(name, data=column, dtype=TEXT)
            stored.dims[0].attach_scale(file[axis])
        name = "__xarray_dataarray_variable__"
        data = file.create_dataset(name, data=np.repeat(values.T[..., None], bins, axis=2))
        for i, axis in enumerate(("neuroid", "presentation", "time_bin")):
            data.dims[i].attach_scale(file[axis])
    return values


def write_netcdf3(path: Path, repeats: int = 1) -> np.ndarray:
    """(presentation, neuroid); texts are arrays of characters."""
    values = responses_of(repeats)
    with netcdf_file(path, "w") as file:
        file.createDimension("presentation", N * repeats)
        file.createDimension("neuroid", NEURONS)
        file.createDimension("string16", 16)
        for name, (axis, column) in coordinates(repeats).items():
            if axis == "time_bin":
                continue
            if isinstance(column[0], str):
                stored = file.createVariable(name, "S1", (axis, "string16"))
                stored[:] = np.array(column, "S16").view("S1").reshape(len(column), 16)
            else:
                file.createVariable(name, "i4", (axis,))[:] = column
        file.createVariable("data", "f8", ("presentation", "neuroid"))[:] = values
    return values


def pixels_of(i: int, side: int = 16) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (side, side), dtype=np.uint8)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i, name in enumerate(IDS):
        Image.fromarray(pixels_of(i)).save(folder / f"{name}.png")
    return folder


def read(path: Path, **options: Any) -> Recording:
    common = {k: options.pop(k) for k in ("test_images", "degrees") if k in options}
    return read_recording(path, options={"region": "IT"} | options, **common)


@pytest.mark.parametrize("fixed", [False, True], ids=["strings", "characters"])
def test_presentations_of_a_stimulus_are_its_repeats(
    tmp_path: Path, pictures: Path, fixed: bool
) -> None:
    values = write_netcdf4(tmp_path / "it.nc", repeats=3, fixed=fixed)
    scan = read(tmp_path / "it.nc", test_images=4, degrees=8)
    assert (scan.repeats == 3).all() and scan.area == "IT" and scan.degrees == 8
    np.testing.assert_array_equal(scan.responses, values[:, 2:].astype(np.float32))
    assert scan.image_groups is not None
    for i in range(N):  # of the first repeat
        np.testing.assert_array_equal(scan.images[scan.image_index[i], 0], pixels_of(i))
        assert scan.image_groups[scan.image_index[i]] == OBJECTS[i % 3]


def test_netcdf3_is_the_same_scan_as_netcdf4(tmp_path: Path, pictures: Path) -> None:
    write_netcdf4(tmp_path / "a.nc")
    write_netcdf3(tmp_path / "b.nc")
    a, b = (read(tmp_path / f"{name}.nc") for name in "ab")
    for field in ("images", "responses", "image_index", "tier", "image_groups"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def test_averages_have_no_ceiling_and_the_report_says_so(tmp_path: Path, pictures: Path) -> None:
    write_netcdf4(tmp_path / "it.nc")
    scan, report = scan_recording(tmp_path / "it.nc", options={"region": "V4"})
    assert (scan.repeats == 1).all() and (scan.responses < 0).any()
    said = " ".join(report.notes)
    assert "reliability cannot be estimated" in said and "negative and kept" in said


def test_a_stimulus_set_names_files_and_degrees(tmp_path: Path, pictures: Path) -> None:
    write_netcdf4(tmp_path / "it.nc")
    for i, name in enumerate(IDS):
        (pictures / f"{name}.png").rename(pictures / f"{N - i}_{name}_shown.png")
    table = tmp_path / "hvm.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["", "stimulus_id", "filename", "degrees"])
        rows.writerows([i, name, f"{N - i}_{name}_shown.png", 8.0] for i, name in enumerate(IDS))
    scan = read(tmp_path / "it.nc", stimuli=str(table), pictures="images")
    assert scan.degrees == 8
    np.testing.assert_array_equal(scan.images[scan.image_index[3], 0], pixels_of(3))


def test_pictures_of_several_sizes_need_one_that_is_said(tmp_path: Path, pictures: Path) -> None:
    write_netcdf4(tmp_path / "it.nc")
    Image.fromarray(pixels_of(0, 24)).save(pictures / "im00.png")
    with pytest.raises(RecordingError, match="2 sizes.*--option size=16"):
        read(tmp_path / "it.nc")
    assert read(tmp_path / "it.nc", size=8).images.shape == (N, 1, 8, 8)


def test_colour_is_kept_unless_it_is_not_wanted(tmp_path: Path, pictures: Path) -> None:
    write_netcdf4(tmp_path / "it.nc")
    red = np.stack([pixels_of(0), *np.zeros((2, 16, 16), np.uint8)], axis=2)
    Image.fromarray(red).save(pictures / "im00.png")
    assert read(tmp_path / "it.nc").images.shape[1] == 3
    assert read(tmp_path / "it.nc", colour=False).images.shape[1] == 1


def test_missing_pictures_are_one_error(tmp_path: Path, pictures: Path) -> None:
    write_netcdf4(tmp_path / "it.nc")
    for name in IDS[:4]:
        (pictures / f"{name}.png").unlink()
    with pytest.raises(RecordingError, match="no picture of 4 of the assembly's 12 stimuli.*im00"):
        read(tmp_path / "it.nc")


def test_a_stimulus_set_of_another_assembly_is_refused(tmp_path: Path, pictures: Path) -> None:
    write_netcdf4(tmp_path / "it.nc")
    (tmp_path / "other.csv").write_text("image_id,image_file_name\ncat,cat.png\n")
    with pytest.raises(RecordingError, match="no picture for 12 of the assembly's 12.*'cat'"):
        read(tmp_path / "it.nc", stimuli="other.csv")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_id": (None, [])}, "which stimulus it was; expected a coordinate stimulus_id"),
        ({"bins": 2}, "has 2 along time_bin, expected 1"),
        ({"object_name": ("presentation", ["a"] * N + ["b"] * N), "repeats": 2}, "said to show"),
    ],
)
def test_what_cannot_be_a_scan_is_refused(
    tmp_path: Path, pictures: Path, changes: dict[str, Any], said: str
) -> None:
    write_netcdf4(tmp_path / "it.nc", **changes)
    with pytest.raises(RecordingError, match=said):
        read(tmp_path / "it.nc", test_images=3)


def test_a_scan_is_of_one_region(tmp_path: Path, pictures: Path) -> None:
    write_netcdf4(tmp_path / "it.nc")
    with pytest.raises(RecordingError, match="neurons of IT, V4.*--option region=IT"):
        read_recording(tmp_path / "it.nc")
    with pytest.raises(RecordingError, match="region: 'V1', expected one of IT, V4"):
        read(tmp_path / "it.nc", region="V1")


def test_damaged_files_are_refused(tmp_path: Path, pictures: Path) -> None:
    write_netcdf4(tmp_path / "it.nc")
    whole = (tmp_path / "it.nc").read_bytes()
    for content in (whole[: len(whole) // 2], b"CDF\x01\x00\x00", b"something else"):
        (tmp_path / "it.nc").write_bytes(content)
        with pytest.raises(RecordingError, match="cannot be read as netCDF"):
            read(tmp_path / "it.nc")
