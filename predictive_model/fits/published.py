"""Encoders that others fitted and published as state dicts, read as encoders of this project.

A state dict says nothing of the network it belongs to. A :class:`Recipe` does, and a file is read
only if it has every tensor that the recipe's network has, of the same name and shape, and no other.
"""

from __future__ import annotations

import difflib
import io
import math
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictive_model.encoders.config import EncoderConfig, ShifterConfig
from predictive_model.encoders.encoder import Encoder, Population, build_encoder, data_key
from predictive_model.file_kinds import why_unreadable
from predictive_model.fits.fitted import FittedEncoder
from predictive_model.recipes import read_recipe
from predictive_model.recordings.recording import Normalisation, check_name

FIRST_KERNELS = "core.features.layer0.conv.weight"
FIRST_MEANS = "core.features.layer0.norm.running_mean"
# Which axis of a readout's tensors counts the neurons.
NEURON_AXES = {"bias": 0, "source_grid": 0, "sigma": 1, "_features": 3}
NAMED_PROBLEMS = 5


class PublishedEncoderError(ValueError):
    """A file that is no state dict, or not that of the recipe's network: says which key and why."""


@dataclass(frozen=True)
class Recipe:
    """What the authors of some encoders knew and their files do not say.

    Attributes
    ----------
    source : str
        Where the encoders come from.
    config : EncoderConfig
        Of the network that sees images only. Behaviour channels and a shifter are added where a
        file has them.
    shifter : ShifterConfig
        Of a network that has one.
    image_shape : (channels, height, width)
    image_mean, image_std : float
        On the scale of pixels from 0 to 255.
    behaviour_names : sequence of str
        What is in the channels beside the image, in order.
    species, area : str
        Where the neurons are.
    """

    source: str
    config: EncoderConfig
    shifter: ShifterConfig
    image_shape: tuple[int, int, int]
    image_mean: float
    image_std: float
    behaviour_names: tuple[str, ...]
    species: str
    area: str


def _config(name: str) -> EncoderConfig:
    return EncoderConfig.model_validate(read_recipe(name)["encoder"])


RECIPES: dict[str, Recipe] = {
    # Baselines of the Sensorium 2022 competition (Willeke et al. 2022), which z-scores images and
    # pupil positions and divides behaviour by its standard deviation without centring it. The
    # images' mean and standard deviation are not in the files. Here they are those of 7,500
    # ImageNet photographs (the grey central 36 x 64 pixels of Tiny ImageNet), which agree with
    # what the files do hold, see docs/encoders.md.
    "sensorium": Recipe(
        source="https://github.com/sinzlab/sensorium",
        config=_config("sensorium2022"),
        shifter=_config("sensorium2022plus").shifter or ShifterConfig(),
        image_shape=(1, 36, 64),
        image_mean=114.3,
        image_std=65.2,
        behaviour_names=("pupil size", "change of pupil size", "running speed"),
        species="mouse",
        area="V1",
    ),
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
    has_shifter : bool
    """

    scan: str
    n_neurons: int
    n_behaviour: int
    has_shifter: bool


def read_published(
    path: str | Path,
    *,
    recipe: str = "sensorium",
    name: str | None = None,
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
        A state dict that ``torch.save`` wrote.
    recipe : str
        One of ``RECIPES``.
    name : str, optional
        Of the scan; by default as the file calls it.
    image_mean, image_std : float, optional
        Of the images it was fitted to; by default the recipe's.
    behaviour_mean : sequence of float, optional
        What behaviour is held at where none is given; by default :func:`mean_inputs`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PublishedEncoderError
        If the file is not a state dict, or not one of the recipe's network.
    ValueError
        If there is no such recipe, or a statistic cannot be one.

    Examples
    --------
    >>> encoder = read_published("sensorium_sota_model.pth")  # doctest: +SKIP
    >>> encoder.predict(images).shape  # doctest: +SKIP
    (1000, 7776)
    """
    chosen = find_recipe(recipe)
    state = read_state_dict(path)
    try:
        return published_encoder(
            state,
            chosen,
            name=name,
            image_mean=image_mean,
            image_std=image_std,
            behaviour_mean=behaviour_mean,
        )
    except PublishedEncoderError as error:
        raise PublishedEncoderError(f"{path}: not as recipe {recipe!r} has it: {error}") from error


def find_recipe(name: str) -> Recipe:
    """The recipe of a name."""
    if name not in RECIPES:
        raise ValueError(f"recipe: {name!r}, expected one of {', '.join(sorted(RECIPES))}")
    return RECIPES[name]


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name, from a file that ``torch.save`` wrote. No code in the file is run.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PublishedEncoderError
        If it is a folder, damaged, something else, or holds more than tensors.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; expected a state dict")
    if path.is_dir():
        raise PublishedEncoderError(f"{path}: a folder, expected a file that torch.save wrote")
    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that it may not understand
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make it raise nearly anything
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            raise PublishedEncoderError(
                f"{path}: holds Python objects, which can run any code when they are read, and "
                "was not read; expected tensors only, as torch.save(model.state_dict(), path) "
                "writes them"
            ) from error
        if _is_another_archive(content):
            raise PublishedEncoderError(
                f"{path}: is no state dict written by torch.save, but another archive; write it "
                "with torch.save(model.state_dict(), path)"
            ) from error
        # A zip file, or a pickle as older versions wrote it.
        saved = content.startswith((b"PK", b"\x80\x02"))
        kind = "a damaged or incomplete file" if saved else "no file that torch.save wrote"
        why = why_unreadable(content, kind, "copy or download it again", expected="a zip|NumPy")
        raise PublishedEncoderError(f"{path}: {why}") from error
    if not isinstance(state, Mapping):
        raise PublishedEncoderError(
            f"{path}: holds one {type(state).__name__}, expected a state dict, tensors by name"
        )
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise PublishedEncoderError(
                f"{path}: entry {key!r} is a {type(value).__name__}, expected a tensor; save the "
                "model's state_dict() and nothing else"
            )
    return dict(state)


def _is_another_archive(content: bytes) -> bool:
    """Whether it is a whole zip file without the pickle that torch.save puts there."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return not any(name.endswith("data.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


# -- from a state dict to an encoder -------------------------------------------------------------


def published_encoder(
    state: Mapping[str, Tensor],
    recipe: Recipe,
    *,
    name: str | None = None,
    image_mean: float | None = None,
    image_std: float | None = None,
    behaviour_mean: Sequence[float] | None = None,
) -> FittedEncoder:
    """The encoder of a state dict; see :func:`read_published`."""
    layout = read_layout(state, recipe)
    scan = layout.scan if name is None else name
    check_name(scan)
    config = recipe.config.model_copy(
        update={
            "behaviour_channels": layout.n_behaviour > 0,
            "shifter": recipe.shifter if layout.has_shifter else None,
        }
    )
    key = data_key(scan)
    expected = _untrained(config, key, layout, recipe.image_shape).state_dict()
    theirs = {_renamed(k, key, layout.scan): v for k, v in expected.items()}
    check_state(state, theirs)
    return FittedEncoder(
        config=config,
        data_key=key,
        image_shape=recipe.image_shape,
        n_neurons=layout.n_neurons,
        normalisation=_normalisation(
            state,
            layout,
            image_mean=recipe.image_mean if image_mean is None else image_mean,
            image_std=recipe.image_std if image_std is None else image_std,
            behaviour_mean=behaviour_mean,
        ),
        state={ours: state[_renamed(ours, key, layout.scan)] for ours in expected},
    )


def read_layout(state: Mapping[str, Tensor], recipe: Recipe) -> Layout:
    """Scan, neurons and inputs, as the state dict's own keys and shapes tell them.

    Where they disagree the majority counts, so that a wrong tensor is named and not the others.
    """
    scans = Counter(k.split(".")[1] for k in state if k.startswith("readout.") and k.count(".") > 1)
    if not scans:
        raise PublishedEncoderError("no key begins with 'readout.' and the name of a scan")
    (scan, most), *others = scans.most_common()
    if others and others[0][1] == most:
        raise PublishedEncoderError(
            f"readouts of {len(scans)} scans, {', '.join(sorted(scans))}; expected one scan"
        )
    counts = Counter(
        tensor.shape[axis]
        for part, axis in NEURON_AXES.items()
        if (tensor := state.get(f"readout.{scan}.{part}")) is not None and tensor.ndim > axis
    )
    if not counts:
        raise PublishedEncoderError(
            f"no tensor of the readout tells the number of neurons, expected "
            f"{', '.join(f'readout.{scan}.{part}' for part in NEURON_AXES)}"
        )
    kernels = state.get(FIRST_KERNELS)
    n_behaviour = 0
    if kernels is not None and kernels.ndim == 4:
        n_behaviour = kernels.shape[1] - recipe.image_shape[0]
        if n_behaviour not in (0, len(recipe.behaviour_names)):
            raise PublishedEncoderError(
                f"{FIRST_KERNELS!r}: {kernels.shape[1]} input channels, expected "
                f"{recipe.image_shape[0]} for images, or {len(recipe.behaviour_names)} more for "
                f"{', '.join(recipe.behaviour_names)}"
            )
    return Layout(
        scan=scan,
        n_neurons=counts.most_common(1)[0][0],
        n_behaviour=n_behaviour,
        has_shifter=any(k.startswith("shifter.") for k in state),
    )


def check_state(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise an error that names every key, up to a few, in which a state dict is not as expected.

    Names, shapes and types have to be the same, and values finite.
    """
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


def _untrained(
    config: EncoderConfig, key: str, layout: Layout, image_shape: tuple[int, int, int]
) -> Encoder:
    """The network whose names and shapes are expected."""
    anywhere = np.stack([np.arange(layout.n_neurons), np.ones(layout.n_neurons)], axis=1)
    population = Population(
        layout.n_neurons,
        n_behaviour=layout.n_behaviour,
        cortical_positions=anywhere.astype(np.float32),
    )
    return build_encoder(config, {key: population}, image_shape=image_shape)


def _renamed(name: str, ours: str, theirs: str) -> str:
    """One of our tensors' names with their name of the scan in it."""
    part, *rest = name.split(".")
    return ".".join([part, theirs, *rest[1:]]) if rest[0] == ours else name


def _normalisation(
    state: Mapping[str, Tensor],
    layout: Layout,
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
        mean = mean_inputs(state)[-k:].astype(np.float32)
    pupil = layout.has_shifter
    return Normalisation(
        image_mean=image_mean,
        image_std=image_std,
        response_scale=np.ones(layout.n_neurons, np.float32),
        behaviour_mean=mean if k else None,
        behaviour_std=np.ones(k, np.float32) if k else None,
        pupil_mean=np.zeros(2, np.float32) if pupil else None,
        pupil_std=np.ones(2, np.float32) if pupil else None,
    )
