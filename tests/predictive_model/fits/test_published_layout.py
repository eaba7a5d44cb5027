"""Whatever network of stacked convolutions somebody publishes, its state dict says which."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from predictive_model.fits.fitted import FittedEncoder
from predictive_model.fits.published import RECIPES, PublishedEncoderError, published_encoder
from tests.published_networks import CORTEX, NEURONS, SHAPE, affine, mlp, published_network

RECIPE = RECIPES["sensorium"].changed(height=SHAPE[0], width=SHAPE[1])
SCAN = "101-2-3"
MATCHED = np.array([3, 1, 1, 0, 3])  # neurons of the same number share something
SHARED = nn.Parameter(torch.tensor([[0.1, 0.4], [-0.3, 0.2], [0.5, -0.6]]).view(1, 3, 1, 2))

CORES: dict[str, dict[str, Any]] = {
    "plain": {},
    "depth-separable": {"depth_separable": True},
    "depth-separable with bias": {"depth_separable": True, "bias": True},
    "with bias": {"bias": True},
    "without norm": {"batch_norm": False},
    "without norm, with bias": {"batch_norm": False, "bias": True},
    "norm and offset": {"bias": True, "independent_bn_bias": False, "batch_norm_scale": False},
    "norm and scale": {"independent_bn_bias": False},
    "norm alone": {"independent_bn_bias": False, "batch_norm_scale": False},
    "skips": {"skip": 2, "layers": 4},
    "all skips, all read out": {"skip": 3, "layers": 4, "stack": None},
    "two read out": {"stack": -2},
    "one layer": {"layers": 1},
    "five layers": {"layers": 5, "hidden_channels": 9},
    "kernels": {"input_kern": 7, "hidden_kern": 5},
    "each its kernel": {"hidden_kern": [5, 3]},
    "even kernel": {"hidden_kern": 4},
}
READOUTS: dict[str, dict[str, Any]] = {
    "isotropic": {"gauss_type": "isotropic"},
    "uncorrelated": {"gauss_type": "uncorrelated"},
    "without bias": {"bias": False},
    "cortical": {"grid_mean_predictor": CORTEX},
    "cortical, linear": {"grid_mean_predictor": CORTEX | {"hidden_layers": 0}},
    "cortical, deep": {"grid_mean_predictor": CORTEX | {"hidden_layers": 3, "hidden_features": 4}},
    "cortical, in depth": {
        "grid_mean_predictor": CORTEX,
        "source_grid": np.random.default_rng(1).normal(size=(NEURONS, 3)),
    },
    "shared features": {"shared_features": {"match_ids": MATCHED, "shared_features": None}},
    "shared positions": {"shared_grid": {"match_ids": MATCHED, "shared_grid": None}},
    "another's positions": {"shared_grid": {"match_ids": MATCHED, "shared_grid": SHARED}},
}
SHIFTERS: dict[str, nn.Module] = {
    "three layers": mlp(),
    "one layer": mlp(layers=1),
    "two wide layers": mlp(layers=2, hidden=11),
    "affine": affine(),
    "affine without bias": affine(bias=False),
}
KINDS = (
    [pytest.param({"core": core}, id=f"core: {name}") for name, core in CORES.items()]
    + [pytest.param({"readout": readout}, id=f"readout: {n}") for n, readout in READOUTS.items()]
    + [pytest.param({"shifter": shifter}, id=f"shifter: {n}") for n, shifter in SHIFTERS.items()]
    + [pytest.param({"elu_offset": 0.7}, id="offset of the nonlinearity")]
)


def agrees(model: nn.Module, ours: FittedEncoder, scan: str = SCAN) -> bool:
    """Whether an encoder predicts what the network does that its state dict was taken from."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 1, *SHAPE)).astype(np.uint8)
    z = torch.from_numpy((images.astype(np.float32) - RECIPE.image_mean) / RECIPE.image_std)
    gaze = rng.normal(size=(6, 2)).astype(np.float32)
    with torch.no_grad():
        expected = model(z, data_key=scan, pupil_center=torch.from_numpy(gaze)).numpy()
    found = ours.predict(images, pupil=gaze)
    assert expected.std(0).min() > 1e-3  # or it would say little
    return bool(np.allclose(found, expected, rtol=1e-5, atol=2e-6))


def state_of(**kind: Any) -> dict[str, Tensor]:
    return dict(published_network(**kind).state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_is_read_off_its_state_dict(kind):
    model = published_network(**kind)
    recipe = replace(RECIPE, elu_offset=kind.get("elu_offset", 0.0))
    ours = published_encoder(model.state_dict(), recipe)
    assert agrees(model, ours)
    assert agrees(model, FittedEncoder.from_bytes(ours.to_bytes()))


@pytest.mark.parametrize(
    ("setting", "value", "core", "readout"),
    [
        ("core.linear", True, {"linear": True}, {}),
        ("core.pad_input", True, {"pad_input": True}, {}),
        ("core.hidden_dilation", 2, {"hidden_dilation": 2}, {}),
        ("core.final_nonlinearity", False, {"final_nonlinearity": False}, {}),
        (
            "readout.position_tanh",
            False,
            {},
            {"grid_mean_predictor": CORTEX | {"final_tanh": False}},
        ),
    ],
)
def test_what_no_tensor_tells_is_the_recipe_s(setting, value, core, readout):
    model = published_network(core=core, readout=readout)
    part, name = setting.split(".")
    changed = getattr(RECIPE.config, part).model_copy(update={name: value})
    recipe = replace(RECIPE, config=RECIPE.config.model_copy(update={part: changed}))
    assert agrees(model, published_encoder(model.state_dict(), recipe))
    assert not agrees(model, published_encoder(model.state_dict(), RECIPE))


def test_a_readout_is_chosen_of_several():
    model = published_network(scans=("mouse-a", "mouse-b"), shifter=mlp())
    state = model.state_dict()
    with pytest.raises(PublishedEncoderError, match="2 scans, mouse-a, mouse-b; choose.*--scan"):
        published_encoder(state, RECIPE)
    for scan in ("mouse-a", "mouse-b"):
        assert agrees(model, published_encoder(state, RECIPE, scan=scan), scan)
    with pytest.raises(PublishedEncoderError, match="'c', expected one of mouse-a, mouse-b"):
        published_encoder(state, RECIPE, scan="c")


def test_the_former_gaussian_readout_is_read_too():
    """``Gaussian2d``, which neuralpredictors deprecates, has its tensors under other names."""
    model = published_network(readout={"gauss_type": "uncorrelated"})
    former = {
        key.replace("._mu", ".mu").replace("._features", ".features"): tensor
        for key, tensor in model.state_dict().items()
    }
    assert agrees(model, published_encoder(former, RECIPE))


KERNELS, BIAS = "core.features.layer1.conv.weight", "core.features.layer1.conv.bias"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({KERNELS: None}, f"'{KERNELS}' is missing"),
        ({KERNELS: (4, 4, 3, 5)}, f"'{KERNELS}' has kernels of 3 x 5, expected squares"),
        ({KERNELS: (4, 7, 3, 3)}, f"'{KERNELS}' has shape (4, 7, 3, 3), expected (4, 4, 3, 3)"),
        ({BIAS: (4,)}, "'core.features.layer2.conv.bias' is missing"),
        ({BIAS.replace("1", "0"): (4,)}, f"'{BIAS.replace('1', '0')}' is unknown"),
        ({f"readout.{SCAN}.sigma": (1, 4, 2, 2)}, "sigma' has shape (1, 4, 2, 2), expected (1, 5,"),
        ({f"readout.{SCAN}._mu": (1, 5, 1, 3)}, "_mu' has shape (1, 5, 1, 3), expected (1, 5, 1,"),
        ({f"readout.{SCAN}.masks": (5, 4)}, f"'readout.{SCAN}.masks' is unknown"),
        (
            {f"readout.{SCAN}.feature_sharing_index": (5,)},
            "feature_sharing_index' has shape (5,) and type torch.float32, expected an index",
        ),
        ({"modulator.101-2-3.mlp.0.weight": (2, 3)}, "belongs to a modulator"),
        ({"core.features.layer1.attention_conv.key": (1,)}, "to a core of self-attention"),
        ({"core.features.layer0.conv.weight": (4, 1, 3, 5, 5)}, "only encoders of images"),
        ({f"shifter.{SCAN}.mlp.0.weight": (5, 3)}, "mlp.0.weight' has shape (5, 3), expected"),
        ({"shifter.other.weight": (2, 2)}, "'shifter.other.weight' is unknown"),
        ({"core.features.layer1.norm.running_mean": None}, "norm.running_mean' is missing"),
    ],
)
def test_what_does_not_fit_is_called_by_its_key(changes, message):
    state = state_of(shifter=mlp() if "mlp" in str(changes) else None)
    for key, shape in changes.items():
        if shape is None:
            del state[key]
        else:
            state[key] = torch.zeros(shape)
    with pytest.raises(PublishedEncoderError, match=re.escape(message)):
        published_encoder(state, RECIPE)


def test_a_core_of_another_kind_is_called_so():
    state = {k: v for k, v in state_of().items() if not k.startswith("core.")}
    state["core.backbone.weight"] = torch.zeros(2)
    with pytest.raises(PublishedEncoderError, match=r"no key begins with 'core.features.layer'"):
        published_encoder(state, RECIPE)


def test_the_mean_of_behaviour_is_asked_for_where_the_file_does_not_tell():
    state = state_of(core={"input_channels": 4, "batch_norm": False})
    with pytest.raises(PublishedEncoderError, match="--behaviour-mean for each of pupil size, ch"):
        published_encoder(state, RECIPE)
    mean = published_encoder(state, RECIPE, behaviour_mean=[1, 2, 3]).normalisation.behaviour_mean
    np.testing.assert_array_equal(mean, [1, 2, 3])
