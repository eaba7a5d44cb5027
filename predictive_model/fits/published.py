"""Encoders that others fitted and published as state dicts, read as encoders of this project.

What network a state dict belongs to is read off its names and shapes, see
:mod:`~predictive_model.fits.published_layout`; a :class:`Recipe` says what they do not tell. A file
is read only if it has every tensor that this network has, of the same name and shape, and no other.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictive_model.encoders.encoder import Encoder, Population, build_encoder, data_key
from predictive_model.fits.fitted import FittedEncoder
from predictive_model.fits.published_layout import (
    FIRST_KERNELS,
    Layout,
    choose_scan,
    read_layout,
)
from predictive_model.fits.published_recipes import RECIPES, Recipe, find_recipe
from predictive_model.fits.state_dicts import PublishedEncoderError, read_state_dict
from predictive_model.recordings.recording import Normalisation, check_name

__all__ = [
    "FIRST_KERNELS",
    "RECIPES",
    "PublishedEncoderError",
    "Recipe",
    "choose_scan",
    "find_recipe",
    "mean_inputs",
    "published_encoder",
    "read_published",
    "read_state_dict",
]

FIRST_MEANS = "core.features.layer0.norm.running_mean"
NAMED_PROBLEMS = 5
# Of the smoothness of the input filters: predictions do not depend on it.
PENALTY = "core._input_weights_regularizer."
# The deprecated Gaussian2d calls two tensors otherwise.
FORMER_NAMES = {"mu": "_mu", "features": "_features"}


def read_published(
    path: str | Path,
    *,
    recipe: str | Path | Recipe = "sensorium",
    scan: str | None = None,
    member: str | None = None,
    name: str | None = None,
    linear: bool | None = None,
    image_mean: float | None = None,
    image_std: float | None = None,
    behaviour_mean: Sequence[float] | None = None,
) -> FittedEncoder:
    """Read a published encoder.

    It predicts responses in units of each neuron's standard deviation. Behaviour, where it is an
    input, is in units of its standard deviation too, and the position of the pupil is z-scored.

    Parameters
    ----------
    path : path
        A state dict that ``torch.save`` or safetensors wrote, alone or in a checkpoint.
    recipe : str, path or Recipe
        What the file does not say: one of ``RECIPES``, a TOML file, or a recipe of one's own.
    scan : str, optional
        Which one's readout, of a file that has several.
    member : str, optional
        How the names of one network begin, of a file that has several.
    name : str, optional
        Of the scan; by default as the file calls it.
    linear : bool, optional
        Whether the core is linear; by default as its running statistics tell, or else as the
        recipe has it.
    image_mean, image_std : float, optional
        Of the images it was fitted to; by default the recipe's.
    behaviour_mean : sequence of float, optional
        What behaviour is held at where none is given; by default :func:`mean_inputs`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PublishedEncoderError
        If the file is not a state dict, or that of a network that cannot be.
    ValueError
        If there is no such recipe, or a statistic cannot be one.

    Examples
    --------
    >>> encoder = read_published("sensorium_sota_model.pth")  # doctest: +SKIP
    >>> encoder.predict(images).shape  # doctest: +SKIP
    (1000, 7776)
    """
    chosen = recipe if isinstance(recipe, Recipe) else find_recipe(recipe)
    state = read_state_dict(path, member=member)
    try:
        return published_encoder(
            state,
            chosen,
            scan=scan,
            name=name,
            linear=linear,
            image_mean=image_mean,
            image_std=image_std,
            behaviour_mean=behaviour_mean,
        )
    except PublishedEncoderError as error:
        raise PublishedEncoderError(f"{path}: {error}") from error


# -- from a state dict to an encoder -------------------------------------------------------------


def published_encoder(
    state: Mapping[str, Tensor],
    recipe: Recipe,
    *,
    scan: str | None = None,
    name: str | None = None,
    linear: bool | None = None,
    image_mean: float | None = None,
    image_std: float | None = None,
    behaviour_mean: Sequence[float] | None = None,
) -> FittedEncoder:
    """The encoder of a state dict; see :func:`read_published`."""
    theirs = choose_scan(state, scan)
    name = theirs if name is None else name
    check_name(name)
    found = of_one_scan(state, theirs)
    layout = read_layout(found, recipe, scan=theirs, linear=linear)
    key = data_key(name)
    ours = _untrained(layout, key, recipe.image_shape).state_dict()
    expected = {_renamed(k, key, theirs): v for k, v in ours.items()}
    check_state(found, expected)
    bias = f"readout.{theirs}.bias"
    found[bias] = found[bias] + recipe.elu_offset
    return FittedEncoder(
        config=layout.config,
        data_key=key,
        image_shape=recipe.image_shape,
        n_neurons=layout.n_neurons,
        normalisation=_normalisation(
            found,
            layout,
            recipe,
            image_mean=recipe.image_mean if image_mean is None else image_mean,
            image_std=recipe.image_std if image_std is None else image_std,
            behaviour_mean=behaviour_mean,
        ),
        state={k: found.get(_renamed(k, key, theirs), tensor) for k, tensor in ours.items()},
    )


def of_one_scan(state: Mapping[str, Tensor], scan: str) -> dict[str, Tensor]:
    """A state dict with the readout and shifter of one scan, and nothing shared between neurons.

    ``FullGaussian2d`` may share features and positions between neurons that were matched over
    scans; here each neuron gets its own copy. What the authors left out, such as the bias of a
    readout, is 0.
    """
    others = {k.split(".")[1] for k in state if k.startswith("readout.")} - {scan}
    found = {
        key: tensor
        for key, tensor in state.items()
        if not key.startswith(PENALTY)
        and not (key.startswith(("readout.", "shifter.")) and key.split(".")[1] in others)
    }
    start = f"readout.{scan}."
    for former, current in FORMER_NAMES.items():
        if start + former in found:
            found[start + current] = found.pop(start + former)
    _unshare(found, start)
    features = found.get(f"{start}_features")
    if features is not None and features.ndim == 4:
        found.setdefault(f"{start}bias", torch.zeros(features.shape[3]))
    shifter = f"shifter.{scan}."
    if (weight := found.get(f"{shifter}weight")) is not None:
        found.setdefault(f"{shifter}bias", torch.zeros(len(weight)))
    return found


def _unshare(found: dict[str, Tensor], start: str) -> None:
    """Put each neuron's own features and position in the place of shared ones."""
    for index, part, axis in (
        ("feature_sharing_index", "_features", 3),
        ("grid_sharing_index", "_mu", 1),
    ):
        if start + index not in found:
            continue
        if start + part not in found:
            raise PublishedEncoderError(f"{start + part!r} is missing")
        shared, which = found[start + part], found.pop(start + index)
        count = shared.shape[axis] if shared.ndim == 4 else 0
        if (
            which.is_floating_point()
            or which.ndim != 1
            or not (which >= 0).logical_and(which < count).all()
        ):
            raise PublishedEncoderError(
                f"{start + index!r} has shape {tuple(which.shape)} and type {which.dtype}, "
                f"expected an index for each neuron, below the {count} of {start + part!r} of "
                f"shape {tuple(shared.shape)}"
            )
        transform = f"{start}mu_transform."
        if part == "_mu" and f"{transform}weight" in found and f"{transform}bias" in found:
            # Positions of another scan's readout, and a linear map of this one's own.
            weight, bias = (found.pop(transform + name) for name in ("weight", "bias"))
            shared = torch.nn.functional.linear(shared, weight, bias)
        own = shared.index_select(axis, which.long())
        if part == "_features" and (scales := found.pop(f"{start}scales", None)) is not None:
            own = _scaled(own, scales, f"{start}scales")
        found[start + part] = own


def _scaled(features: Tensor, scales: Tensor, key: str) -> Tensor:
    """Shared features times each neuron's scale."""
    expected = (1, 1, 1, features.shape[3])
    if scales.shape != expected:
        raise PublishedEncoderError(f"{key!r} has shape {tuple(scales.shape)}, expected {expected}")
    return scales * features


def check_state(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise an error that names every key, up to a few, in which a state dict is not as expected.

    Names, shapes and types have to be the same, and values finite.
    """
    expected = {k: v for k, v in expected.items() if not k.startswith(PENALTY)}
    problems = list(_problems(found, expected))
    if not problems:
        return
    named = "; ".join(problems[:NAMED_PROBLEMS])
    more = len(problems) - NAMED_PROBLEMS
    raise PublishedEncoderError(named + (f"; and {more} more" if more > 0 else ""))


def _problems(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[str]:
    unknown = [k for k in found if k not in expected]
    missing = [k for k in expected if k not in found]
    for key in missing:
        near = difflib.get_close_matches(key, unknown, n=1)
        if near:
            unknown.remove(near[0])
        yield f"{key!r} is missing" + (f", the nearest found is {near[0]!r}" if near else "")
    for key in unknown:
        near = difflib.get_close_matches(key, expected, n=1)
        yield f"{key!r} is unknown" + (f", the nearest expected is {near[0]!r}" if near else "")
    for key, tensor in found.items():
        if key not in expected:
            continue
        want = expected[key]
        if tensor.shape != want.shape:
            yield f"{key!r} has shape {tuple(tensor.shape)}, expected {tuple(want.shape)}"
        elif tensor.dtype != want.dtype:
            yield f"{key!r} is of type {tensor.dtype}, expected {want.dtype}"
        elif bad := int((~tensor.isfinite()).sum()):
            yield f"{key!r} has {bad} values that are not finite"


def mean_inputs(state: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """Mean of each input channel, read off the first batch normalisation.

    Its running mean of output channel c is the sum over inputs k of mean_k sum_yx w_ckyx: as many
    equations as output channels, solved by least squares. The running mean is that of the last
    batches of the fit, so this is an estimate from some hundred trials.

    Returns
    -------
    (channel,) float64
        The image first, then behaviour.
    """
    weights = state[FIRST_KERNELS].double().sum((2, 3)).numpy()
    return np.linalg.lstsq(weights, state[FIRST_MEANS].double().numpy(), rcond=None)[0]


def _untrained(layout: Layout, key: str, image_shape: tuple[int, int, int]) -> Encoder:
    """The network whose names and shapes are expected."""
    inputs = layout.config.readout.position_inputs
    anywhere = np.ones((layout.n_neurons, inputs), np.float32)
    anywhere[:, 0] = np.arange(layout.n_neurons)
    population = Population(
        layout.n_neurons, n_behaviour=layout.n_behaviour, cortical_positions=anywhere
    )
    try:
        return build_encoder(layout.config, {key: population}, image_shape=image_shape)
    except ValueError as error:
        raise PublishedEncoderError(
            f"images of {' x '.join(map(str, image_shape))}: {error}; say the size of the images "
            "it was fitted to with --height and --width"
        ) from error


def _renamed(name: str, ours: str, theirs: str) -> str:
    """One of our tensors' names with their name of the scan in it."""
    part, *rest = name.split(".")
    return ".".join([part, theirs, *rest[1:]]) if rest[0] == ours else name


def _normalisation(
    state: Mapping[str, Tensor],
    layout: Layout,
    recipe: Recipe,
    *,
    image_mean: float,
    image_std: float,
    behaviour_mean: Sequence[float] | None,
) -> Normalisation:
    if not math.isfinite(image_mean):
        raise ValueError(f"image_mean: {image_mean}, expected a finite number")
    if not (math.isfinite(image_std) and image_std > 0):
        raise ValueError(f"image_std: {image_std}, expected a finite number above 0")
    k = layout.n_behaviour
    mean = None
    if behaviour_mean is not None:
        mean = np.asarray(behaviour_mean, np.float32)
        if mean.shape != (k,) or not np.isfinite(mean).all():
            raise ValueError(
                f"behaviour_mean: {list(behaviour_mean)}, expected {k} finite numbers, one for "
                "each behaviour channel of this encoder"
            )
    elif k:
        if FIRST_MEANS not in state or len(state[FIRST_MEANS]) < recipe.image_shape[0] + k:
            raise PublishedEncoderError(
                "the file does not tell the mean of behaviour; give --behaviour-mean for each of "
                f"{', '.join(recipe.behaviour_names)}"
            )
        mean = mean_inputs(state)[-k:].astype(np.float32)
    pupil = layout.config.shifter is not None
    return Normalisation(
        image_mean=image_mean,
        image_std=image_std,
        response_scale=np.ones(layout.n_neurons, np.float32),
        behaviour_mean=mean if k else None,
        behaviour_std=np.ones(k, np.float32) if k else None,
        pupil_mean=np.zeros(2, np.float32) if pupil else None,
        pupil_std=np.ones(2, np.float32) if pupil else None,
    )
