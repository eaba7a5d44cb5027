"""Where neurons look: exactly, for encoders made by hand, and recovered, for fitted ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from predictive_model.encoders.config import (
    CoreConfig,
    EncoderConfig,
    FrontEndConfig,
    ModulatorConfig,
    ReadoutConfig,
    ShifterConfig,
)
from predictive_model.encoders.encoder import Encoder, Population, build_encoder
from predictive_model.fits.fitted import FittedEncoder
from predictive_model.inspection.receptive_fields import (
    first_layer_filters,
    map_geometry,
    moments,
    readout_positions,
    receptive_fields,
)
from predictive_model.inspection.single_neurons import SingleNeurons
from predictive_model.recordings.gabor_config import GaborConfig
from predictive_model.recordings.recording import Normalisation
from tests import clear_scan, simulated_scan

SHAPE = (1, 24, 32)


def untrained(config: EncoderConfig, n: int = 5, seed: int = 0) -> FittedEncoder:
    """Random weights everywhere, none of them 0."""
    encoder = build_encoder(config, {"scan": Population(n, n_behaviour=2)}, image_shape=SHAPE)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=rng)
    return as_fitted(encoder, n)


def as_fitted(encoder: Encoder, n: int) -> FittedEncoder:
    return FittedEncoder(
        config=encoder.config,
        data_key="scan",
        image_shape=SHAPE,
        n_neurons=n,
        normalisation=Normalisation(
            image_mean=120.0,
            image_std=50.0,
            response_scale=np.linspace(1, 2, n, dtype=np.float32),
            behaviour_mean=np.array([1.0, 3.0], np.float32),
            behaviour_std=np.array([2.0, 1.5], np.float32),
            pupil_mean=np.array([80.0, 60.0], np.float32),
            pupil_std=np.array([4.0, 3.0], np.float32),
        ),
        state=encoder.state_dict(),
    )


def pinhole(config: EncoderConfig, positions: list[tuple[float, float]]) -> FittedEncoder:
    """A linear encoder whose kernels are points, each neuron's readout at a place of the grid.

    Of a front end it sees the last map only, which is luminance.
    """
    n = len(positions)
    encoder = build_encoder(config, {"scan": Population(n)}, image_shape=SHAPE)
    with torch.no_grad():
        for module in encoder.core.modules():
            if isinstance(module, nn.Conv2d):
                height, width = module.kernel_size
                module.weight.zero_()
                module.weight[:, -1, height // 2, width // 2] = 1
        encoder.readout["scan"].features.fill_(1)
        encoder.readout["scan"].mu.copy_(torch.tensor(positions).view(1, n, 1, 2))
    return as_fitted(encoder, n)


def noise(n: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *SHAPE)).astype(np.uint8)


def front_end(pool: int) -> FrontEndConfig:
    """Energies and luminance of squares of some pixels."""
    gabors = GaborConfig(wavelengths=(4,), orientations=2, exponent=0.25, pool=pool)
    return FrontEndConfig(gabors=gabors, spots=())


LINEAR = CoreConfig(linear=True, hidden_channels=1, layers=2, input_kernel=5, stack="last")
GEOMETRIES = {
    "unpadded": EncoderConfig(core=LINEAR),
    "padded": EncoderConfig(core=LINEAR.model_copy(update={"pad_input": True})),
    "dilated": EncoderConfig(core=LINEAR.model_copy(update={"hidden_dilation": 2})),
    "averaged over 2": EncoderConfig(core=LINEAR, downsample=2),
    "averaged over 3": EncoderConfig(core=LINEAR, downsample=3),
    "front end": EncoderConfig(core=LINEAR, front_end=front_end(4)),
    "averaged over 2, front end": EncoderConfig(core=LINEAR, front_end=front_end(2), downsample=2),
}


# -- where readouts look -------------------------------------------------------------------


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_point_like_receptive_field_is_where_its_readout_looks(name):
    """To the pixel, and between pixels where interpolation is."""
    places = [(0.0, 0.0), (-1.0, 1.0), (0.31, -0.42), (-0.77, 0.05)]
    fitted = pinhole(GEOMETRIES[name], places)
    maps = receptive_fields(fitted, noise(1)).linear[:, 0].astype(np.float64)
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    total = maps.sum((1, 2))
    centre = np.stack([(maps * x).sum((1, 2)) / total, (maps * y).sum((1, 2)) / total], axis=1)
    np.testing.assert_allclose(readout_positions(fitted), centre, atol=1e-3)


def test_the_map_of_an_unpadded_kernel_of_seven_on_halved_images():
    """As worked out by hand: the map's first place is on pixel 6.5, its last on 24.5 and 16.5."""
    config = EncoderConfig(core=CoreConfig(layers=2, input_kernel=7), downsample=2)
    geometry = map_geometry(untrained(config))
    assert (geometry.shape, geometry.start) == ((6, 10), (6.5, 6.5))
    np.testing.assert_array_equal(geometry.pixels(np.array([9, 5])), [24.5, 16.5])
    np.testing.assert_array_equal(geometry.pixels_per_unit, [9, 5])


def test_a_front_end_whose_squares_do_not_fill_the_image_widens_them():
    """Four squares in 24 pixels and six in 32, overlapping: to within half a pixel."""
    core = CoreConfig(linear=True, hidden_channels=1, layers=1, input_kernel=1, gamma_input=0)
    config = EncoderConfig(core=core, front_end=front_end(5))
    geometry = map_geometry(untrained(config))
    assert geometry.shape == (4, 6)
    np.testing.assert_allclose(geometry.step, [32 / 6, 24 / 4])
    x, y = np.array([[-1 + 2 * i / 5, -1 + 2 * min(i, 3) / 3] for i in range(6)]).T
    fitted = pinhole(config, list(zip(x, y, strict=True)))
    found = moments(receptive_fields(fitted, noise(1)).linear).centre
    middles = [[2.5, 2.5], [7.5, 8.5], [12.5, 14.5], [18.5, 20.5], [23.5, 20.5], [28.5, 20.5]]
    np.testing.assert_allclose(found, middles, atol=0.01)
    np.testing.assert_allclose(readout_positions(fitted), middles, atol=0.5)


@pytest.mark.parametrize("step", [(1, 0), (0, 1), (-2, 3)])
def test_a_readout_that_looks_some_pixels_further_has_its_receptive_field_there(step):
    core = CoreConfig(hidden_channels=4, layers=2, input_kernel=5)
    fitted = untrained(EncoderConfig(core=core), n=1)
    readout = fitted.encoder.readout["scan"]
    images = np.zeros((1, *SHAPE), np.float32)
    images[0, 0, 0, 0] = 1  # far from either receptive field
    centres, positions = [], []
    for place in (np.zeros(2), 2 * np.array(step) / (np.array([28, 20]) - 1)):
        with torch.no_grad():
            readout.mu.copy_(torch.from_numpy(place).view(1, 1, 1, 2))
        centres.append(moments(receptive_fields(fitted, images).sensitivity).centre[0])
        positions.append(readout_positions(fitted)[0])
    np.testing.assert_allclose(centres[1] - centres[0], step, atol=0.01)
    np.testing.assert_allclose(positions[1] - positions[0], step, atol=1e-5)


def test_a_mask_that_is_one_point_is_a_position():
    config = EncoderConfig(
        core=CoreConfig(hidden_channels=4, input_kernel=5), readout=ReadoutConfig(kind="factorised")
    )
    fitted = untrained(config, n=2)
    height, width = map_geometry(fitted).shape
    with torch.no_grad():
        spatial = fitted.encoder.readout["scan"].spatial
        spatial.zero_()
        spatial[0, 3 * width + 7] = -2.0
        spatial[1, [0, width - 1, (height - 1) * width, height * width - 1]] = 1.0
    expected = [[7 + 2, 3 + 2], [15.5, 11.5]]
    np.testing.assert_allclose(readout_positions(fitted), expected, atol=1e-4)


def test_a_mask_on_the_maps_of_a_front_end_is_a_position_in_pixels_of_the_image():
    """Of squares of four pixels that in the third row and fourth column is on (13.5, 9.5)."""
    config = EncoderConfig(
        front_end=front_end(4),
        core=CoreConfig(hidden_channels=4, layers=1, input_kernel=1, gamma_input=0),
        readout=ReadoutConfig(kind="factorised"),
    )
    fitted = untrained(config, n=2)
    with torch.no_grad():
        spatial = fitted.encoder.readout["scan"].spatial
        spatial.zero_()
        spatial[0, 2 * 8 + 3] = 1.0
        spatial[1, [0, 6 * 8 - 1]] = 1.0
    positions = readout_positions(fitted)
    np.testing.assert_allclose(positions, [[13.5, 9.5], [15.5, 11.5]], atol=1e-4)
    centres = moments(receptive_fields(fitted, noise()).sensitivity).centre
    np.testing.assert_allclose(centres[0], positions[0], atol=0.7)


# -- maps ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"shifter": ShifterConfig(), "modulator": ModulatorConfig()},
        {"shifter": ShifterConfig(), "modulator": ModulatorConfig(position="before")},
        {"behaviour_channels": True},
        {"readout": ReadoutConfig(kind="factorised"), "modulator": ModulatorConfig()},
        {"front_end": front_end(2)},
    ],
    ids=lambda parts: ", ".join(parts) or "plain",
)
def test_neurons_looked_at_singly_respond_as_the_encoder_predicts(parts):
    config = EncoderConfig(
        core=CoreConfig(hidden_channels=4, layers=2, input_kernel=5), downsample=2, **parts
    )
    fitted, images = untrained(config), noise()
    single = SingleNeurons(fitted)
    row, neuron = torch.arange(4).repeat_interleave(5), torch.arange(5).repeat(4)
    inputs = torch.from_numpy(fitted.normalisation.images(images))[row]
    with torch.no_grad():
        responses = single.responses(single.drive(inputs, neuron), neuron).view(4, 5).numpy()
    np.testing.assert_allclose(responses, fitted.predict(images), rtol=1e-4, atol=1e-6)
    assert np.ptp(responses, axis=0).min() > 1e-3


def test_a_linear_map_predicts_what_a_small_change_of_the_image_does():
    fitted = untrained(EncoderConfig(core=CoreConfig(hidden_channels=4, input_kernel=5)))
    image = noise(1).astype(np.float32)
    change = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    maps = receptive_fields(fitted, image).linear
    step = (fitted.predict(image + 0.1 * change) - fitted.predict(image - 0.1 * change))[0] / 0.2
    np.testing.assert_allclose((maps * change).sum((1, 2, 3)), step, rtol=0.02, atol=1e-5)


def test_maps_do_not_depend_on_batches_or_on_other_neurons():
    fitted, images = clear_scan.fitted(), clear_scan.recording().images[:10]
    whole = receptive_fields(fitted, images)
    some = receptive_fields(fitted, images, [7, 2], batch_size=3)
    np.testing.assert_allclose(some.linear, whole.linear[[7, 2]], atol=1e-6)
    np.testing.assert_allclose(some.sensitivity, whole.sensitivity[[7, 2]], atol=1e-6)


def test_moments_of_gaussians_are_theirs():
    y, x = np.mgrid[:40, :60]
    maps = np.exp(-(((x - 25.3) / 3) ** 2 + ((y - 17.6) / 5) ** 2) / 2)
    turned = np.exp(-((x - 30 + y - 20) ** 2 / 50 + (x - 30 - y + 20) ** 2 / 18) / 2)
    found = moments(np.stack([maps, turned])[:, None])
    np.testing.assert_allclose(found.centre, [[25.3, 17.6], [30, 20]], atol=1e-4)
    np.testing.assert_allclose(found.covariance[0], [[9, 0], [0, 25]], atol=0.01)
    np.testing.assert_allclose(found.covariance[1], [[17, 8], [8, 17]], atol=0.01)
    np.testing.assert_allclose(found.size, [15**0.5, 15**0.5], rtol=1e-3)


def test_a_map_of_nothing_is_centred_and_has_no_size():
    found = moments(np.zeros((1, 1, 24, 32)))
    np.testing.assert_array_equal(found.centre, [[15.5, 11.5]])
    np.testing.assert_array_equal(found.size, [0])


# -- recovered from recordings -------------------------------------------------------------


def off(found, true):
    return np.linalg.norm(found - true, axis=1)


def test_sensitivity_maps_recover_centres_and_sizes_of_clearly_driven_neurons():
    """Of simple and complex cells alike: measured 0.33 pixels, sizes correlate by 0.66."""
    cortex = clear_scan.cortex()
    images = clear_scan.recording().images[:60]
    fields = receptive_fields(clear_scan.fitted(), images)
    found = moments(fields.sensitivity)
    distance = off(found.centre, cortex.centres)
    for kind in (cortex.is_complex, ~cortex.is_complex):
        assert np.median(distance[kind]) < 0.6
    # The mean gradient of a complex cell vanishes nearly, and its map is what is left by chance.
    left = np.linalg.norm(fields.linear, axis=(2, 3)) / np.linalg.norm(
        fields.sensitivity, axis=(2, 3)
    )
    assert np.median(left[cortex.is_complex]) < 0.6 * np.median(left[~cortex.is_complex])
    size = np.sqrt(cortex.sigma.prod(1))
    assert np.median(found.size / size) == pytest.approx(1, abs=0.1)
    assert np.corrcoef(found.size, size)[0, 1] > 0.5


def test_sensitivity_maps_recover_centres_from_noisy_trials_of_a_moving_eye():
    """Measured: 1.2 to 1.7 pixels of an image 64 wide."""
    cortex, images = simulated_scan.cortex(), simulated_scan.recording().images[:30]
    fields = receptive_fields(simulated_scan.fitted(), images)
    distance = off(moments(fields.sensitivity).centre, cortex.centres)
    assert np.median(distance[cortex.is_complex]) < 2.2
    assert np.median(distance[~cortex.is_complex]) < 2.2


# -- filters -------------------------------------------------------------------------------


def test_filters_go_from_coarse_to_fine_and_leave_behaviour_out():
    config = EncoderConfig(
        core=CoreConfig(hidden_channels=3, input_kernel=7), behaviour_channels=True
    )
    fitted = untrained(config)
    x = np.arange(7)
    frequencies = (0.4, 0.05, 0.2)
    with torch.no_grad():
        weight = fitted.encoder.core.features[0].conv.weight
        for kernel, frequency in zip(weight, frequencies, strict=True):
            grating = np.cos(2 * np.pi * frequency * (x - 3)) * np.hanning(9)[1:-1, None]
            kernel[0] = torch.from_numpy(3 * grating)
    filters = first_layer_filters(fitted)
    assert filters.shape == (3, 1, 7, 7)
    np.testing.assert_allclose(np.abs(filters).max((1, 2, 3)), 1)
    stripes = [np.cos(2 * np.pi * f * (x - 3)) for f in sorted(frequencies)]
    np.testing.assert_allclose(filters[:, 0, 3], stripes, atol=1e-5)


def test_weights_on_the_maps_of_a_front_end_are_no_filters():
    config = EncoderConfig(core=CoreConfig(input_kernel=1, gamma_input=0), front_end=front_end(4))
    with pytest.raises(ValueError, match="front_end: .* no filters on the image; look at receptiv"):
        first_layer_filters(untrained(config))


# -- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "neurons, message",
    [
        ([0, 30], "neurons: 30, expected 0 to 29, as this encoder has 30 neurons"),
        ([-1], "neurons: -1, expected 0 to 29"),
        ([0.5], r"neurons: float64 of shape \(1,\), expected a list of indices"),
        ([], "expected a list of indices, at least one"),
        (3, r"neurons: int64 of shape \(\), expected a list"),
    ],
)
def test_neurons_that_are_not_there_are_refused(neurons, message):
    with pytest.raises(ValueError, match=message):
        receptive_fields(clear_scan.fitted(), clear_scan.recording().images[:2], neurons)


def test_images_and_maps_of_another_shape_are_refused():
    images = clear_scan.recording().images[:2]
    with pytest.raises(ValueError, match=r"images: shape \(1, 23, 24\), expected \(1, 24, 24\)"):
        receptive_fields(clear_scan.fitted(), images[:, :, 1:])
    with pytest.raises(ValueError, match=r"maps: shape \(2, 24, 24\), expected \(map, channels"):
        moments(images[:, 0])
