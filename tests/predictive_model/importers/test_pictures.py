"""Folders of pictures become stimuli of one shape, in the order of their names."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.cli.encoders import _read_stimuli
from predictive_model.importers.archives import ReadingNote
from predictive_model.importers.pictures import picture_files, read_pictures
from predictive_model.recordings.stimuli import fit_images

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (36, 64)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (50, 70, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(COLOUR).save(tmp_path / "b.PNG")
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "readme.txt").write_text("two pictures")
    (tmp_path / "._a.png").write_text("litter")
    return tmp_path


def test_pictures_of_any_size_are_fitted_in_the_order_of_their_names(folder: Path) -> None:
    stimuli = read_pictures(picture_files(folder), (36, 64))
    np.testing.assert_array_equal(stimuli[0, 0], GREY)
    expected = fit_images(COLOUR.transpose(2, 0, 1)[None], (36, 64))
    np.testing.assert_array_equal(stimuli[1:], expected)


def test_the_command_takes_a_plain_folder_or_the_first_of_it(folder: Path) -> None:
    assert _read_stimuli(folder, (18, 32), None).shape == (2, 1, 18, 32)
    np.testing.assert_array_equal(_read_stimuli(folder, (36, 64), 1)[0, 0], GREY)


def test_a_labelled_folder_still_gives_its_training_images(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for i, name in enumerate(("cat", "dog")):
            (tmp_path / split / name).mkdir(parents=True)
            turned = np.roll(GREY, i + 2 * (split == "test"), axis=0)
            Image.fromarray(turned).save(tmp_path / split / name / "1.png")
    stimuli = _read_stimuli(tmp_path, (36, 64), None)
    np.testing.assert_array_equal(stimuli[:, 0], [GREY, np.roll(GREY, 1, axis=0)])


def test_links_to_pictures_are_followed_or_named(folder: Path) -> None:
    (folder / "c.png").symlink_to("a.png")
    np.testing.assert_array_equal(read_pictures(picture_files(folder), (36, 64))[2, 0], GREY)
    (folder / "d.png").symlink_to("gone.png")
    with pytest.raises(ValueError, match="d.png: is a link to gone.png, where nothing is"):
        read_pictures(picture_files(folder), (36, 64))


def test_files_that_may_be_pictures_are_counted(folder: Path) -> None:
    (folder / "c.heic").write_bytes(b"of a telephone")
    with pytest.warns(ReadingNote, match="1 files .* were passed over, such as c.heic"):
        assert len(picture_files(folder)) == 2


UNIT = (RNG.random((3, 36, 64)) * 0.9).astype(np.float32)


@pytest.mark.parametrize(
    ("images", "expected", "said"),
    [
        (UNIT, UNIT * np.float32(255), "0 to 1 were taken to 0 to 255"),
        (UNIT.astype(np.float64), UNIT * np.float32(255), "0 to 1 were taken to 0 to 255"),
        (UNIT > 0.5, (UNIT > 0.5) * np.uint8(255), "0 to 1 were taken to 0 to 255"),
        (GREY[None].astype(np.float64), GREY[None], ""),
        (GREY[None].astype(np.int64), GREY[None], ""),
        (GREY[None].astype(np.uint16) * 257, GREY[None], "of 16 bits the upper 8"),
        (UNIT * 4 - 2, UNIT * 4 - 2, "left as they are"),
        (UNIT[:, None] * 255, UNIT[:, None] * 255, ""),
    ],
)
def test_arrays_come_to_the_scale_of_pictures(
    tmp_path: Path, images: np.ndarray, expected: np.ndarray, said: str
) -> None:
    np.save(tmp_path / "a.npy", images)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        stimuli = _read_stimuli(tmp_path / "a.npy", (36, 64), None)
    np.testing.assert_allclose(stimuli.reshape(expected.shape), expected, rtol=1e-6)
    assert stimuli.dtype == (np.uint8 if expected.dtype == np.uint8 else np.float32)
    assert said in "".join(str(note.message) for note in seen) and bool(seen) == bool(said)


def test_values_of_arrays_are_kept_where_that_is_asked(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", UNIT)
    kept = _read_stimuli(tmp_path / "a.npy", (36, 64), 2, keep_values=True)
    np.testing.assert_array_equal(kept[:, 0], UNIT[:2])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>Sign in", "it is a web page"),
        (np.array([{}], object), "pickled objects, which are never loaded"),
        (np.zeros((2, 36, 64, 3), np.uint8), "put the channels first"),
    ],
)
def test_what_is_no_array_of_images_is_named(
    tmp_path: Path, content: bytes | np.ndarray, said: str
) -> None:
    file = tmp_path / "a.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.save(file, content, allow_pickle=True)
    with pytest.raises(ValueError, match=f"a.npy: .*{said}"):
        _read_stimuli(file, (36, 64), None)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.write_text("no picture"), "cannot be decoded"),
        (lambda file: Image.new("RGB", (9, 9)).save(file), "images: 1 are constant"),
    ],
    ids=["text", "blank"],
)
def test_a_picture_that_cannot_be_used_is_named(folder: Path, spoil, message) -> None:
    spoil(folder / "c.png")
    with pytest.raises(ValueError, match=f"c.png: {message}"):
        read_pictures(picture_files(folder), (36, 64))
