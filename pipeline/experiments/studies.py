"""Experiment files of published studies, which come with the package."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import scales_of

_FOLDER = "experiments"


@functools.cache
def studies() -> Mapping[str, Path]:
    """Files by their names, without the ending."""
    folder = Path(__file__).resolve().parents[2] / _FOLDER  # of a checkout
    if not folder.is_dir():
        folder = _installed()
    files = {file.stem: file for file in sorted(folder.glob("*.toml"))}
    return MappingProxyType(files)


def _installed() -> Path:
    """Where the files of an installed package are."""
    for file in importlib.metadata.files("neuroteach") or ():
        if file.parent.name == _FOLDER and file.suffix == ".toml":
            return Path(str(file.locate())).resolve().parent
    raise ExperimentError("this installation has no published studies; name an experiment file")


def experiment_file(name: str) -> Path:
    """A file by its path, or that of a published study by its name.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    file = Path(name)
    if file.suffix == ".toml" or file.is_file():
        return file
    if name not in studies():
        raise FileNotFoundError(
            f"{name}: neither a file (TOML) nor a published study; of these there are "
            f"{', '.join(studies())}"
        )
    return studies()[name]


def default_scale(file: Path) -> str:
    """``small``, or the only scale of a file.

    Raises
    ------
    ExperimentError
        If it has several others.
    """
    scales = scales_of(file)
    if "small" in scales or not scales:
        return "small"
    if len(scales) > 1:
        raise ExperimentError(f"{file}: has the scales {', '.join(scales)}; choose by --scale NAME")
    return scales[0]
