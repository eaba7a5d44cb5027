"""Which image an NWB file shows: by number or name, counted from 0 or 1, omitted, twice there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pynwb import NWBFile
from pynwb.base import ImageReferences, Images
from pynwb.image import GrayscaleImage, RGBAImage

from predictive_model.recordings.recording import Recording, RecordingError
from tests.predictive_model.importers.nwb.sessions import (
    PICTURES,
    SHOWN,
    Fill,
    N,
    by_name,
    by_trial,
    stack,
    trials,
)
from tests.predictive_model.importers.nwb.sessions import read as read_parts

RESPONSES = by_trial(np.ones((16, 3)))
NAMES = np.array([f"im{i:03d}_r" for i in range(N)], object)


def read(*parts: Fill, **options: Any) -> tuple[Recording, str]:
    return read_parts(*parts, RESPONSES, **options)


def shows(scan: Recording, expected: Any) -> None:
    np.testing.assert_array_equal(scan.images[scan.image_index, 0], PICTURES[expected])


def singles(kind: type = GrayscaleImage, pictures: Any = PICTURES, names: Any = NAMES) -> Fill:
    images = [kind(name=name, data=p) for name, p in zip(names, pictures, strict=True)]

    def fill(file: NWBFile) -> None:
        order = ImageReferences(name="order_of_images", data=images)
        file.add_stimulus_template(Images(name="scenes", images=images, order_of_images=order))

    return fill


def test_names_of_a_series_stand_in_its_control_description() -> None:
    """As the visual behaviour files of the Allen Institute have them."""
    order = np.random.default_rng(0).permutation(N)
    templates = stack(control=order.astype("u1"), control_description=list(NAMES))
    names = np.array([NAMES[order[i]] for i in SHOWN], object)
    shows(read(templates, trials(column="image_name", values=names))[0], SHOWN)


@pytest.mark.parametrize("blank", ["omitted", "", "gray_screen", "None"])
def test_names_of_no_image_are_blanks(blank: str) -> None:
    names = NAMES[SHOWN]
    names[3] = blank
    scan, notes = read(singles(), trials(column="image_name", values=names))
    shows(scan, np.delete(SHOWN, 3))
    assert "1 presentations without an image are left out" in notes


def test_presentations_of_other_things_are_left_out_by_name() -> None:
    names = NAMES[SHOWN]
    names[:2] = "grating"
    scan, notes = read(singles(), trials(column="stimulus", values=names))
    shows(scan, SHOWN[2:])
    assert "2 presentations of 'grating' show no image" in notes


def test_endings_of_names_do_not_matter_where_they_differ() -> None:
    names = np.array([f"{name}.png" for name in NAMES[SHOWN]], object)
    shows(read(singles(), trials(column="image_name", values=names))[0], SHOWN)


def test_an_omission_has_the_number_after_the_last() -> None:
    numbers = SHOWN.copy()
    numbers[5] = N
    scan, notes = read(stack(), trials(values=numbers))
    shows(scan, np.delete(SHOWN, 5))
    assert "1 presentations of image 12, one more than there are, are taken as omissions" in notes


def test_images_counted_from_one_are_refused_until_it_is_said() -> None:
    """The last would be one too many; taken from 0, every other one would be the next."""
    with pytest.raises(RecordingError, match="shows image 12, expected 0 to 11.*first_image=1"):
        read(stack(), trials(values=SHOWN + 1))
    shows(read(stack(), trials(values=SHOWN + 1), first_image=1)[0], SHOWN)


@pytest.mark.parametrize("values", [SHOWN.astype(str), (SHOWN + 0.0).astype(str)])
def test_numbers_may_be_written_as_text(values: Any) -> None:
    shows(read(stack(), trials(values=values.astype(object)))[0], SHOWN)


def test_numbers_may_be_the_names_of_images() -> None:
    ids = 62000 + 7 * np.arange(N)
    table = trials(column="image_id", values=ids[SHOWN])
    shows(read(singles(names=ids.astype(str)), table)[0], SHOWN)


def test_names_of_nameless_images_stand_for_them_in_order_on_demand() -> None:
    parts = (stack(), trials(column="image_name", values=NAMES[SHOWN]))
    with pytest.raises(RecordingError, match="which has no names.*names_in_order=true"):
        read(*parts)
    shows(read(*parts, names_in_order=True)[0], SHOWN)


def test_the_column_that_can_be_read_is_taken_and_another_on_demand() -> None:
    kinds = np.array(["natural"] * 16, object)
    parts = (stack(), trials(column="stimulus", values=kinds, image_id=SHOWN))
    shows(read(*parts)[0], SHOWN)
    both = (stack(), trials(column="frame", values=SHOWN, image_id=SHOWN[::-1]))
    scan, notes = read(*both)
    shows(scan, SHOWN)
    assert "'image_id' would say otherwise" in notes
    shows(read(*both, image_column="image_id")[0], SHOWN[::-1])
    other = (stack(), trials(column="picture", values=SHOWN))
    shows(read(*other, image_column="picture")[0], SHOWN)
    with pytest.raises(RecordingError, match="image_column: 'pic' is no column of 'trials'"):
        read(*both, image_column="pic")


def test_a_picture_under_two_numbers_is_one_image() -> None:
    """Shown once in train and, under another number, again in test: all of it is one image."""
    twice = np.concatenate([PICTURES, PICTURES[:2]])
    numbers = np.r_[0:12, 12, 13, 12, 13]
    scan, notes = read(stack(twice), trials(values=numbers))
    assert scan.n_images == N and "2 images had the pixels of another" in notes
    assert set(scan.tier[SHOWN < 2]) == {"test"}


def test_pixels_outside_the_screen_are_grey() -> None:
    masked = PICTURES.astype("f8")
    masked[:, :1] = np.nan
    scan, notes = read(stack(masked), trials())
    np.testing.assert_array_equal(scan.images[:, 0, 1:], PICTURES[:, 1:])
    assert scan.n_trials == 16 and "no value, as outside a screen" in notes


def test_opaque_images_with_transparency_are_read() -> None:
    colour = np.stack([PICTURES, PICTURES // 2, PICTURES // 3, 0 * PICTURES + 255], -1)
    shows(read(singles(RGBAImage, colour), trials())[0], SHOWN)
    colour[3, 2, 2, 3] = 128
    with pytest.raises(RecordingError, match="image 'im003_r' is transparent in places"):
        read(singles(RGBAImage, colour), trials())


def test_an_unknown_name_is_refused() -> None:
    table = trials(column="image", values=np.array(["cat"] * 16, object))
    with pytest.raises(RecordingError, match="'cat' is no image of 'scenes'.*image_column=NAME"):
        read(by_name(False), table)
