"""Teachers: a set of stimuli and what the brain says of them; ``controls`` has those without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from predictive_model.digest import array_digest
from predictive_model.recordings.recording import Recording, RecordingError, check_images
from predictive_model.scoring.reliability import reliability
from regularized_training.teachers.similarity import model_similarity, oracle_similarity, similarity
from regularized_training.teachers.stimuli import Scale, common_images, pixel_scale

FEWEST_TEACHING = 16  # images


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
    centred : bool or None
        Whether responses were centred by their mean over stimuli before they were compared, as in
        Eq. 2 of Li et al. 2019, or not, as in Eq. 1 of Federer et al. 2020; None if nobody said.
    scale : (float, float), optional
        Values of the stimuli that are black and white for a network; those of the whole set by
        default, which a part of it keeps.
    """

    says: ClassVar[Literal["similarity"]] = "similarity"

    name: str
    stimuli: NDArray
    similarity: NDArray[np.float32]
    held_out: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    sparse: bool = False
    centred: bool | None = None
    scale: Scale | None = None

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
        if self.scale is None:
            object.__setattr__(self, "scale", pixel_scale(self.stimuli))

    def digest(self) -> str:
        """Of stimuli, similarity, and which are held out."""
        return array_digest(self.stimuli, self.similarity, self.held_out)

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


def teaching_images(recordings: Sequence[Recording]) -> tuple[NDArray[np.int64], ...]:
    """Images that may teach: shown in every scan, and in no scan's test tier.

    Images of the test tier judge encoders and weigh neurons; like the paper's oracle images they
    do not teach. An image is known by its pixels: scans may have shown it at different places
    among others.

    Returns
    -------
    tuple of (k,) int64
        For each scan the numbers of the same k images in it, in the order of the first scan.

    Raises
    ------
    RecordingError
        If fewer than 16 are left.
    """
    if not recordings:
        raise RecordingError("recordings: none given; a neural teacher needs at least one scan")
    chosen = outside_test_tiers([recording.images for recording in recordings], recordings)
    if len(chosen[0]) < FEWEST_TEACHING:
        sizes = ", ".join(f"{r.name} ({r.n_images} images)" for r in recordings)
        raise RecordingError(
            f"images: {len(chosen[0])} were shown in all of {sizes} and are in no test tier, "
            f"expected at least {FEWEST_TEACHING} to teach with; leave out scans of other images, "
            "or put fewer images into the test tier"
        )
    return chosen


def outside_test_tiers(
    shown: Sequence[NDArray], scans: Sequence[Recording | None]
) -> tuple[NDArray[np.int64], ...]:
    """Where the images stand that sets have in common and no scan has in its test tier.

    Parameters
    ----------
    shown : sequence of (n, channels, height, width)
    scans : sequence of Recording or None
        For each set the scan that showed it; None if it was shown in none.

    Returns
    -------
    tuple of (k,) int64
        For each set, in the order of the first.
    """
    places = common_images(shown)
    allowed = np.ones(len(places[0]), bool)
    for scan, there in zip(scans, places, strict=True):
        if scan is not None:
            allowed &= np.isin(there, scan.images_of("train", "validation"))
    return tuple(there[allowed] for there in places)


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
    return SimilarityTeacher(
        "neural_model", stimuli, model_similarity(predicted, weights), centred=True
    )


def neural_data_teacher(recordings: Sequence[Recording], seed: int = 0) -> SimilarityTeacher:
    """Teacher of Eq. 2: similarity of one recorded trial of each image, averaged over scans.

    Where an image was repeated one trial is drawn, since the point of this control is what a
    single trial is worth.
    """
    chosen = teaching_images(recordings)
    rng = np.random.default_rng(seed)
    total = np.zeros((len(chosen[0]), len(chosen[0])), np.float32)
    for recording, images in zip(recordings, chosen, strict=True):
        trials = one_trial_each(recording, images, rng)
        total += similarity(trials, reliability(recording).weight)
    return SimilarityTeacher(
        "neural_data",
        recordings[0].images[chosen[0]],
        total / np.float32(len(recordings)),
        centred=True,
    )


def one_trial_each(
    recording: Recording, images: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Responses in one trial of each of some images, drawn where it was repeated: (k, neuron)."""
    order = rng.permutation(recording.n_trials)
    # The first place at which an image turns up in a random order of trials.
    shown, first = np.unique(recording.image_index[order], return_index=True)
    return recording.responses[order[first[np.searchsorted(shown, images)]]]


def oracle_teacher(recordings: Sequence[Recording]) -> SimilarityTeacher:
    """Teacher of Eq. 3: similarity over all pairs of trials of two images, averaged over scans.

    It says what averaging over repeats is worth beside denoising by a model. An image that was
    shown once has a single trial in it.
    """
    chosen = teaching_images(recordings)
    total = np.zeros((len(chosen[0]), len(chosen[0])), np.float32)
    for recording, images in zip(recordings, chosen, strict=True):
        trials = recording.grouped_trials(images)
        total += oracle_similarity(trials, reliability(recording).weight)
    # Two trials of one image are less alike than that, but no image is compared with itself.
    np.fill_diagonal(total, len(recordings))
    return SimilarityTeacher(
        "oracle",
        recordings[0].images[chosen[0]],
        total / np.float32(len(recordings)),
        centred=True,
    )
