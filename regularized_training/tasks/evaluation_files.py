"""Evaluation sets from folders and archives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from predictive_model.importers.archives import UnreadableError, is_litter, read_members
from predictive_model.importers.decoding import SUFFIXES, PictureError, PictureReader
from predictive_model.text import decoded
from regularized_training.tasks.evaluation_set import EvaluationSet
from regularized_training.tasks.image_files import as_pixels, stacked
from regularized_training.tasks.image_names import names_of
from regularized_training.tasks.labelled_files import (
    Parts,
    class_name,
    composed,
    parts_of,
    printable,
)
from regularized_training.tasks.labelled_task import TaskError

OUTPUTS = "outputs.json"  # beside the folders of labels


def read_evaluation_set(
    path: str | Path,
    *,
    name: str | None = None,
    size: int | None = None,
    outputs: Path | None = None,
) -> EvaluationSet:
    """Read ``LABEL/IMAGE`` from a folder, a tar file or a zip file, in colour.

    Images are ordered by their path, labels by name. They are called what their files say was shown
    (:func:`~regularized_training.tasks.image_names.names_of`). A folder above those of the labels
    is tolerated. ``outputs.json`` beside these says which classes of networks mean each label::

        {"knife": ["cleaver", "letter opener"], "boat": ["canoe", "speedboat"]}

    Parameters
    ----------
    path : path
        A folder, ``.tar`` (also ``.gz``, ``.bz2``, ``.xz``) or ``.zip``.
    name : str, optional
        Name of the set; by default that of the file.
    size : int, optional
        Crop each image centrally to a square and resize it to this many pixels a side.
    outputs : Path, optional
        In place of ``outputs.json``.

    Raises
    ------
    FileNotFoundError
        If `path` or `outputs` is missing.
    TaskError
        If it holds no such folders, an image cannot be decoded, or sizes differ.
    """
    path, reader = Path(path), PictureReader()
    if outputs is not None and not outputs.is_file():
        raise FileNotFoundError(f"{outputs}: no such file; expected a JSON object")
    meant, place = (outputs.read_bytes(), outputs) if outputs else (b"", path / OUTPUTS)
    pixels: dict[Parts, np.ndarray] = {}
    try:
        for file_name, data in read_members(path, _wanted):
            parts = parts_of(file_name)
            if parts[-1] == OUTPUTS:
                meant = meant or data
            else:
                image = reader.read(data, f"{path}/{file_name}", "RGB")
                pixels[parts] = as_pixels(image, size)
        reader.warn_of_decisions(path)
    except (UnreadableError, PictureError) as error:
        raise TaskError(printable(str(error))) from error
    tops = sorted({parts[:-2] for parts in pixels})
    if len(tops) != 1:
        places = ", ".join("/".join(top) or "." for top in tops)
        found = f"in {len(tops)} folders: {places}" if tops else "no images"
        raise TaskError(f"{path}: {found}; expected LABEL/IMAGE in one folder")
    names = {folder: class_name(folder, path) for folder in {parts[-2] for parts in pixels}}
    label_names = tuple(sorted(set(names.values())))
    order = sorted(pixels, key=lambda parts: (names[parts[-2]], parts[-1]))
    return EvaluationSet(
        name=name or path.name.split(".")[0],
        images=stacked([pixels[parts] for parts in order], str(path)),
        labels=np.array([label_names.index(names[parts[-2]]) for parts in order], np.int64),
        label_names=label_names,
        outputs=_outputs(meant, place) if meant else {},
        image_names=names_of(
            [(names[parts[-2]], printable(composed(parts[-1]))) for parts in order]
        ),
    )


def _wanted(name: str) -> bool:
    parts = parts_of(name)
    if not parts or name.endswith("/") or is_litter(name) or any(p[0] == "." for p in parts):
        return False
    ending = Path(parts[-1]).suffix.lower()
    if parts[-1] == OUTPUTS:
        return True
    return ending in SUFFIXES and len(parts) >= 2


def _outputs(content: bytes, place: Path) -> dict[str, tuple[str, ...]]:
    try:
        found = json.loads(decoded(content))
    except ValueError as error:
        raise TaskError(f"{place}: not JSON ({error})") from error
    if not isinstance(found, dict) or not all(isinstance(v, list) for v in found.values()):
        raise TaskError(
            f'{place}: expected lists of classes by label, such as {{"dog": ["beagle", "husky"]}}'
        )
    try:
        return {composed(label): tuple(map(composed, names)) for label, names in found.items()}
    except TypeError as error:
        raise TaskError(f"{place}: expected names of classes ({error})") from error
