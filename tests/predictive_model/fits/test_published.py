"""State dicts of other people: read to the last tensor, or refused by the name of what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from predictive_model.fits import published
from predictive_model.fits.fitted import FittedEncoder
from predictive_model.fits.published import (
    PublishedEncoderError,
    mean_inputs,
    published_encoder,
    read_published,
)
from tests.plain_encoder import plain_encoder

SCAN = "101-2-3"
NEURONS = 5
SHAPE = (10, 14)
SMALL = {"layers": 2, "hidden_channels": 6, "kernels": (5, 3), "image_shape": SHAPE}
SENSORIUM = published.RECIPES["sensorium"]
RECIPE = SENSORIUM.changed(height=SHAPE[0], width=SHAPE[1])


def plain(behaviour: bool = True) -> Any:
    return plain_encoder(
        SCAN, NEURONS, input_channels=4 if behaviour else 1, shifter=behaviour, **SMALL
    )


def state_of(behaviour: bool = True) -> dict[str, Tensor]:
    return dict(plain(behaviour).state_dict())


# Without the filter that penalises rough kernels, and the bias, which a readout may be without.
KEYS = sorted(k for k in state_of() if "regularizer" not in k and k != f"readout.{SCAN}.bias")


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (7, 1, *SHAPE)).astype(np.uint8)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published file of the small network, which is a recipe of its own here."""
    monkeypatch.setitem(published.RECIPES, "small", RECIPE)
    torch.save(state_of(), tmp_path / "model.pth")
    return tmp_path / "model.pth"


# -- what is read ------------------------------------------------------------------------------


def test_predictions_are_those_of_the_plain_network(rng, images):
    for behaviour in (False, True):
        model = plain(behaviour)
        ours = published_encoder(model.state_dict(), RECIPE, image_mean=120.0, image_std=50.0)
        z = torch.from_numpy((images.astype(np.float32) - 120) / 50)
        if not behaviour:
            expected = model(z, data_key=SCAN)
            predicted = ours.predict(images)
        else:
            run, gaze = rng.gamma(2, 1, (7, 3)), rng.normal(size=(7, 2))
            run, gaze = run.astype(np.float32), gaze.astype(np.float32)
            constant = torch.from_numpy(run)[:, :, None, None].expand(-1, -1, *SHAPE)
            expected = model(
                torch.cat([z, constant], 1), data_key=SCAN, pupil_center=torch.from_numpy(gaze)
            )
            predicted = ours.predict(images, behaviour=run, pupil=gaze)
        np.testing.assert_allclose(predicted, expected.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_behaviour_is_held_at_the_mean_that_batch_normalisation_saw_and_gaze_at_the_centre(
    rng, images
):
    """Of constant inputs the equations that ``mean_inputs`` solves hold exactly."""
    model = plain()
    model.core.features.layer0.norm.momentum = 1.0
    inputs = rng.gamma(2, 1, (50, 4)).astype(np.float32)
    model.core.train()
    model.core(torch.from_numpy(inputs)[:, :, None, None].expand(-1, -1, *SHAPE))
    state = model.state_dict()
    mean = inputs.mean(0)
    np.testing.assert_allclose(mean_inputs(state), mean, rtol=1e-4)
    ours = published_encoder(state, RECIPE)
    at_mean = ours.predict(
        images, behaviour=np.tile(mean[1:], (7, 1)), pupil=np.zeros((7, 2), np.float32)
    )
    np.testing.assert_allclose(ours.predict(images), at_mean, rtol=1e-4)
    held = published_encoder(state, RECIPE, behaviour_mean=[1.0, 2.0, 3.0])
    at_these = ours.predict(images, behaviour=np.tile(np.float32([1, 2, 3]), (7, 1)))
    np.testing.assert_allclose(held.predict(images), at_these, rtol=1e-5)
    assert np.abs(at_these / at_mean - 1).max() > 0.01


def test_the_scan_keeps_its_name_unless_another_is_wanted():
    assert published_encoder(state_of(), RECIPE).data_key == "scan_101-2-3"
    assert published_encoder(state_of(), RECIPE, name="mouse.7").data_key == "scan_mouse_7"
    with pytest.raises(ValueError, match="name: 'a/b'"):
        published_encoder(state_of(), RECIPE, name="a/b")


def test_a_published_encoder_survives_being_stored(images):
    ours = published_encoder(state_of(), RECIPE)
    stored = FittedEncoder.from_bytes(ours.to_bytes())
    np.testing.assert_array_equal(stored.predict(images), ours.predict(images))


def test_an_encoder_of_neuroteach_s_own_is_not_taken_for_a_published_one(tmp_path):
    (tmp_path / "ours.safetensors").write_bytes(published_encoder(state_of(), RECIPE).to_bytes())
    with pytest.raises(PublishedEncoderError, match="neuroteach wrote; FittedEncoder.from_bytes"):
        read_published(tmp_path / "ours.safetensors")


def test_a_file_is_read_as_its_tensors(file, images):
    np.testing.assert_array_equal(
        read_published(file, recipe="small").predict(images),
        published_encoder(state_of(), RECIPE).predict(images),
    )


# -- a state dict of another network -----------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_every_tensor_is_needed_under_its_own_name(key):
    state = state_of()
    tensor = state.pop(key)
    with pytest.raises(PublishedEncoderError, match=f"^'{re.escape(key)}' is missing"):
        published_encoder(state, RECIPE)
    last = key.rsplit(".", 1)[1]
    renamed = key.removesuffix(last) + last[:-1] + "X"
    with pytest.raises(PublishedEncoderError) as caught:
        published_encoder({**state, renamed: tensor}, RECIPE)
    # The kernels tell how many inputs there are; without them behaviour cannot be expected.
    assert f"{key!r} is missing, the nearest found is {renamed!r}" in str(caught.value)


@pytest.mark.parametrize("key", KEYS)
def test_every_tensor_has_one_shape_and_type_and_finite_values(key):
    state = state_of()
    tensor = state[key]
    longer = tensor[None] if tensor.ndim == 0 else torch.cat([tensor, tensor[:1]])
    with pytest.raises(PublishedEncoderError) as caught:
        published_encoder({**state, key: longer}, RECIPE)
    assert str(caught.value) == (
        f"{key!r} has shape {tuple(longer.shape)}, expected {tuple(tensor.shape)}"
    )
    with pytest.raises(PublishedEncoderError, match=f"^'{re.escape(key)}' is of type torch.int32"):
        published_encoder({**state, key: tensor.int()}, RECIPE)
    if tensor.is_floating_point():
        broken = tensor.clone()
        broken.view(-1)[0] = float("nan")
        with pytest.raises(PublishedEncoderError, match=f"^'{re.escape(key)}' has 1 value"):
            published_encoder({**state, key: broken}, RECIPE)


def test_a_tensor_too_many_is_refused():
    key = f"readout.{SCAN}.bias2"
    with pytest.raises(PublishedEncoderError, match="'readout.101-2-3.bias2' is unknown, the ne"):
        published_encoder({**state_of(), key: torch.zeros(NEURONS)}, RECIPE)


def test_input_channels_are_images_or_images_and_all_of_behaviour():
    state = plain_encoder(SCAN, NEURONS, input_channels=3, **SMALL).state_dict()
    with pytest.raises(
        PublishedEncoderError, match="has 3 input channels, expected 1 for images, or 3 more.*--beh"
    ):
        published_encoder(state, RECIPE)
    colour = published_encoder(state, RECIPE.changed(channels=3))
    assert colour.image_shape == (3, *SHAPE) and not colour.config.uses_behaviour
    run = published_encoder(state, RECIPE.changed(behaviour_names=["running", "pupil size"]))
    assert run.normalisation.behaviour_mean is not None
    assert run.image_shape == (1, *SHAPE) and len(run.normalisation.behaviour_mean) == 2


def test_an_error_names_the_file(file):
    state = state_of()
    del state[f"readout.{SCAN}.sigma"]
    torch.save(state, file)
    with pytest.raises(PublishedEncoderError, match="model.pth: .*sigma' is missing"):
        read_published(file, recipe="small")
    with pytest.raises(ValueError, match="recipe: 'smal', expected one of sensorium, small"):
        read_published(file, recipe="smal")


def test_images_that_are_smaller_than_a_kernel_are_asked_for():
    with pytest.raises(PublishedEncoderError, match="exceeds the image.*--height and --width"):
        published_encoder(state_of(), RECIPE.changed(height=4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_std": 0.0}, "image_std: 0.0, expected a finite number above 0"),
        ({"image_mean": float("nan")}, "image_mean: nan, expected a finite number"),
        ({"behaviour_mean": [1.0]}, "behaviour_mean: .*, expected 3 finite numbers"),
    ],
)
def test_statistics_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        published_encoder(state_of(), RECIPE, **changes)


def test_an_encoder_without_behaviour_has_none_to_hold():
    with pytest.raises(ValueError, match="expected 0 finite numbers"):
        published_encoder(state_of(behaviour=False), RECIPE, behaviour_mean=[1.0])
