"""Teachers: a set of stimuli and what the brain, or a control, says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from predictive_model.config import Config
from predictive_model.recording import Recording, RecordingError, check_images
from predictive_model.reliability import reliability
from regularized_training.similarity import model_similarity, similarity

TeacherKind = Literal["none", "neural_model", "neural_data", "shuffle"]


class TeacherConfig(Config):
    """Which teacher: the paper's conditions.

    ``none``
        Nobody teaches.
    ``neural_model``
        Similarity of the denoised responses, Eq. 6.
    ``neural_data``
        Similarity of the recorded responses, Eq. 2.
    ``shuffle``
        ``neural_model`` with its images exchanged: rows and columns are permuted together, which
        keeps every value and the spectrum and breaks only the link to the images.
    """

    kind: TeacherKind
    seed: int = Field(0, ge=0, description="of the permutation, and of the trials neural_data uses")


@dataclass(frozen=True, eq=False)
class SimilarityTeacher:
    """Stimuli and their similarity.

    Attributes
    ----------
    name : str
    stimuli : (n, channels, height, width) uint8 or float32
    similarity : (n, n) float32
        Symmetric, between -1 and 1.
    """

    name: str
    stimuli: NDArray
    similarity: NDArray[np.float32]

    def __post_init__(self) -> None:
        check_images(self.stimuli)
        n, shape = len(self.stimuli), self.similarity.shape
        if shape != (n, n):
            raise ValueError(f"similarity: shape {shape}, expected ({n}, {n}) for {n} stimuli")
        if not np.isfinite(self.similarity).all() or np.abs(self.similarity).max() > 1 + 1e-5:
            raise ValueError("similarity: expected finite values between -1 and 1")
        if not np.allclose(self.similarity, self.similarity.T, atol=1e-5):
            raise ValueError("similarity: expected a symmetric matrix")


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


def shuffle_teacher(teacher: SimilarityTeacher, seed: int = 0) -> SimilarityTeacher:
    """The same similarity values said of the wrong images: rows and columns permuted together."""
    order = np.random.default_rng(seed).permutation(len(teacher.stimuli))
    return SimilarityTeacher(
        "shuffle", teacher.stimuli, np.ascontiguousarray(teacher.similarity[np.ix_(order, order)])
    )
