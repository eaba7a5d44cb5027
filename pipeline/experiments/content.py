"""Content of experiment files: TOML, put over that of recipes and of the files they extend."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from predictive_model.recipes import read_recipe
from predictive_model.text import read_text
from regularized_training.lessons.config import LI
from regularized_training.networks.config import is_file_name


class ExperimentError(ValueError):
    """An experiment that cannot be planned: says what was found and what to do."""


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Content of a TOML file; FileNotFoundError or ExperimentError say what was expected."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected {what} (TOML)")
    try:
        return tomllib.loads(read_text(path))
    except ValueError as error:
        raise ExperimentError(f"{path}: not valid TOML ({error})") from error


def with_recipe(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """A file's content, put over that of the recipe it names."""
    content = dict(content)
    if (recipe := content.pop("recipe", None)) is None:
        return content
    try:
        return merged(read_recipe(recipe), content)
    except ValueError as error:
        raise ExperimentError(f"{path}: {error}") from error


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Tables of settings, those of `over` in place of those of `base`, key by key.

    A regulariser of another method takes over nothing, nor do other weights the digest of a file.
    """
    found = dict(base)
    if "weights" in over:
        found.pop("weights_digest", None)
    for key, value in over.items():
        old = found.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            anew = key == "regularizer" and _other_method(old, value)
            value = value if anew else merged(old, value)
        found[key] = value
    return found


def _other_method(old: dict[str, Any], new: dict[str, Any]) -> bool:
    method = old.get("method", LI)
    return bool(new.get("method", method) != method)


def _with_paths(content: Any, folder: Path) -> Any:
    """A file's content, weights of networks in it being files in its folder."""
    if isinstance(content, list):
        return [_with_paths(one, folder) for one in content]
    if not isinstance(content, dict):
        return content
    found = {key: _with_paths(value, folder) for key, value in content.items()}
    network = found.get("network")
    if isinstance(network, dict):
        weights = network.get("weights")
        if isinstance(weights, str) and is_file_name(weights):
            network["weights"] = str(folder / weights)
    return found


def with_extended(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Content of an experiment file, put over that of the file it extends."""
    content = _with_paths(read_toml(path, "an experiment file"), path.parent.resolve())
    if (name := content.pop("extends", None)) is None:
        return content
    if not isinstance(name, str):
        raise ExperimentError(f"{path}: extends: {name!r}, expected the name of a file")
    base = path.parent / name
    if base.resolve() in (chain := (*below, path.resolve())):
        raise ExperimentError(f"{path}: extends {name}, which extends this file in turn")
    if not base.is_file():
        raise ExperimentError(f"{path}: extends {name}, which is not in {path.parent}")
    return merged(with_extended(base, chain), content)
