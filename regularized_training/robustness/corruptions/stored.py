"""Sets of corrupted images that others made: CIFAR-10-C's arrays, or folders as ImageNet-C's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regularized_training.behaviour.published_labels import CIFAR10
from regularized_training.robustness.corruptions.config import ALL, SEVERITIES, set_name
from regularized_training.tasks.evaluation_files import read_evaluation_set
from regularized_training.tasks.evaluation_set import EvaluationSet
from regularized_training.tasks.labelled_task import TaskError

LABELS = "labels.npy"


def read_corrupted_sets(
    folder: str | Path,
    *,
    name: str,
    size: int | None = None,
    label_names: Sequence[str] = CIFAR10,
) -> Iterator[EvaluationSet]:
    """Evaluation sets of all corruptions and severities in a folder, one after the other.

    Either ``CORRUPTION.npy``, images of severity 1, then of 2, and so on, beside ``labels.npy``, as
    CIFAR-10-C; or ``CORRUPTION/SEVERITY/LABEL/IMAGE``, as Tiny-ImageNet-C and ImageNet-C.

    Parameters
    ----------
    folder : path
    name : str
        Of all of them; each is called ``NAME-CORRUPTION-SEVERITY``.
    size : int, optional
        Crop each image of folders centrally to a square and resize it to this many pixels a side.
    label_names : sequence of str
        What the numbers in ``labels.npy`` stand for; those of CIFAR-10 by default.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no ``labels.npy`` beside arrays.
    TaskError
        If it has neither, or what it has is cut short or of another form.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; unpack archives first")
    arrays = [kind for kind in ALL if (folder / f"{kind}.npy").is_file()]
    folders = [kind for kind in ALL if (folder / kind).is_dir()]
    if not arrays and not folders:
        raise TaskError(
            f"{folder}: no corruption, expected files such as {ALL[0]}.npy or folders such as "
            f"{ALL[0]}/1"
        )
    for kind in arrays:
        yield from _of_arrays(folder, kind, name, label_names)
    for kind in folders if not arrays else ():
        for severity in SEVERITIES:
            if (folder / kind / str(severity)).is_dir():
                yield read_evaluation_set(
                    folder / kind / str(severity), name=set_name(name, kind, severity), size=size
                )


def _of_arrays(
    folder: Path, kind: str, name: str, label_names: Sequence[str]
) -> Iterator[EvaluationSet]:
    path = folder / f"{kind}.npy"
    if not (folder / LABELS).is_file():
        raise FileNotFoundError(f"{folder / LABELS}: no such file; expected a label for each image")
    pictures, labels = _array(path), _array(folder / LABELS)
    n_severities = len(SEVERITIES)
    if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != np.uint8:
        raise TaskError(
            f"{path}: shape {pictures.shape}, type {pictures.dtype}, expected (n, height, width, 3)"
            " uint8"
        )
    if len(pictures) % n_severities or labels.shape not in (
        (len(pictures),),
        (len(pictures) // n_severities,),
    ):
        raise TaskError(
            f"{path}: {len(pictures)} images and labels of shape {labels.shape}, expected as many "
            f"images of each of {n_severities} severities, and a label for each of them"
        )
    n = len(pictures) // n_severities
    for place, severity in enumerate(SEVERITIES):
        rows = slice(place * n, (place + 1) * n)
        of_severity = labels[rows] if len(labels) > n else labels
        yield EvaluationSet(
            name=set_name(name, kind, severity),
            images=np.ascontiguousarray(np.moveaxis(pictures[rows], 3, 1)),
            labels=of_severity.astype(np.int64),
            label_names=tuple(label_names),
        )


def _array(path: Path) -> NDArray:
    try:
        found: NDArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise TaskError(f"{path}: not a whole .npy file of numbers ({error})") from error
    return found
