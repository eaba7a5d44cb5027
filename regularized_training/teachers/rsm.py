"""Teachers of Federer et al. 2020: uncentred similarity, given, recorded, or drawn at random."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictive_model.file_kinds import why_unreadable
from predictive_model.recordings.recording import Recording, check_images
from regularized_training.teachers.config import V1_MEAN, V1_SD
from regularized_training.teachers.teacher import SimilarityTeacher, teaching_images

N_ELEMENTS = 39  # neurons recorded together, on average


def teacher_from_pairs(
    stimuli: NDArray, pairs: ArrayLike, distances: ArrayLike, *, name: str = "rsm"
) -> SimilarityTeacher:
    """A teacher that knows some pairs of stimuli, by uncentred cosines.

    Parameters
    ----------
    stimuli : (n, channels, height, width)
    pairs : (pair, 2) int
        Places in `stimuli`. A pair that is given several times has the mean of its distances.
    distances : (pair,)
        Cosine distances, 1 - similarity, from 0 to 2.
    name : str

    Raises
    ------
    ValueError
        If a pair names a stimulus that is not there or is one of a stimulus with itself, or a
        distance is not a number from 0 to 2.

    Examples
    --------
    >>> stimuli = np.arange(3 * 64, dtype=np.uint8).reshape(3, 1, 8, 8)
    >>> teacher = teacher_from_pairs(stimuli, [(0, 2), (1, 2)], [0.25, 0.5])
    >>> teacher.similarity[2].tolist()
    [0.75, 0.5, 1.0]
    """
    pairs, distances = np.asarray(pairs), np.asarray(distances, np.float64)
    n = len(stimuli)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or pairs.dtype.kind not in "iu":
        raise ValueError(f"pairs: {pairs.dtype} of shape {pairs.shape}, expected int (pair, 2)")
    if distances.shape != pairs.shape[:1]:
        raise ValueError(
            f"distances: shape {distances.shape}, expected ({len(pairs)},), one for each pair"
        )
    pairs = pairs.astype(np.int64)  # small types would overflow below
    missing = pairs[(pairs < 0) | (pairs >= n)]
    if len(missing):
        raise ValueError(f"pairs: stimulus {missing[0]}, expected 0 to {n - 1}")
    if (pairs[:, 0] == pairs[:, 1]).any():
        raise ValueError("pairs: a stimulus with itself, expected two different ones")
    # Rounding may leave the distance of two equal responses a little below 0.
    wrong = ~((distances >= -1e-6) & (distances <= 2 + 1e-6))
    if wrong.any():
        raise ValueError(
            f"distances: {distances[wrong][0]:g} for pair {int(np.flatnonzero(wrong)[0])}, "
            "expected numbers from 0 to 2"
        )
    low, high = np.sort(pairs, 1).T
    total, count = np.zeros((n, n)), np.zeros((n, n), np.int64)
    np.add.at(total, (low, high), 1 - distances)
    np.add.at(count, (low, high), 1)
    matrix = np.full((n, n), np.nan, np.float32)
    known = count > 0
    matrix[known] = (total[known] / count[known]).clip(-1, 1)
    matrix.T[known] = matrix[known]
    np.fill_diagonal(matrix, 1)
    return SimilarityTeacher(name, stimuli, matrix, sparse=True, centred=False)


def read_rsm(
    path: Path | str,
    *,
    images: str = "images",
    pairs: str = "pairs",
    distances: str = "distances",
    similarity: str = "similarity",
) -> SimilarityTeacher:
    """A teacher from a file of arrays: stimuli, and pairs with distances or a whole matrix.

    Parameters
    ----------
    path : Path or str
        ``.npz``.
    images, pairs, distances, similarity : str
        Names of the arrays in it: stimuli (n, height, width) or (n, channels, height, width);
        (pair, 2) and (pair,) as of :func:`teacher_from_pairs`; or (n, n), NaN where unknown, which
        is taken where there are no pairs.

    Raises
    ------
    FileNotFoundError
    ValueError
        If the file is no archive of arrays, lacks one, or they contradict each other.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {n: archive[n] for n in (images, pairs, distances, similarity) if n in archive}
            there = ", ".join(archive)
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        # NumPy takes what is no archive for a pickle, and advises to trust it.
        said = error if zipfile.is_zipfile(path) else "it is no archive, or only a part of one"
        why = why_unreadable(path, said, "write it with numpy.savez", expected="a zip")
        raise ValueError(f"{path}: cannot be read as an .npz file of arrays: {why}") from error
    needed = [images, *([similarity] if similarity in found else [pairs, distances])]
    missing = [name for name in needed if name not in found]
    if missing:
        raise ValueError(f"{path}: has no array {' nor '.join(missing)}, but {there or 'none'}")
    stimuli = found[images]
    stimuli = stimuli[:, None] if stimuli.ndim == 3 else stimuli
    try:
        check_images(stimuli)
        if pairs in found:
            return teacher_from_pairs(stimuli, found[pairs], found[distances])
        matrix = found[similarity].astype(np.float32)
        return SimilarityTeacher("rsm", stimuli, matrix, sparse=bool(np.isnan(matrix).any()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def recorded_rsm(sessions: Sequence[NDArray]) -> NDArray[np.float32]:
    """Eq. 1 of Federer et al. 2020: uncentred cosine similarity, averaged over sessions.

    Parameters
    ----------
    sessions : sequence of (stimulus, neuron)
        Firing rates, of other neurons to the same stimuli in each session.

    Returns
    -------
    (stimulus, stimulus) float32
        1 on the diagonal; a stimulus without any spike is similar to none.
    """
    if not sessions:
        raise ValueError("sessions: none, expected at least one")
    n = len(sessions[0])
    total = np.zeros((n, n))
    for i, responses in enumerate(sessions):
        if responses.ndim != 2 or len(responses) != n:
            raise ValueError(
                f"sessions: session {i} has shape {responses.shape}, expected ({n}, neuron) as the "
                "first"
            )
        norm = np.linalg.norm(responses.astype(np.float64), axis=1, keepdims=True)
        unit = np.divide(responses, norm, out=np.zeros(responses.shape), where=norm > 0)
        total += unit @ unit.T
    matrix = (total / len(sessions)).clip(-1, 1).astype(np.float32)
    np.fill_diagonal(matrix, 1)
    return matrix


def shuffle_neurons(responses: NDArray, seed: int = 0) -> NDArray:
    """V1 shuffled: each neuron's responses assigned to other stimuli, in an order of its own.

    Every neuron keeps its values; what the neurons say of one stimulus no longer belongs together.
    """
    return np.random.default_rng(seed).permuted(responses, axis=0)


def recorded_rsm_teacher(
    recordings: Sequence[Recording], *, shuffled: bool = False, seed: int = 0
) -> SimilarityTeacher:
    """Uncentred similarity of recorded rates, averaged over trials and then over scans.

    Images of the test tier do not teach.

    Parameters
    ----------
    recordings : sequence of Recording
        Of which some images are the same.
    shuffled : bool
        Exchange the images of each neuron's rates, see :func:`shuffle_neurons`.
    seed : int
        Of that.

    Raises
    ------
    RecordingError
        If hardly any image was shown in all scans and may teach.
    """
    chosen = teaching_images(recordings)
    rates = [
        r.grouped_trials(images).mean().astype(np.float32)
        for r, images in zip(recordings, chosen, strict=True)
    ]
    if shuffled:
        rates = [shuffle_neurons(r, seed + i) for i, r in enumerate(rates)]
    name = "shuffle_neurons" if shuffled else "recorded_rsm"
    return SimilarityTeacher(
        name, recordings[0].images[chosen[0]], recorded_rsm(rates), centred=False
    )


def gaussian_teacher(
    stimuli: NDArray,
    mean: float = V1_MEAN,
    sd: float = V1_SD,
    *,
    n_elements: int = N_ELEMENTS,
    seed: int = 0,
) -> SimilarityTeacher:
    """Similarity of random vectors, one for each stimulus: the statistics of V1 without its code.

    Parameters
    ----------
    stimuli : (n, channels, height, width)
    mean, sd : float
        Of the vectors' elements. The paper's other control has a mean of 5: all vectors point
        almost the same way.
    n_elements : int
    seed : int
    """
    if not sd > 0 or n_elements < 1:
        raise ValueError(f"sd, n_elements: {sd:g}, {n_elements}, expected above 0 and at least 1")
    rng = np.random.default_rng(seed)
    vectors = rng.normal(mean, sd, (len(stimuli), n_elements))
    return SimilarityTeacher("gaussian", stimuli, recorded_rsm([vectors]), centred=False)
