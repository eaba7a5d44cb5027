"""Folders of pictures become stimuli of one shape, in the order of their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.cli.encoders import _read_stimuli
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
