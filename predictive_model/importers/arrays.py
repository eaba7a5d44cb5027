"""Recordings from array files (``.npz``), the format that anyone can write.

A file holds

``images``
    (n, height, width) or (n, channels, height, width), uint8 or float32, every image once;

and either

``trials``
    (n, repeat, neuron), the responses by image and repeat, NaN where a repeat is missing for all
    neurons,

or

``responses``
    (trial, neuron), and
``image_index``
    (trial,), which image was shown; it may be left out if trial i showed image i;

and, in the second form, if there are any,

``behaviour`` (trial, k), ``pupil`` (trial, 2), ``tier`` (trial,) of ``train``, ``validation`` and
``test``. ``neuron_ids`` (neuron,) and ``cortical_positions`` (neuron, 2 or 3) may stand in both.
What each must hold is said in
:class:`~predictive_model.recording.Recording`.

    numpy.savez_compressed("scan.npz", images=images, responses=responses, image_index=shown)
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictive_model.recording import Recording, RecordingError, assign_tiers

REQUIRED = {"images"}
ONE_OF = ("trials", "responses")
BY_NEURON = {"neuron_ids", "cortical_positions"}
OPTIONAL = {"image_index", "behaviour", "pupil", "tier"} | BY_NEURON

# What numpy.load raises for files that are damaged, or that are something else.
UNREADABLE = (
    ValueError,
    OSError,
    EOFError,
    AttributeError,
    TypeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(
    path: Path | str,
    *,
    name: str | None = None,
    test_images: int | None = None,
    seed: int = 0,
    species: str = "",
    area: str = "",
) -> Recording:
    """Read a recording from an ``.npz`` file; the module's docstring describes it.

    Parameters
    ----------
    path : Path or str
    name : str, optional
        Of the scan; the file's name without its ending by default.
    test_images : int, optional
        Hold out this many repeated images as the test tier, where every image was repeated.
    seed : int
        Chooses validation images, and test images if asked to.
    species, area : str

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RecordingError
        If the file is damaged, lacks an array, or holds arrays that cannot be used.
    """
    path = Path(path)
    arrays = _load(path)
    images = arrays["images"]
    if images.ndim == 3:
        images = images[:, None]
    if np.issubdtype(images.dtype, np.floating):
        images = images.astype(np.float32)
    if "trials" in arrays:
        responses, index = _from_trials(arrays["trials"], len(images))
    else:
        responses = arrays["responses"]
        index = arrays.get("image_index", np.arange(len(np.atleast_1d(responses))))
    tier = arrays.get("tier")
    if tier is not None and test_images is not None:
        raise RecordingError("tier: the file has tiers, so test_images has nothing to choose")
    if tier is None:
        valid = index.ndim == 1 and np.issubdtype(index.dtype, np.integer)
        # An index that is not one is the Recording's to refuse, with its own message.
        tier = assign_tiers(index, test_images=test_images, seed=seed) if valid else None
    return Recording(
        name=name or path.stem,
        images=images,
        image_index=index,
        responses=responses,
        behaviour=arrays.get("behaviour"),
        pupil=arrays.get("pupil"),
        tier=tier,
        neuron_ids=arrays.get("neuron_ids"),
        cortical_positions=arrays.get("cortical_positions"),
        species=species,
        area=area,
    )


def _load(path: Path) -> dict[str, NDArray]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected an .npz file of arrays")
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = set(archive.files)
            arrays = {key: archive[key] for key in names}
            for key, value in arrays.items():
                if not isinstance(value, np.ndarray):
                    raise ValueError(f"{key!r} is not an array")
    except UNREADABLE as error:
        raise RecordingError(
            f"{path}: cannot be read as an .npz file of plain arrays ({error}); write it with "
            "numpy.savez_compressed"
        ) from error
    if missing := REQUIRED - names:
        raise RecordingError(f"{path}: lacks {sorted(missing)}; it holds {sorted(names)}")
    if sum(key in names for key in ONE_OF) != 1:
        raise RecordingError(
            f"{path}: expected either `trials` or `responses`, found {sorted(names)}"
        )
    if unknown := names - REQUIRED - OPTIONAL - set(ONE_OF):
        raise RecordingError(
            f"{path}: {sorted(unknown)} are not known; expected images, trials or responses, and "
            f"any of {sorted(OPTIONAL)}"
        )
    if "trials" in names and (clash := names & (OPTIONAL - BY_NEURON)):
        raise RecordingError(
            f"{path}: {sorted(clash)} go by trial and cannot stand beside `trials`; use "
            "`responses` and `image_index`"
        )
    return arrays


def _from_trials(trials: NDArray, n_images: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if trials.ndim != 3 or len(trials) != n_images:
        raise RecordingError(
            f"trials: shape {trials.shape}, expected ({n_images}, repeat, neuron), one row for "
            "each image"
        )
    if not np.issubdtype(trials.dtype, np.number) or np.iscomplexobj(trials):
        raise RecordingError(f"trials: type {trials.dtype}, expected real numbers")
    if not np.issubdtype(trials.dtype, np.floating):
        trials = trials.astype(np.float32)
    missing = np.isnan(trials)
    partly = missing.any(2) & ~missing.all(2)
    if partly.any():
        image, repeat = np.argwhere(partly)[0]
        raise RecordingError(
            f"trials: {int(partly.sum())} trials are missing for some neurons only, the first is "
            f"image {image}, repeat {repeat}; leave those neurons or those trials out"
        )
    image, repeat = np.nonzero(~missing.all(2))
    return trials[image, repeat].astype(np.float32), image
