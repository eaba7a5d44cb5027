"""What a state dict of a published encoder says of its own network: nearly everything.

Where tensors disagree the majority counts, so that a wrong tensor is named and not the others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from predictive_model.encoders.config import EncoderConfig, ReadoutConfig, ShifterConfig
from predictive_model.fits.linearity import is_linear
from predictive_model.fits.published_recipes import Recipe
from predictive_model.fits.state_dicts import PublishedEncoderError

FEATURES = "core.features."
FIRST_KERNELS = f"{FEATURES}layer0.conv.weight"
# Layers that are no convolutions of this project, and what to say of them.
OTHER_CORES = {"attention_conv": "self-attention", "hermite_conv": "rotation-equivariant layers"}
# Which axis of a readout's tensors counts the neurons.
NEURON_AXES = {"bias": 0, "source_grid": 0, "sigma": 1, "_mu": 1, "_features": 3}
GAUSSIANS: dict[tuple[int, ...], str] = {
    (2, 2): "full",
    (1, 2): "uncorrelated",
    (1, 1): "isotropic",
}


@dataclass(frozen=True)
class Layout:
    """What a state dict says of itself.

    Attributes
    ----------
    scan : str
        Name of the scan, as its authors call it.
    n_neurons : int
    n_behaviour : int
        Input channels beside the image.
    config : EncoderConfig
        Of its network.
    """

    scan: str
    n_neurons: int
    n_behaviour: int
    config: EncoderConfig


def choose_scan(state: Mapping[str, Tensor], scan: str | None = None) -> str:
    """The scan of a state dict's readout, or the one that is meant of several."""
    scans = sorted(
        {k.split(".")[1] for k in state if k.startswith("readout.") and k.count(".") > 1}
    )
    if not scans:
        raise PublishedEncoderError("no key begins with 'readout.' and the name of a scan")
    if scan is None and len(scans) > 1:
        raise PublishedEncoderError(
            f"readouts of {len(scans)} scans, {', '.join(scans)}; choose one with --scan"
        )
    if scan is not None and scan not in scans:
        raise PublishedEncoderError(f"scan: {scan!r}, expected one of {', '.join(scans)}")
    return scan or scans[0]


def read_layout(
    state: Mapping[str, Tensor], recipe: Recipe, *, scan: str, linear: bool | None = None
) -> Layout:
    """Scan, neurons, inputs and network, as the state dict's own keys and shapes tell them.

    Parameters
    ----------
    state : mapping of str to tensor
        Of one scan, as :func:`~predictive_model.fits.published.of_one_scan` leaves it.
    recipe : Recipe
        What the state dict does not tell.
    scan : str
    linear : bool, optional
        Whether the core is linear; by default as the running statistics tell, see
        :func:`~predictive_model.fits.linearity.is_linear`, or else as the recipe has it.
    """
    gain = next((k for k in state if k.startswith("modulator.")), None)
    if gain is not None:
        raise PublishedEncoderError(
            f"{gain!r} belongs to a modulator; no published form of it can be read, save an "
            "encoder without"
        )
    readout = _under(state, f"readout.{scan}.")
    n_neurons = _most(
        tensor.shape[axis]
        for part, axis in NEURON_AXES.items()
        if (tensor := readout.get(part)) is not None and tensor.ndim > axis
    )
    if n_neurons is None:
        raise PublishedEncoderError(
            f"no tensor of the readout tells the number of neurons, expected "
            f"{', '.join(f'readout.{scan}.{part}' for part in NEURON_AXES)}; only Gaussian "
            "readouts can be read"
        )
    n_behaviour = _behaviour_channels(state, recipe)
    shifter = _under(state, f"shifter.{scan}.")
    if linear is None:
        linear = is_linear(state)
    core = _core(state, recipe, linear)
    features = readout.get("_features")
    if features is not None and features.ndim > 1:
        stacked = max(1, features.shape[1] // core["hidden_channels"])
        core["stack"] = {1: "last", core["layers"]: "all"}.get(stacked, stacked)
    config = recipe.config.model_dump() | {
        "core": core,
        "readout": _readout(readout, recipe.config.readout),
        "shifter": _shifter(shifter) if shifter else None,
        "modulator": None,
        "front_end": None,
        "behaviour_channels": n_behaviour > 0,
    }
    try:
        return Layout(scan, n_neurons, n_behaviour, EncoderConfig.model_validate(config))
    except ValueError as error:
        raise PublishedEncoderError(f"no encoder of this project: {error}") from error


def _behaviour_channels(state: Mapping[str, Tensor], recipe: Recipe) -> int:
    kernels = state.get(FIRST_KERNELS)
    if kernels is None:
        return 0
    if kernels.ndim != 4:
        raise PublishedEncoderError(
            f"{FIRST_KERNELS!r} has shape {tuple(kernels.shape)}, expected (channels, inputs, "
            "height, width): only encoders of images can be read"
        )
    beside = kernels.shape[1] - recipe.image_shape[0]
    if beside not in (0, len(recipe.behaviour_names)):
        names = ", ".join(recipe.behaviour_names)
        raise PublishedEncoderError(
            f"{FIRST_KERNELS!r} has {kernels.shape[1]} input channels, expected "
            f"{recipe.image_shape[0]} for images"
            + (f", or {len(recipe.behaviour_names)} more for {names}" if names else "")
            + "; say what the others are with --behaviour NAME, once for each, or how many are "
            "of the image with --channels"
        )
    return beside


def _layers(state: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Tensors of each layer of a core of stacked convolutions; other cores are refused."""
    layers: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _under(state, FEATURES).items():
        if found := re.match(r"layer(\d+)\.(.+)", key):
            layers.setdefault(int(found[1]), {})[found[2]] = tensor
    for part, kind in OTHER_CORES.items():
        other = next((k for k in state if k.startswith(FEATURES) and f".{part}." in k), None)
        if other is not None:
            raise PublishedEncoderError(
                f"{other!r} belongs to a core of {kind}; only stacked convolutions can be read"
            )
    if not layers:
        raise PublishedEncoderError(
            f"no key begins with '{FEATURES}layer', as those of stacked convolutions do; no other "
            "core can be read"
        )
    return layers


def _core(state: Mapping[str, Tensor], recipe: Recipe, linear: bool | None) -> dict[str, Any]:
    """Settings of a core, read off its tensors; those that they do not tell are the recipe's."""
    layers = _layers(state)
    usual = recipe.config.core
    later = {n: parts for n, parts in layers.items() if n > 0}
    separable = any(name.startswith("ds_conv.") for parts in later.values() for name in parts)
    spatial = "ds_conv.spatial_conv" if separable else "conv"
    entrance = "ds_conv.in_depth_conv" if separable else "conv"
    channels = _most(
        tensor.shape[0]
        for parts in layers.values()
        for name, tensor in parts.items()
        if name.startswith(("conv.", "ds_conv.", "norm.")) and tensor.ndim > 0
    )
    channels = channels or usual.hidden_channels
    n_layers = max(layers) + 1
    widths = {n: _size(p, f"{entrance}.weight", 1) for n, p in later.items()}
    skip = max((w // channels for w in widths.values() if w is not None), default=1)
    sizes = {n: _kernel(parts, f"{spatial}.weight", n) for n, parts in later.items()}
    typical = _most(size for size in sizes.values() if size is not None) or 3
    kernels = tuple(sizes.get(n) or typical for n in range(1, n_layers))
    norms = _most(_norm(parts) for parts in layers.values())
    biased = _most(f"{entrance}.bias" in parts for parts in later.values())
    if biased is None:
        biased = "conv.bias" in layers.get(0, {})
    return usual.model_dump() | {
        "layers": n_layers,
        "hidden_channels": channels,
        "input_kernel": _kernel(layers.get(0, {}), "conv.weight", 0) or usual.input_kernel,
        "hidden_kernel": kernels if len(set(kernels)) > 1 else typical,
        "depth_separable": separable,
        "skip": skip if skip > 1 else 0,
        "norm": norms,
        "bias": biased,
        "linear": usual.linear if linear is None else linear,
    }


def _norm(parts: Mapping[str, Tensor]) -> str:
    if "norm.running_mean" not in parts and "norm.running_var" not in parts:
        return "none"
    if "norm.weight" in parts or "norm.bias" in parts:
        return "affine"
    if "bias.bias" in parts:
        return "offset"
    return "scale" if "scale.scale" in parts else "plain"


def _readout(found: Mapping[str, Tensor], usual: ReadoutConfig) -> dict[str, Any]:
    sigma, grid = found.get("sigma"), found.get("source_grid")
    # Linear layers of the network that predicts positions, at 0, 2, 4, ...
    places = [int(m[1]) for k in found if (m := re.match(r"mu_transform\.(\d+)\.", k))]
    settings = usual.model_dump() | {
        "kind": "gaussian",
        "gauss_type": "full" if sigma is None else GAUSSIANS.get((*sigma.shape[2:],), "full"),
        "positions": "cortical" if places or grid is not None else "free",
    }
    if places:
        settings["position_layers"] = max(places) // 2
        settings["position_features"] = _hidden(found, "mu_transform", max(places)) or (
            usual.position_features
        )
        settings["position_inputs"] = _most(
            size
            for size in (_size(found, "source_grid", 1), _size(found, "mu_transform.0.weight", 1))
            if size is not None
        ) or (usual.position_inputs)
    return settings


def _shifter(found: Mapping[str, Tensor]) -> dict[str, Any]:
    places = [int(m[1]) for k in found if (m := re.match(r"mlp\.(\d+)\.", k))]
    if not places:
        return ShifterConfig(kind="affine").model_dump()
    usual = ShifterConfig()
    return usual.model_dump() | {
        "layers": max(places) // 2 + 1,
        "hidden_channels": _hidden(found, "mlp", max(places)) or usual.hidden_channels,
    }


def _hidden(found: Mapping[str, Tensor], name: str, last: int) -> int | None:
    """Units of the hidden layers of a perceptron whose linear layers are at 0, 2, ... ``last``."""
    sizes = [
        size
        for place in range(0, last, 2)
        for size in (
            _size(found, f"{name}.{place}.weight", 0),
            _size(found, f"{name}.{place}.bias", 0),
            _size(found, f"{name}.{place + 2}.weight", 1),
        )
    ]
    return _most(size for size in sizes if size is not None)


def _kernel(parts: Mapping[str, Tensor], name: str, layer: int) -> int | None:
    """Side of a square kernel; nothing where the tensor is missing or is no kernel."""
    tensor = parts.get(name)
    if tensor is None or tensor.ndim != 4:
        return None
    height, width = tensor.shape[2:]
    if height != width:
        raise PublishedEncoderError(
            f"'{FEATURES}layer{layer}.{name}' has kernels of {height} x {width}, expected squares"
        )
    return height


def _size(found: Mapping[str, Tensor], name: str, axis: int) -> int | None:
    tensor = found.get(name)
    return tensor.shape[axis] if tensor is not None and tensor.ndim > axis else None


def _most(values: Iterable[Any]) -> Any:
    """The commonest of some values, None of none."""
    counts = Counter(values).most_common(1)
    return counts[0][0] if counts else None


def _under(state: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    """Tensors whose names begin with ``start``, by the rest of their names."""
    return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
