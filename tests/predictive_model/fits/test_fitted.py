"""The denoiser as it is used and as it is stored."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch

from predictive_model.fits.fitted import FORMAT, FittedEncoder


def test_what_is_not_given_is_held_at_its_mean(scan, fitted_whole):
    """At the mean over the train tier, as S_model of Li et al. 2019 needs it."""
    images, train = scan.images[:7], scan.trials_of("train")
    pupil = np.tile(scan.pupil[train].mean(0), (7, 1))
    behaviour = np.tile(scan.behaviour[train].mean(0), (7, 1))
    at_mean = fitted_whole.predict(images)
    for given in (
        {"pupil": pupil},
        {"behaviour": behaviour},
        {"pupil": pupil, "behaviour": behaviour},
    ):
        np.testing.assert_allclose(fitted_whole.predict(images, **given), at_mean, rtol=1e-5)
    other = fitted_whole.predict(images, behaviour=behaviour + 2)
    assert np.abs(other / at_mean - 1).min() > 1e-4


def test_batches_are_what_is_predicted_whole(scan, fitted_whole):
    images = scan.images[:10]
    batches = list(fitted_whole.predict_parts(images, batch_size=4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    np.testing.assert_array_equal(
        np.concatenate(batches), fitted_whole.predict(images, batch_size=4)
    )
    with pytest.raises(ValueError, match="shape"):
        fitted_whole.predict_parts(images[:, :, 1:])  # before the first batch is asked for


def test_an_image_is_predicted_alike_alone_and_among_others(scan, fitted_whole):
    together = fitted_whole.predict(scan.images[:9])
    np.testing.assert_allclose(
        fitted_whole.predict(scan.images[:9], batch_size=2), together, rtol=1e-4
    )
    np.testing.assert_allclose(fitted_whole.predict(scan.images[4:5])[0], together[4], rtol=1e-4)
    np.testing.assert_array_equal(fitted_whole.predict(scan.images[:9]), together)


def test_bytes_and_floats_of_the_same_grey_values_are_predicted_alike(scan, fitted_small):
    images = scan.images[:5]
    np.testing.assert_allclose(
        fitted_small.predict(images.astype(np.float32)), fitted_small.predict(images), rtol=1e-5
    )


def test_predictions_are_in_the_units_of_the_recording(scan, fitted_small):
    train = scan.trials_of("train")
    predicted = fitted_small.predict(scan.images[scan.image_index[train]])
    np.testing.assert_allclose(predicted.mean(0), scan.responses[train].mean(0), rtol=0.35)


def test_the_network_can_be_differentiated_after_a_prediction(scan, fitted_small):
    """Images that excite a neuron are found by its gradient."""
    fresh = FittedEncoder.from_bytes(fitted_small.to_bytes())
    fresh.predict(scan.images[:2])
    images = torch.from_numpy(fresh.normalisation.images(scan.images[:2])).requires_grad_()
    fresh.encoder(images)[:, 0].sum().backward()
    assert images.grad.abs().max() > 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": lambda i: i[..., :-1]}, r"images: shape \(1, 10, 11\), expected \(1, 10, 12\)"),
        ({"images": lambda i: i[:, 0]}, r"images: shape \(4, 10, 12\), expected \(n, channels,"),
        (
            {"images": lambda i: np.repeat(i, 3, 1)},
            r"images: shape \(3, 10, 12\), expected \(1, 10",
        ),
        ({"images": lambda i: i.astype(np.float64)}, "images: type float64, expected uint8 or"),
        ({"images": lambda i: 0 * i}, "images: 4 are constant, the first is number 0"),
        ({"pupil": np.zeros((1, 2))}, r"pupil: shape \(1, 2\), expected \(4, 2\), one row per"),
        ({"pupil": np.zeros((4, 3))}, r"pupil: shape \(4, 3\), expected \(4, 2\)"),
        ({"behaviour": np.zeros((4, 1))}, r"behaviour: shape \(4, 1\), expected \(4, 2\)"),
        ({"behaviour": np.zeros(2)}, r"behaviour: shape \(2,\), expected \(4, 2\)"),
    ],
)
def test_inputs_of_another_shape_are_refused(scan, fitted_whole, change, message):
    given = dict(change)
    images = given.pop("images", lambda i: i)(scan.images[:4])
    with pytest.raises(ValueError, match=message):
        fitted_whole.predict(images, **given)


@pytest.mark.parametrize("change", [lambda x: x / 255, lambda x: x * 16, lambda x: (x - 110) / 60])
def test_images_on_another_scale_are_refused(scan, fitted_small, change):
    """Pixels from 0 to 1, of 12 bits, or z-scored, for an encoder of pixels from 0 to 255."""
    images = change(scan.images[:20].astype(np.float32))
    with pytest.raises(ValueError, match="images: mean .* expected the scale of the images"):
        fitted_small.predict(images)


def test_faint_and_dark_images_are_predicted(scan, fitted_small):
    images = scan.images[:20].astype(np.float32)
    for seen in (128 + (images - 128) / 100, images / 8):
        assert np.isfinite(fitted_small.predict(seen)).all()


def test_inputs_in_double_precision_are_taken(scan, fitted_whole):
    double = scan.pupil[:4].astype(np.float64)
    np.testing.assert_array_equal(
        fitted_whole.predict(scan.images[:4], pupil=double),
        fitted_whole.predict(scan.images[:4], pupil=scan.pupil[:4]),
    )


# -- file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["fitted_small", "fitted_whole"])
def test_a_stored_encoder_predicts_the_same(scan, which, request):
    fitted = request.getfixturevalue(which)
    again = FittedEncoder.from_bytes(fitted.to_bytes())
    np.testing.assert_array_equal(again.predict(scan.images), fitted.predict(scan.images))
    for name in (
        "config",
        "data_key",
        "image_shape",
        "n_neurons",
        "seed",
        "validation_correlation",
    ):
        assert getattr(again, name) == getattr(fitted, name)


def test_behaviour_acts_the_same_after_storing(scan, fitted_whole):
    again = FittedEncoder.from_bytes(fitted_whole.to_bytes())
    given = {"pupil": scan.pupil[:5], "behaviour": scan.behaviour[:5]}
    np.testing.assert_array_equal(
        again.predict(scan.images[:5], **given), fitted_whole.predict(scan.images[:5], **given)
    )


def test_foreign_bytes_are_refused(fitted_small):
    tensors = {"w": torch.ones(2)}
    foreign = safetensors.torch.save(tensors, {"format": "other 1"})
    with pytest.raises(
        ValueError, match="format: found 'other 1', expected 'neuroteach encoder 1'"
    ):
        FittedEncoder.from_bytes(foreign)
    with pytest.raises(ValueError, match="format: found None"):
        FittedEncoder.from_bytes(safetensors.torch.save(tensors))
    for content in (b"", b"nothing of the kind", b"PK\x03\x04" + bytes(50), bytes(100)):
        with pytest.raises(ValueError, match="not a safetensors file"):
            FittedEncoder.from_bytes(content)


def test_a_truncated_file_is_refused(fitted_small):
    content = fitted_small.to_bytes()
    with pytest.raises(ValueError, match="the bytes of this encoder are damaged"):
        FittedEncoder.from_bytes(content[:-10])
    with pytest.raises(ValueError, match="not a safetensors file"):
        FittedEncoder.from_bytes(content[:100])


def test_the_file_says_what_it_is_to_those_who_read_its_header(fitted_small):
    content = fitted_small.to_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    about = json.loads(header["__metadata__"]["about"])
    assert header["__metadata__"]["format"] == FORMAT
    assert about["data_key"] == "scan_small_scan"
    assert about["n_neurons"] == 6
