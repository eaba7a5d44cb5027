"""Two published encoders of mouse V1 on natural images: the Sensorium 2022 baselines."""

from __future__ import annotations

import io
import tarfile
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from predictive_model.fits.fitted import FittedEncoder
from predictive_model.fits.linearity import is_linear
from predictive_model.fits.published import (
    FIRST_KERNELS,
    RECIPES,
    PublishedEncoderError,
    mean_inputs,
    published_encoder,
    read_published,
    read_state_dict,
)
from predictive_model.half_precision import HalfPrecisionError, in_half_precision
from predictive_model.recordings.stimuli import fit_images
from regularized_training.teachers.similarity import similarity, similarity_correlation
from tests.plain_encoder import plain_encoder

SENSORIUM = RECIPES["sensorium"]
FILES = {"sensorium_sota_model": "26872-17-20", "sensorium_p_sota_model": "27204-5-13"}
IMAGES_A_CLASS = 20


@cache
def natural_images(archive: Path) -> NDArray[np.uint8]:
    """1,000 photographs of Tiny ImageNet: of each of 50 classes the first 20 by name."""
    found: dict[str, list[str]] = {}
    with tarfile.open(archive) as tar:
        for name in sorted(tar.getnames()):
            parts = PurePosixPath(name).parts
            if "train" in parts and name.endswith(".JPEG"):
                found.setdefault(parts[parts.index("train") + 1], []).append(name)
        chosen = [name for label in sorted(found) for name in found[label][:IMAGES_A_CLASS]]
        files = [tar.extractfile(name) for name in chosen]
        pixels = [np.asarray(Image.open(io.BytesIO(f.read())).convert("RGB")) for f in files if f]
    return fit_images(np.stack(pixels).transpose(0, 3, 1, 2), (36, 64))


@pytest.fixture(scope="module")
def images(data_folder: Path) -> NDArray[np.uint8]:
    return natural_images(data_folder / "tiny_imagenet" / "tiny_imagenet_50.tar")


@pytest.fixture(scope="module")
def encoders(data_folder: Path) -> dict[str, FittedEncoder]:
    folder = data_folder / "mouse_v1_sensorium"
    return {name: read_published(folder / f"{name}.pth") for name in FILES}


@pytest.fixture(scope="module")
def predicted(encoders, images) -> dict[str, NDArray[np.float32]]:
    return {name: e.predict(images, batch_size=32) for name, e in encoders.items()}


def state_of(data_folder: Path, name: str) -> dict[str, torch.Tensor]:
    return read_state_dict(data_folder / "mouse_v1_sensorium" / f"{name}.pth")


def test_both_files_have_the_neurons_and_inputs_that_their_authors_say(encoders):
    images_only, plus = (encoders[name] for name in FILES)
    assert (images_only.n_neurons, plus.n_neurons) == (7776, 7538)
    assert [e.data_key for e in (images_only, plus)] == [f"scan_{n}" for n in FILES.values()]
    assert not images_only.config.uses_behaviour and images_only.config.shifter is None
    assert plus.config.behaviour_channels and plus.config.shifter is not None


@pytest.mark.parametrize("name", FILES)
def test_predictions_are_those_of_neuralpredictors_own_network(
    data_folder, encoders, images, predicted, name
):
    ours, some = encoders[name], images[:16]
    plus = ours.config.behaviour_channels
    model = plain_encoder(
        FILES[name], ours.n_neurons, input_channels=4 if plus else 1, shifter=plus
    )
    model.load_state_dict(state_of(data_folder, name), strict=True)
    z = (some.astype(np.float32) - SENSORIUM.image_mean) / SENSORIUM.image_std
    if not plus:
        with torch.no_grad():
            expected = model(torch.from_numpy(z), data_key=FILES[name]).numpy()
        np.testing.assert_allclose(predicted[name][:16], expected, rtol=1e-3, atol=1e-4)
        return
    rng = np.random.default_rng(0)
    run = rng.gamma(2, 1, (16, 3)).astype(np.float32)
    gaze = rng.normal(size=(16, 2)).astype(np.float32)
    channels = np.broadcast_to(run[:, :, None, None], (16, 3, 36, 64))
    with torch.no_grad():
        expected = model(
            torch.from_numpy(np.concatenate([z, channels], 1)),
            data_key=FILES[name],
            pupil_center=torch.from_numpy(gaze),
        ).numpy()
    found = ours.predict(some, behaviour=run, pupil=gaze)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_predictions_of_both_mice_are_what_they_were(predicted):
    """In units of each neuron's standard deviation."""
    images_only, plus = (predicted[name] for name in FILES)
    np.testing.assert_allclose(images_only[0, :4], [0.2574, 0.1822, 0.1515, 0.1219], atol=5e-4)
    np.testing.assert_allclose(
        images_only[70, 100:104], [0.7106, 0.0842, 0.7296, 0.5511], atol=2e-3
    )
    np.testing.assert_allclose(plus[0, :4], [0.2088, 1.3154, 0.2759, 1.1990], atol=2e-3)
    np.testing.assert_allclose(plus[70, 100:104], [0.1261, 0.0887, 0.6618, 0.1882], atol=2e-3)
    assert images_only.mean() == pytest.approx(0.3189, abs=1e-3)
    assert plus.mean() == pytest.approx(0.3874, abs=1e-3)


def test_predictions_do_not_depend_on_when_they_are_made(encoders, images, predicted):
    for name, encoder in encoders.items():
        again = encoder.predict(images[:32], batch_size=32)
        np.testing.assert_array_equal(again, predicted[name][:32])


def test_behaviour_and_gaze_drive_the_mouse_whose_encoder_knows_them(encoders, images, predicted):
    """Held at the mean unless given; a run raises responses, a turn of the eye changes them."""
    plus, usual = encoders["sensorium_p_sota_model"], predicted["sensorium_p_sota_model"][:16]
    mean = np.tile(plus.normalisation.behaviour_mean, (16, 1))
    at_mean = plus.predict(images[:16], behaviour=mean, pupil=np.zeros((16, 2), np.float32))
    np.testing.assert_allclose(at_mean, usual, rtol=1e-3, atol=1e-4)
    running = plus.predict(images[:16], behaviour=mean + np.float32([0, 0, 1]))
    assert running.mean() / usual.mean() == pytest.approx(1.2206, abs=5e-3)
    turned = plus.predict(images[:16], pupil=np.full((16, 2), 2, np.float32))
    assert np.corrcoef(turned.ravel(), usual.ravel())[0, 1] == pytest.approx(0.7965, abs=5e-3)


def test_batch_normalisation_confirms_the_normalisation_of_images(data_folder, images):
    """Natural images have the mean and variances behind the first kernels that the files recorded.

    The files' are those of one or two batches of 128 images.
    """
    z = (images.astype(np.float32) - SENSORIUM.image_mean) / SENSORIUM.image_std
    state = state_of(data_folder, "sensorium_sota_model")
    behind = F.conv2d(torch.from_numpy(z), state[FIRST_KERNELS]).var((0, 2, 3))
    recorded = state["core.features.layer0.norm.running_var"]
    assert float((recorded / behind).median()) == pytest.approx(1.0, abs=0.1)
    assert np.corrcoef(behind.log(), recorded.log())[0, 1] > 0.99
    for name in FILES:
        assert mean_inputs(state_of(data_folder, name))[0] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("name", FILES)
def test_both_files_tell_that_their_cores_are_not_linear(data_folder, name):
    assert is_linear(state_of(data_folder, name)) is False


def test_the_mean_behaviour_of_sensorium_plus_is_in_the_file(data_folder):
    """Four unknowns explain the 64 running means; the pupil's size is far from 0."""
    state = state_of(data_folder, "sensorium_p_sota_model")
    mean = mean_inputs(state)
    np.testing.assert_allclose(mean[1:], [2.227, 0.077, -0.003], atol=5e-4)
    explained = state[FIRST_KERNELS].double().sum((2, 3)).numpy() @ mean
    recorded = state["core.features.layer0.norm.running_mean"].numpy()
    assert np.linalg.norm(recorded - explained) < 0.005 * np.linalg.norm(recorded)


@pytest.mark.parametrize(
    "key",
    [
        "core.features.layer1.ds_conv.spatial_conv.weight",
        "core.features.layer3.norm.running_var",
        "readout.27204-5-13._features",
        "readout.27204-5-13.mu_transform.2.bias",
        "shifter.27204-5-13.mlp.4.weight",
    ],
)
def test_no_tensor_may_be_missing(data_folder, key):
    state = state_of(data_folder, "sensorium_p_sota_model")
    del state[key]
    with pytest.raises(PublishedEncoderError, match=f"^'{key}' is missing$"):
        published_encoder(state, SENSORIUM)


def test_two_mice_see_more_alike_than_pixels_are(images, predicted):
    """Similarity of what two animals' neurons are predicted to say of the same photographs."""
    first, second = (similarity(predicted[name]) for name in FILES)
    pixels = similarity(images.reshape(len(images), -1).astype(np.float32))
    assert similarity_correlation(first, second) == pytest.approx(0.730, abs=2e-3)
    assert similarity_correlation(first, pixels) == pytest.approx(0.251, abs=2e-3)
    assert similarity_correlation(second, pixels) == pytest.approx(0.181, abs=2e-3)


@pytest.mark.parametrize("name", FILES)
def test_half_precision_alters_no_similarity_by_1e_4(predicted, name):
    """Of 1,000 images; of a hundred of the neurons it would, and is refused."""
    responses = predicted[name]
    (half,) = in_half_precision([responses], responses.shape[1])
    rounded = half.astype(np.float32)
    change = np.abs(similarity(rounded) - similarity(responses)).max()
    assert change == pytest.approx(3.6e-5, rel=0.1)
    error = np.sqrt(np.square(rounded - responses).mean(0)) / responses.std(0)
    assert error.max() < 0.002
    few = slice(0, 100)
    of_few = np.abs(similarity(rounded[:, few]) - similarity(responses[:, few])).max()
    assert 1e-4 < of_few < 4e-4
    with pytest.raises(HalfPrecisionError, match="change similarities"):
        list(in_half_precision([responses[:, few]], 100))
