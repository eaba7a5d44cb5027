"""Which network is trained, as a configuration."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from predictive_model.config import Config, added
from regularized_training.networks.registry import STEMS, check_architecture, library_of
from regularized_training.networks.v1_config import V1Config

WEIGHTS_FILES = (".safetensors", ".pth", ".pt")
GIVEN = ("n_channels", "n_classes", "width", "weights")  # to a builder, so no options
DIGITS = 16


class NetworkConfig(Config):
    """Which network to train.

    Attributes
    ----------
    architecture : str
        A name, as ``regularized_training.networks.registry`` describes them.
    width : int
        Channels of the first layer, to which all others are proportional; 64 in the papers. For
        networks whose width can be chosen: ours, and others whose builder takes a width.
    activation : {"relu", "elu"}
        The nonlinearity after each layer.
    initialisation : {"own", "glorot"}
        That of the architecture, or for all weights that of Glorot and Bengio 2010, uniform, with
        biases of 0.
    weights : str
        What the training starts from instead of random weights: a file that ends in
        ``.safetensors``, ``.pth`` or ``.pt``; or, of a network of torchvision or timm, the name of
        published weights, or ``default``. A last layer for another number of classes stays random.
    weights_digest : str
        First 16 hexadecimal digits of the SHA-256 of that file; computed if left empty. With it,
        where the file lies makes no other network.
    options : dict
        Other arguments of the network's builder.
    low_pass : float
        Standard deviation in pixels of a Gaussian by which images are blurred before anything else,
        attacked ones too; 0 leaves them as they are. For networks that begin with
        :class:`~regularized_training.networks.normalisation.Normalise`: ours and those of
        libraries.
    mean, std : tuple of float
        By which images in [0, 1] are normalised, a number for each channel, instead of by what is
        usual: as those were that somebody else's weights have learned. For the same networks.
    v1 : V1Config, optional
        A model of primary visual cortex in place of the first stage: the VOneNets of Dapello et al.
        2020. For the same networks.
    """

    architecture: Annotated[str, AfterValidator(check_architecture)] = "resnet18"
    width: int = Field(default=64, ge=1)
    activation: Literal["relu", "elu"] = "relu"
    initialisation: Literal["own", "glorot"] = "own"
    weights: str = added("", since="0.2.0")
    weights_digest: str = added("", since="0.2.0", pattern=rf"^([0-9a-f]{{{DIGITS}}})?$")
    options: dict[str, JsonValue] = added({}, since="0.2.0")
    low_pass: float = added(0.0, since="0.2.0", ge=0, le=100)
    mean: tuple[float, ...] = added((), since="0.2.0")
    std: tuple[float, ...] = added((), since="0.2.0")
    v1: V1Config | None = added(None, since="0.2.0")

    @model_validator(mode="before")
    @classmethod
    def _find_digest(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and not value.get("weights_digest"):
            weights = value.get("weights")
            if isinstance(weights, str) and is_file_name(weights):
                return {**value, "weights_digest": file_digest(Path(weights))}
        return value

    @model_validator(mode="after")
    def _check(self) -> NetworkConfig:
        given = sorted(self.options.keys() & set(GIVEN))
        if given:
            raise ValueError(f"options: {', '.join(given)} are not among a network's options")
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"mean, std: {len(self.mean)} and {len(self.std)} numbers, expected one of each "
                "for every channel, or neither"
            )
        if self.v1 is not None and not self.replaced:
            raise ValueError(
                f"v1.replaces: which modules of {self.architecture} the block stands in for is not "
                'known; name them, like replaces = ["conv1", "bn1", "relu"]'
            )
        of_file = is_file_name(self.weights)
        if self.weights_digest and not of_file:
            raise ValueError("weights_digest: given, but weights names no file")
        if not self.weights:
            return self
        if self.initialisation != "own":
            raise ValueError(
                f"initialisation: {self.initialisation!r}, but weights are given; leave one out"
            )
        library = library_of(self.architecture)
        if not of_file and not (library and re.fullmatch(r"\w[\w.-]*", self.weights)):
            named = " or a name" if library else ""
            raise ValueError(
                f"weights: {self.weights!r}, expected a file that ends in "
                f"{', '.join(WEIGHTS_FILES)}{named} for the architecture {self.architecture}"
            )
        return self

    @property
    def replaced(self) -> tuple[str, ...]:
        """Modules that a V1 block stands in for, the first of which it becomes; none without."""
        if self.v1 is None:
            return ()
        return self.v1.replaces or STEMS.get(self.architecture, ())

    def identity(self) -> dict[str, Any]:
        """What the network is known by: of weights in a file the digest, and not the path."""
        described = self.described()
        if self.weights_digest:
            del described["weights"]
        return described

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        """Take lists: where all settings were looked at before, those of JSON are Python's."""
        return tuple(value) if isinstance(value, list) else value


def is_file_name(weights: str) -> bool:
    """Whether weights are those of a file and not published ones by name."""
    return weights.lower().endswith(WEIGHTS_FILES)


def file_digest(path: Path) -> str:
    """First digits of the SHA-256 of a file of weights.

    Raises
    ------
    ValueError
        If there is no such file.
    """
    try:
        status = path.stat()
        return _digest(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise ValueError(f"weights: {path}: cannot be read ({error.strerror})") from error


@functools.lru_cache(maxsize=64)
def _digest(path: Path, changed: int, size: int) -> str:
    """Of a file as it is; large ones are not read again unless they were changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
