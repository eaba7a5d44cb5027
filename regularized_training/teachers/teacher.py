"""Teachers: a set of stimuli and what the brain says of them; ``controls`` has those without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from predictive_model.recordings.recording import Recording, RecordingError, check_images
from predictive_model.scoring.reliability import reliability
from regularized_training.teachers.similarity import model_similarity, oracle_similarity, similarity


@dataclass(frozen=True, eq=False)
class SimilarityTeacher:
    """Stimuli and their similarity.

    Attributes
    ----------
    name : str
    stimuli : (n, channels, height, width) uint8 or float32
    similarity : (n, n) float32
        Symmetric, between -1 and 1.
    held_out : (k,) int64
        Which stimuli do not teach.
    sparse : bool
        Whether not all pairs are known; the others are NaN then.
    """

    name: str
    stimuli: NDArray
    similarity: NDArray[np.float32]
    held_out: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    sparse: bool = False

    def __post_init__(self) -> None:
        check_images(self.stimuli)
        n, shape = len(self.stimuli), self.similarity.shape
        if shape != (n, n):
            raise ValueError(f"similarity: shape {shape}, expected ({n}, {n}) for {n} stimuli")
        known = self.similarity[~np.isnan(self.similarity)] if self.sparse else self.similarity
        if not np.isfinite(known).all() or np.abs(known).max(initial=0) > 1 + 1e-5:
            raise ValueError("similarity: expected finite values between -1 and 1")
        if not np.allclose(self.similarity, self.similarity.T, atol=1e-5, equal_nan=True):
            raise ValueError("similarity: expected a symmetric matrix")
        held_out = np.unique(np.asarray(self.held_out, np.int64))
        if len(held_out) and not (held_out[0] >= 0 and held_out[-1] < n):
            raise ValueError(f"held_out: {held_out[0]} to {held_out[-1]}, expected 0 to {n - 1}")
        object.__setattr__(self, "held_out", held_out)

    @property
    def teaching(self) -> SimilarityTeacher:
        """The stimuli that teach, alone."""
        return self._of(np.setdiff1d(np.arange(len(self.stimuli)), self.held_out))

    @property
    def withheld(self) -> SimilarityTeacher:
        """The stimuli that do not teach, alone."""
        return self._of(self.held_out)

    def _of(self, rows: NDArray[np.int64]) -> SimilarityTeacher:
        none = np.zeros(0, np.int64)
        if len(rows) == len(self.stimuli):
            return replace(self, held_out=none)
        return replace(
            self,
            stimuli=self.stimuli[rows],
            similarity=self.similarity[rows[:, None], rows],
            held_out=none,
        )

    @property
    def known_pairs(self) -> NDArray[np.int64]:
        """Pairs i < j of which the similarity is known: (2, pair), places in `stimuli`."""
        return np.stack(np.nonzero(np.triu(np.isfinite(self.similarity), 1)))


def held_out_stimuli(n: int, fraction: float) -> NDArray[np.int64]:
    """Sorted indices of the stimuli among `n` that do not teach: a fraction of them, at random.

    They depend on the number of stimuli alone: teachers of the same stimuli hold out the same ones.

    Examples
    --------
    >>> len(held_out_stimuli(500, 0.1))
    50
    """
    return np.sort(np.random.default_rng(n).permutation(n)[: int(n * fraction)])


def teaching_images(recordings: Sequence[Recording]) -> NDArray[np.int64]:
    """Images that may teach: shown in every scan, and in no scan's test tier.

    Images of the test tier judge encoders and weigh neurons; like the paper's oracle images they
    do not teach.

    Raises
    ------
    RecordingError
        If the scans did not show the same images, or fewer than 16 are left.
    """
    if not recordings:
        raise RecordingError("recordings: none given; a neural teacher needs at least one scan")
    first = recordings[0]
    allowed = np.arange(first.n_images)
    for recording in recordings:
        if not np.array_equal(recording.images, first.images):
            raise RecordingError(
                f"images: scans {first.name!r} and {recording.name!r} did not show the same "
                "images; similarity is averaged over scans of the same images only"
            )
        allowed = np.intersect1d(allowed, recording.images_of("train", "validation"))
    if len(allowed) < 16:
        raise RecordingError(
            f"tier: {len(allowed)} images outside the test tier, expected at least 16 to teach with"
        )
    return allowed


def neural_model_teacher(
    stimuli: NDArray,
    predicted: Sequence[NDArray[np.float32]],
    weights: Sequence[NDArray[np.float64]],
) -> SimilarityTeacher:
    """Teacher of Eq. 6: similarity of the responses each scan's encoder predicts, averaged.

    Parameters
    ----------
    stimuli : (n, channels, height, width)
    predicted : sequence of (n, neuron)
        Of each scan's encoder.
    weights : sequence of (neuron,)
        w_a v_a of each scan; ones where neither is known, as of a published encoder.

    Raises
    ------
    ValueError
        If no neuron of a scan is reliable and predicted above chance, so that it says nothing.
    """
    if any(not weight.any() for weight in weights):
        raise ValueError(
            "weights: all 0 for a scan, so its encoder predicts no neuron above chance; fit it "
            "better, or leave the scan out"
        )
    return SimilarityTeacher("neural_model", stimuli, model_similarity(predicted, weights))


def neural_data_teacher(recordings: Sequence[Recording], seed: int = 0) -> SimilarityTeacher:
    """Teacher of Eq. 2: similarity of one recorded trial of each image, averaged over scans.

    Where an image was repeated one trial is drawn, since the point of this control is what a
    single trial is worth.
    """
    images = teaching_images(recordings)
    rng = np.random.default_rng(seed)
    total = np.zeros((len(images), len(images)), np.float32)
    for recording in recordings:
        order = rng.permutation(recording.n_trials)
        # The first place at which an image turns up in a random order of trials.
        shown, first = np.unique(recording.image_index[order], return_index=True)
        trial = order[first[np.searchsorted(shown, images)]]
        total += similarity(recording.responses[trial], reliability(recording).weight)
    return SimilarityTeacher(
        "neural_data", recordings[0].images[images], total / np.float32(len(recordings))
    )


def oracle_teacher(recordings: Sequence[Recording]) -> SimilarityTeacher:
    """Teacher of Eq. 3: similarity over all pairs of trials of two images, averaged over scans.

    It says what averaging over repeats is worth beside denoising by a model. An image that was
    shown once has a single trial in it.
    """
    images = teaching_images(recordings)
    total = np.zeros((len(images), len(images)), np.float32)
    for recording in recordings:
        trials = recording.repeated_trials(images)
        total += oracle_similarity(trials, reliability(recording).weight)
    # Two trials of one image are less alike than that, but no image is compared with itself.
    np.fill_diagonal(total, len(recordings))
    return SimilarityTeacher(
        "oracle", recordings[0].images[images], total / np.float32(len(recordings))
    )
