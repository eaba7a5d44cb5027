"""Recipes: the settings of published models, one file each, every setting with its source."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

# Fitted with a loss that is summed over neurons and trials, a penalty means less the more of them
# there are. Here the loss is a mean, so published weights are divided by what the sum had been
# larger by; each file says by how much.


def recipe_names() -> list[str]:
    """Names of the recipes there are."""
    files = resources.files(__package__).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def read_recipe(name: str) -> dict[str, Any]:
    """Tables ``encoder`` and ``fit`` of a published model, as plain values.

    Raises
    ------
    ValueError
        If there is no such recipe.

    Examples
    --------
    >>> from predictive_model.encoders.config import EncoderConfig
    >>> EncoderConfig.model_validate(read_recipe("sensorium2022")["encoder"]).core.layers
    4
    """
    if name not in recipe_names():
        raise ValueError(f"recipe: {name!r}, expected one of {', '.join(recipe_names())}")
    return tomllib.loads((resources.files(__package__) / f"{name}.toml").read_text("utf-8"))
