"""`neuroteach import`: what is checked, what is written, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.installed_package import installed_package
from tests.pipeline.cli.invoked import Run, one_line_error


def scan_file(path: Path, seed: int = 0) -> Path:
    """A recording of no importance."""
    rng = np.random.default_rng(seed)
    np.savez(
        path,
        images=rng.integers(0, 256, (30, 1, 8, 8)).astype(np.uint8),
        image_index=np.r_[np.arange(30), 0, 1, 2],
        responses=rng.random((33, 5)).astype(np.float32),
    )
    return path


def test_a_missing_recording_is_one_line(run: Run, tmp_path: Path) -> None:
    assert str(tmp_path / "scan.npz") in one_line_error(
        run("import", "scan", tmp_path / "scan.npz")
    )


def test_missing_images_are_one_line(run: Run, tmp_path: Path) -> None:
    assert str(tmp_path / "gone") in one_line_error(run("import", "images", tmp_path / "gone"))


def test_a_dry_run_of_an_import_only_reports(run: Run, tmp_path: Path) -> None:
    result = run("import", "scan", scan_file(tmp_path / "scan.npz"), "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "30 images of 1 x 8 x 8, 33 trials" in " ".join(result.stderr.split())
    assert not (tmp_path / "home").exists()


def test_a_dry_run_of_a_folder_checks_all_its_scans(run: Run, tmp_path: Path) -> None:
    from predictive_model.exporters import write_recording
    from predictive_model.importers import read_recording

    scans = tmp_path / "scans"
    scans.mkdir()
    recording = read_recording(scan_file(scans / "a.npz"))
    write_recording(recording, scans / "b.nwb", format="nwb")
    write_recording(recording, scans / "c.zip", format="sensorium")
    write_recording(recording, scans / "d", format="sensorium")
    (scans / "README.txt").write_text("four scans")
    result = run("import", "scan", scans, "--dry-run", "--downsample", "2")
    assert (result.exit_code, result.stdout) == (0, "")
    expected = "30 images of 1 x 4 x 4, 33 trials (24 train, 3 validation, 6 test), 5 neurons"
    lines = [line for line in result.stderr.splitlines() if "note: " not in line]
    assert [line.partition(", 3 images repeated")[0] for line in lines] == [
        f"{name}: {expected}" for name in "abcd"
    ]
    assert not (tmp_path / "home").exists()
    again = run("import", "scan", scans, "--dry-run", "--name", "one")
    assert again.exit_code == 2 and "4 scans cannot share one name" in again.stderr
    scan_file(scans / "d.npz")
    message = one_line_error(run("import", "scan", scans, "--dry-run"))
    assert "d.npz: would have the same name as" in message


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "cannot be read as an .npz file"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: np.savez(path, images=np.ones(3)), "lacks `responses` (or `trials`)"),
    ],
    ids=["truncated", "missing", "without responses"],
)
def test_one_bad_scan_among_several_is_named_and_none_is_imported(
    run: Run, tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    """All are checked before the database is opened, which here would start it."""
    files = [scan_file(tmp_path / f"{name}.npz") for name in ("a", "b", "c")]
    spoil(files[1])
    result = run("import", "scan", *files)
    assert (result.exit_code, result.stdout) == (1, "")
    lines = [line for line in result.stderr.splitlines() if "note: " not in line]
    assert [line.partition(":")[0] for line in lines] == ["a", "error", "c", "error"]
    assert str(files[1]) in lines[1] and message in lines[1]
    assert lines[3] == ("error: 1 of 3 scans cannot be imported, so none was; mend or omit them")
    assert not (tmp_path / "home").exists()


def test_a_folder_without_scans_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = one_line_error(run("import", "scan", tmp_path / "empty", "--dry-run"))
    assert message.startswith(f"{tmp_path / 'empty'}: holds neither a file tree")


def test_what_an_encoder_cannot_use_is_reported_and_has_an_option(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 8, 8)).astype(np.uint8)
    responses = rng.normal(size=(36, 5)).astype(np.float32)
    responses[:, 3] = np.nan
    path = tmp_path / "scan.npz"
    shown = np.r_[:36]
    np.savez(path, images=np.concatenate([images, images[:6]]), image_index=shown, dff=responses)
    command = ("import", "scan", path, "--dry-run", "--option", "responses=dff")
    assert "--option negative=clip" in one_line_error(run(*command))
    for option in (("--option", "negative=keep"), ("--clip-negative",)):
        result = run(*command, "--test-images", "10", *option)
        assert result.exit_code == 0, result.stderr
        said = " ".join(result.stderr.split())
        assert "30 images of 1 x 8 x 8, 36 trials (18 train, 2 validation, 16 test), 4" in said
        assert "6 images had the pixels of another image" in said
        assert "1 of 5 neurons are left out" in said
        assert "only 6 of the 10 test images were shown more than once" in said


FOLDERS = """
import numpy as np

from predictive_model.importers import Importer
from predictive_model.recordings.recording import Recording

def scan(path, *, name, test_images, seed, downsample, species, area, gain=1, unit=""):
    found = np.load(path / "session.npz")
    if unit not in ("Hz", ""):
        raise ValueError(f"unit: {unit!r}, expected Hz")
    responses = gain * found["responses"][:30]
    return Recording(name or path.name, found["images"], np.arange(30), responses), ()

IMPORTER = Importer(scan)
"""


def test_a_folder_of_another_packages_format_is_one_scan(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "fold"
    folder.mkdir()
    scan_file(folder / "session.npz")
    with installed_package(tmp_path, "mylab_folders", FOLDERS, {}):
        command = ("import", "scan", folder, "--dry-run", "--format", "mylab_folders:IMPORTER")
        result = run(*command, "--option", "gain=2", "--option", "unit=Hz")
        assert (result.exit_code, result.stdout) == (0, ""), result.stderr
        assert result.stderr.startswith("fold: 30 images of 1 x 8 x 8, 30 trials")
        assert "unit: 'mV', expected Hz" in one_line_error(run(*command, "--option", "unit=mV"))
        assert "options: got an unexpected" in one_line_error(run(*command, "--option", "foo=1"))
        message = one_line_error(run(*command, "--clip-negative"))
        assert "options: got an unexpected keyword argument 'negative'" in message
        message = one_line_error(run(*command, "--width-first"))
        assert "width_first: given, but only for NWB files" in message
        wrong = run(*command, "--option", "gain")
        assert wrong.exit_code == 2 and "expected NAME=VALUE" in wrong.stderr


@pytest.mark.database
def test_inputs_are_imported_once(run_with_database: Run) -> None:
    for said in ("imported", "was there already"):
        result = run_with_database("import", "images", "digits", "--size", "8")
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.splitlines()[-1] == said
    other = run_with_database("import", "images", "digits", "--size", "9")
    assert other.exit_code == 1
    assert "another image set named 'digits'" in other.stderr


@pytest.mark.database
def test_training_images_that_are_test_images_are_left_out(
    run_with_database: Run, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, 8, 8)).astype(np.uint8)
    for n, (split, name, picture) in enumerate(
        (split, name, picture)
        for split, numbers in (("train", (0, 1, 2, 3, 4)), ("test", (5, 1)))
        for name, picture in zip("ababa", numbers, strict=False)
    ):
        folder = tmp_path / "set" / split / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[picture]).save(folder / f"{n}.png")
    result = run_with_database("import", "images", tmp_path / "set", "--grey")
    assert result.exit_code == 0, result.stderr
    assert "set: 4 training and 2 test images of 1 x 8 x 8" in result.stderr
    assert "1 of 5 training images have the pixels of test images, and are left" in result.stderr


@pytest.mark.database
def test_what_the_database_refuses_is_one_line(run_with_database: Run, tmp_path: Path) -> None:
    file = scan_file(tmp_path / "scan.npz")
    result = run_with_database("import", "scan", file, "--species", "m" * 65)
    assert result.exit_code == 1
    error = result.stderr.splitlines()[-1]
    assert error.startswith("error: the database refused: value too long")


@pytest.mark.database
def test_a_scan_is_exported_and_is_the_same_when_it_comes_back(
    run_with_database: Run, tmp_path: Path
) -> None:
    run = run_with_database
    size = ("--images", "40", "--repeated", "12", "--repeats", "3", "--height", "18")
    assert run("simulate", "--neurons", "5", *size, "--width", "32").exit_code == 0
    folder = tmp_path / "exported"
    folder.mkdir()
    forms = (("npz", ".npz"), ("nwb", ".nwb"), ("sensorium", ".zip"), ("sensorium", ""))
    for format, ending in forms:
        path = folder / f"simulated{ending}"
        result = run("export", "scan", "simulated", "--format", format, "-o", path)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == f"wrote {path}, a simulated scan\n"
        back = run("import", "scan", path)
        assert back.exit_code == 0
        assert back.stderr.splitlines()[-1] == "was there already", back.stderr
    again = run("export", "scan", "simulated", "--format", format, "-o", path)
    assert "is there already" in one_line_error(again)
    message = one_line_error(run("export", "scan", "b", "-f", "npz", "-o", folder / "b.npz"))
    assert message == "scan: b is not in the database, which has simulated"
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"simulated{e}" for _, e in forms)


@pytest.mark.database
def test_of_several_scans_those_that_the_database_has_otherwise_stay_out_whole(
    run_with_database: Run, tmp_path: Path
) -> None:
    run = run_with_database
    a, b, c = (scan_file(tmp_path / f"{name}.npz", seed) for seed, name in enumerate("abc"))
    assert run("import", "scan", b).exit_code == 0
    scan_file(b, seed=9)
    result = run("import", "scan", a, b, c)
    assert (result.exit_code, result.stdout) == (1, "")
    said = [line for line in result.stderr.splitlines() if "note: " not in line][3:]
    assert said[0] == "a.npz: imported" and said[2] == "c.npz: imported"
    assert said[1].startswith(f"error: {b}: name: the database has another scan named 'b'")
    assert said[3] == "error: 1 of 3 scans were not imported"
    again = run("import", "scan", a, c)
    said = [line for line in again.stderr.splitlines() if "note: " not in line]
    assert said[2:] == ["a.npz: was there already", "c.npz: was there already"]


def test_in_a_folder_of_scans_litter_is_passed_over_and_a_broken_link_is_not(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "scans").mkdir()
    scan_file(tmp_path / "scans" / "a.npz")
    (tmp_path / "scans" / "._a.npz").write_bytes(b"left by macOS")
    (tmp_path / "scans" / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    result = run("import", "scan", tmp_path / "scans", "--dry-run")
    assert result.exit_code == 0
    assert "1 are no recordings and passed over, such as a.mat" in result.stderr
    (tmp_path / "scans" / "b.npz").symlink_to("gone.npz")
    message = one_line_error(run("import", "scan", tmp_path / "scans", "--dry-run"))
    assert "b.npz: is a link to gone.npz, where nothing is" in message


def test_how_images_were_read_is_printed_as_a_line(run: Run, tmp_path: Path) -> None:
    deep = np.arange(120, dtype=np.uint16).reshape(10, 12) * 512
    for i, folder in enumerate(("train/cat", "train/dog", "test/cat", "test/dog")):
        (tmp_path / "set" / folder).mkdir(parents=True)
        Image.fromarray(np.roll(deep, i)).save(tmp_path / "set" / folder / "1.png")
    # Nothing is imported: the list of superclasses is not there.
    result = run("import", "images", tmp_path / "set", "--superclasses", tmp_path / "gone.json")
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1 and "4 pictures have 16 bits a channel" in notes[0]
