"""Recipes of published encoders: what their authors knew and their files do not say."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from predictive_model.encoders.config import EncoderConfig
from predictive_model.recipes import read_recipe


@dataclass(frozen=True)
class Recipe:
    """What the authors of some encoders knew and their files do not say.

    Attributes
    ----------
    config : EncoderConfig
        Whatever a state dict does not tell is taken from here: padding, dilation, whether a core
        is linear where its statistics leave that open, the last tanh of a network that predicts
        positions, and settings of the fit. The rest is read off the file.
    image_shape : (channels, height, width)
    image_mean, image_std : float
        On the scale of pixels from 0 to 255.
    source : str
        Where the encoders come from.
    behaviour_names : sequence of str
        What is in the channels beside the image, in order.
    elu_offset : float
        Added before the output nonlinearity.
    species, area : str
        Where the neurons are.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    config: EncoderConfig
    image_shape: tuple[int, int, int]
    image_mean: float
    image_std: float
    source: str = ""
    behaviour_names: tuple[str, ...] = ()
    elu_offset: float = 0.0
    species: str = ""
    area: str = ""

    def changed(
        self,
        *,
        height: int | None = None,
        width: int | None = None,
        channels: int | None = None,
        pad_input: bool | None = None,
        behaviour_names: Sequence[str] | None = None,
    ) -> Recipe:
        """The recipe with what is given in place of its own."""
        shape = (
            channels or self.image_shape[0],
            height or self.image_shape[1],
            width or self.image_shape[2],
        )
        config = self.config
        if pad_input is not None:
            core = config.core.model_copy(update={"pad_input": pad_input})
            config = config.model_copy(update={"core": core})
        names = self.behaviour_names if behaviour_names is None else tuple(behaviour_names)
        return replace(self, config=config, image_shape=shape, behaviour_names=names)


RECIPES: dict[str, Recipe] = {
    # Baselines of the Sensorium 2022 competition (Willeke et al. 2022), which z-scores images and
    # pupil positions and divides behaviour by its standard deviation without centring it. The
    # images' mean and standard deviation are not in the files. Here they are those of 7,500
    # ImageNet photographs (the grey central 36 x 64 pixels of Tiny ImageNet), which agree with
    # what the files do hold, see docs/encoders.md.
    "sensorium": Recipe(
        source="https://github.com/sinzlab/sensorium",
        config=EncoderConfig.model_validate(read_recipe("sensorium2022")["encoder"]),
        image_shape=(1, 36, 64),
        image_mean=114.3,
        image_std=65.2,
        behaviour_names=("pupil size", "change of pupil size", "running speed"),
        species="mouse",
        area="V1",
    ),
}


def find_recipe(name: str | Path) -> Recipe:
    """The recipe of a name, or that in a TOML file, whose keys are those of :class:`Recipe`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If there is no such recipe, or the file does not hold one.
    """
    if str(name) in RECIPES:
        return RECIPES[str(name)]
    if not str(name).endswith(".toml"):
        raise ValueError(
            f"recipe: {str(name)!r}, expected one of {', '.join(sorted(RECIPES))}, or a TOML file"
        )
    path = Path(name)
    if not path.exists():
        raise FileNotFoundError(f"recipe: {path}: no such file")
    try:
        values = tomllib.loads(path.read_text("utf-8-sig"))
        return TypeAdapter(Recipe).validate_python(values)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"recipe: {path}: not TOML in UTF-8: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise ValueError(f"recipe: {path}: {problems}") from error
