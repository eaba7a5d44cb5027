"""Representational similarity of a population: recorded, averaged over repeats, predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from predictive_model.fits.fitted import FittedEncoder
from predictive_model.recordings.recording import Recording
from predictive_model.recordings.repeats import Repeats
from predictive_model.scoring.correlation import correlation
from predictive_model.scoring.reliability import reliability
from regularized_training.teachers.predictability import model_weight

BLOCK = 2**18  # responses that are made unit vectors at once, few enough to stay in the cache


def similarity(
    responses: NDArray,
    weight: NDArray[np.float64] | None = None,
    *,
    mean: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Eq. 2 and 6 of Li et al. 2019: S_ij = e_i . e_j, e_i = (r_i - mean_i r) / norm.

    Parameters
    ----------
    responses : (stimulus, neuron)
        rho, recorded or predicted.
    weight : (neuron,), optional
        w_a for recorded responses (r = w rho), w_a v_a for predicted ones.
    mean : (neuron,), optional
        mean_i rho, where these stimuli are some of those it is to be taken over; by default the
        mean over these.

    Returns
    -------
    (stimulus, stimulus) float32
        1 on the diagonal. A stimulus that evokes exactly the mean response has no direction:
        its similarity to all others is 0.
    """
    e = unit_vectors(responses, weight, mean=mean)
    matrix = e @ e.T
    np.clip(matrix, -1, 1, out=matrix)
    np.fill_diagonal(matrix, 1)
    return matrix


def unit_vectors(
    responses: NDArray,
    weight: NDArray[np.float64] | None = None,
    *,
    mean: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Centred, weighted population vectors of unit length: e_i of Eq. 2, (stimulus, neuron)."""
    responses = np.asarray(responses)
    if responses.ndim != 2:
        raise ValueError(f"responses: shape {responses.shape}, expected (stimulus, neuron)")
    if weight is not None and weight.shape != responses.shape[1:]:
        raise ValueError(
            f"weight: shape {weight.shape}, expected {responses.shape[1:]}, one for each neuron"
        )
    # Rounding leaves a vector at the mean with a direction; a deviation that single precision
    # cannot tell from none has none.
    largest = np.maximum(responses.max(0, initial=0), -responses.min(0, initial=0))
    if weight is not None:
        largest = largest * weight
    floor = 4 * np.finfo(np.float32).eps * np.linalg.norm(largest)
    mean = responses.mean(0, dtype=np.float64) if mean is None else mean
    vectors = np.empty(responses.shape, np.float32)
    rows = max(1, BLOCK // max(1, responses.shape[1]))
    for start in range(0, len(responses), rows):
        e = vectors[start : start + rows]
        # Centring in double precision; the vectors themselves are kept in single.
        np.subtract(responses[start : start + rows], mean, out=e, casting="same_kind")
        if weight is not None:
            e *= weight.astype(np.float32)
        norm = np.linalg.norm(e, axis=1, keepdims=True)
        directed = norm > floor
        np.divide(e, norm, out=e, where=directed)
        e[~directed[:, 0]] = 0
    return vectors


def oracle_similarity(
    trials: NDArray[np.float32] | Repeats,
    weight: NDArray[np.float64] | None = None,
    *,
    mean: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Eq. 3 of Li et al. 2019: mean similarity over all pairs of trials of two images.

    Each trial counts as a stimulus of its own; the pair of a trial with itself is left out. The
    mean over pairs is the product of the images' mean unit vectors, so no matrix over trials is
    ever made.

    Parameters
    ----------
    trials : (image, repeat, neuron) or Repeats
        NaN where an image has fewer repeats.
    weight : (neuron,), optional
        w_a of Eq. 1.
    mean : (neuron,), optional
        What trials are centred by; their own mean by default.

    Returns
    -------
    (image, image) float32
        The diagonal is the mean similarity of different trials of one image, and NaN for an
        image with one trial.
    """
    trials = Repeats.of(trials)
    n = trials.counts
    if (n == 0).any():
        raise ValueError(f"trials: image {int(np.flatnonzero(n == 0)[0])} has no trial at all")
    e = unit_vectors(trials.values, weight, mean=mean)
    total = trials.sums(e)
    mean = total / n[:, None]
    matrix = mean @ mean.T
    # Trials with themselves contribute their own squared length: 1, or 0 for one without direction.
    own = trials.sums((e.astype(np.float64) ** 2).sum(1))
    pairs = n * (n - 1.0)
    diagonal = np.divide(
        (total**2).sum(1) - own, pairs, out=np.full(len(n), np.nan), where=pairs > 0
    )
    np.fill_diagonal(matrix, diagonal)
    return matrix.astype(np.float32)


def similarity_correlation(a: NDArray, b: NDArray) -> float:
    """Pearson correlation of two similarity matrices over pairs i < j (Fig. 1D of Li et al. 2019).

    0 where either matrix is constant off its diagonal.
    """
    if a.shape != b.shape or a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"shapes {a.shape} and {b.shape}: expected two square matrices of a size")
    if len(a) < 3:
        raise ValueError(f"{len(a)} stimuli: expected at least 3, or there is nothing to correlate")
    upper = np.triu_indices(len(a), 1)
    return float(correlation(a[upper][:, None], b[upper][:, None])[0])


def model_similarity(
    predicted: Sequence[NDArray[np.float32]], weights: Sequence[NDArray[np.float64]]
) -> NDArray[np.float32]:
    """Eq. 6 of Li et al. 2019, averaged over scans.

    Parameters
    ----------
    predicted : sequence of (stimulus, neuron)
        Predictions of each scan's encoder for the same stimuli, pupil and behaviour at their
        means. The number of neurons differs between scans.
    weights : sequence of (neuron,)
        :func:`~.predictability.model_weight` of each scan.

    Returns
    -------
    (stimulus, stimulus) float32
    """
    if not predicted or len(predicted) != len(weights):
        raise ValueError(
            f"{len(predicted)} predictions and {len(weights)} weights: expected one of each for "
            "every scan, and at least one scan"
        )
    total = similarity(predicted[0], weights[0])
    for responses, weight in zip(predicted[1:], weights[1:], strict=True):
        total += similarity(responses, weight)
    return total / np.float32(len(predicted))


@dataclass(frozen=True, eq=False)
class SimilarityQuality:
    """Does the model see the same similarity as the average over many trials? (Fig. 1D)

    All over the same held-out repeated images. Each trial in turn is taken out of the oracle; the
    correlations are means over these.

    Attributes
    ----------
    oracle, model, data : (image, image)
        S_oracle from all trials, S_model, and S_data from the first trial of each image.
    model_correlation : float
        corr(S_oracle, S_model), the oracle made without one trial of each image.
    data_correlation : float
        corr(S_oracle, S_data), S_data from just the trials that the oracle was made without.
    oracle_ceiling : float
        How well the oracle agrees with its limit for infinitely many trials: the square root
        of its reliability, the Spearman-Brown corrected correlation of oracles from two halves of
        the trials. An estimate, and too low where noise dominates; the average of similarities
        of noisy trials is also compressed unlike the similarity of noise-free responses, so that
        even a perfect model may stay below it.
    n_repeats : int
        How many trials of each image took turns.
    """

    oracle: NDArray[np.float32]
    model: NDArray[np.float32]
    data: NDArray[np.float32]
    model_correlation: float
    data_correlation: float
    oracle_ceiling: float
    n_repeats: int


def similarity_quality(
    recording: Recording,
    fitted: FittedEncoder,
    *,
    centred_on: Literal["test images", "all images"] = "test images",
    n_splits: int = 10,
    seed: int = 0,
) -> SimilarityQuality:
    """Compare model and single-trial similarity with the oracle's, on the test tier's images.

    Parameters
    ----------
    recording : Recording
    fitted : FittedEncoder
    centred_on : {"test images", "all images"}
        What mean_i r of Eq. 2 is taken over. Eq. 2 has all stimuli, most of which were shown once
        and to train the encoder; here it is by default those that are compared, of which recorded
        and predicted responses are known equally well.
    n_splits, seed : int
        Of the random halves of the trials from which ``oracle_ceiling`` is estimated.

    Raises
    ------
    RecordingError
        If the test tier has fewer than two repeated images.
    ValueError
        If it has fewer than three.
    """
    images = recording.require_repeats(recording.images_of("test"))
    trials = recording.grouped_trials(images)
    weight = reliability(recording).weight
    shown = fitted.predict(recording.images[images])
    mean = expected = None
    if centred_on == "all images":
        every = recording.grouped_trials(np.flatnonzero(recording.repeats))
        mean, expected = every.mean().mean(0), fitted.predict(recording.images).mean(0, np.float64)
    model = similarity(shown, model_weight(recording, fitted), mean=expected)
    depth = int(trials.counts.min())
    model_r, data_r = [], []
    for repeat in range(depth):
        oracle = oracle_similarity(trials.without(repeat), weight, mean=mean)
        data = similarity(trials.repeat(repeat), weight, mean=mean)
        model_r.append(similarity_correlation(oracle, model))
        data_r.append(similarity_correlation(oracle, data))
    return SimilarityQuality(
        oracle=oracle_similarity(trials, weight, mean=mean),
        model=model,
        data=similarity(trials.repeat(0), weight, mean=mean),
        model_correlation=float(np.mean(model_r)),
        data_correlation=float(np.mean(data_r)),
        oracle_ceiling=_oracle_ceiling(trials, weight, mean, n_splits, seed),
        n_repeats=depth,
    )


def _oracle_ceiling(
    trials: Repeats,
    weight: NDArray[np.float64],
    mean: NDArray[np.float64] | None,
    n_splits: int,
    seed: int,
) -> float:
    rng = np.random.default_rng(seed)
    half = int(trials.counts.min()) // 2
    place = np.arange(trials.counts.max())
    missing = place >= trials.counts[:, None]
    reliabilities = []
    for _ in range(n_splits):
        # A random order of each image's trials, the missing ones last.
        order = np.argsort(np.where(missing, np.inf, rng.random(missing.shape)), axis=1)
        rows = trials.starts[:, None] + order
        a, b = (
            oracle_similarity(trials.values[rows[:, first : first + half]], weight, mean=mean)
            for first in (0, half)
        )
        r = max(similarity_correlation(a, b), 0.0)
        reliabilities.append(2 * r / (1 + r))
    return float(np.sqrt(np.mean(reliabilities)))
