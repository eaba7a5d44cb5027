"""How stable similarity is: over scans and over repeats (Eq. 4 and 5 of Li et al. 2019).

Eq. 4 and Eq. 5 do not compare like with like. S_oracle, whose spread over scans Eq. 4 is, is an
average over all pairs of trials of two images; Eq. 5 is the spread of single pairs of trials. With
enough repeats Eq. 4 is the narrower of the two whatever the neurons do. So :func:`stability` says
besides how much of the spread over scans comes of the finite number of trials. What is left comes
of the neurons, does not shrink with more repeats, and may be held against Eq. 5.

Nor does Eq. 5 as it stands: the mean of an image's few pairs goes along with them, and the more so
as they share trials. :func:`pair_variance` has the spread that any number of repeats estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regularized_training.teachers.populations import Population, on_common_images
from regularized_training.teachers.similarity import unit_vectors
from regularized_training.teachers.structure import Spread, pairs_of, spread

# -- Eq. 4 and 5 -------------------------------------------------------------------------------


def scan_fluctuation(oracle: NDArray) -> NDArray[np.float64]:
    """Eq. 4 of Li et al. 2019: dS_scan = S_oracle of a scan - its mean over scans.

    Parameters
    ----------
    oracle : (scan, image, image)
        S_oracle of each scan for the same images.

    Returns
    -------
    (scan, image, image) float64

    Examples
    --------
    >>> scan_fluctuation(np.array([[[1.0, 0.2], [0.2, 1.0]], [[1.0, 0.6], [0.6, 1.0]]]))[0, 0, 1]
    np.float64(-0.2)
    """
    oracle = np.asarray(oracle, np.float64)
    if oracle.ndim != 3 or oracle.shape[1] != oracle.shape[2]:
        raise ValueError(f"oracle: shape {oracle.shape}, expected (scan, image, image)")
    if len(oracle) < 2:
        raise ValueError(
            f"oracle: {len(oracle)} scan, expected at least 2; split the units of one with "
            "populations.split_units"
        )
    return oracle - oracle.mean(0)


def repeat_fluctuation(
    trials: NDArray[np.float32], weight: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Eq. 5 of Li et al. 2019: dS_repeat = similarity of two trials of an image - their mean.

    Parameters
    ----------
    trials : (image, repeat, neuron)
        NaN where an image has fewer repeats.
    weight : (neuron,), optional
        w_a of Eq. 1.

    Returns
    -------
    (image, repeat, repeat) float64
        NaN for a trial with itself and where a repeat is missing; also for images with two repeats,
        whose only pair is its own mean.
    """
    e, valid = _directions(trials, weight)
    s = e @ e.swapaxes(1, 2)
    n_repeats = valid.sum(1)
    known = valid[:, :, None] & valid[:, None, :] & ~np.eye(valid.shape[1], dtype=bool)
    known &= (n_repeats > 2)[:, None, None]
    s[~known] = np.nan
    n_pairs = known.sum((1, 2))
    mean = np.divide(np.nansum(s, axis=(1, 2)), n_pairs, out=np.zeros(len(s)), where=n_pairs > 0)
    return s - mean[:, None, None]


def pair_variance(
    trials: NDArray[np.float32], weight: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Variance that Eq. 5 of Li et al. 2019 has in the limit of infinitely many repeats.

    For pairs g_tu = m + a_t + a_u + c_tu of R trials the mean squared deviation from their own
    mean is 2 var(a) (1 - 2 / R) + var(c) (1 - 2 / (R (R - 1))) in expectation, at three repeats a
    third to two thirds of what is asked for, 2 var(a) + var(c). That is E g_tu^2 - m^2, and pairs
    without a common trial, of which there are some from four repeats on, tell m^2 without bias.

    Parameters
    ----------
    trials : (image, repeat, neuron)
        NaN where an image has fewer repeats.
    weight : (neuron,), optional
        w_a of Eq. 1.

    Returns
    -------
    variance : (image,) float64
        NaN for images with fewer than four repeats. An estimate: it may come out below zero.
    n_pairs : (image,) int
        Pairs of repeats that it is from, 0 where there is none.
    """
    deviation = np.nan_to_num(repeat_fluctuation(trials, weight))
    n = np.isfinite(trials).all(axis=2).sum(1)
    known = n > 3
    n_pairs = np.where(known, n * (n - 1) // 2, 0)
    squares = (deviation**2).sum((1, 2)) / 2
    of_trials = (deviation.sum(2) ** 2).sum(1)
    # The sum over all pairs is 0; squared, it holds squares, pairs with a common trial and others.
    disjoint = (squares - of_trials) / 2
    n_disjoint = n_pairs * (n - 2) * (n - 3) / 4
    variance = np.full(len(n), np.nan)
    variance[known] = squares[known] / n_pairs[known] - disjoint[known] / n_disjoint[known]
    return variance, n_pairs


def trial_variance(
    trials: NDArray[np.float32], weight: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Variance of S_oracle over repetitions of the experiment with the same neurons and images.

    S_oracle of two images is a mean over all pairs of their trials, a table with a row for each
    trial of one and a column for each of the other. Its variance follows from those of the rows'
    means, of the columns' means and of the rest (analysis of variance, rows and columns random),
    without bias for any number of repeats from two on and without resampling. Trials are taken to
    be independent; neurons need not be. Weights and the mean response count as known, which makes
    the estimate for n images too large by about the n-th part.

    Parameters
    ----------
    trials : (image, repeat, neuron)
        NaN where an image has fewer repeats; every image needs two. Takes memory for a few
        matrices (trial, trial).
    weight : (neuron,), optional
        w_a of Eq. 1.

    Returns
    -------
    (image, image) float64
        NaN on the diagonal. An estimate: it may come out below zero for some pairs.
    """
    return _variance_of_block_means(*_trial_similarity(trials, weight))


# -- together ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Stability:
    """Spread of similarity over scans and over repeats (Fig. 1C of Li et al. 2019).

    Attributes
    ----------
    names : tuple of str
        Of the populations.
    n_images : int
        Images common to all.
    oracle : (scan, image, image)
        S_oracle of each population.
    scan : Spread, or None
        Eq. 4 over pairs i < j of images and all scans, None for a single scan. ``scan.sd`` has
        H - 1 in its denominator for H scans, so that its size does not depend on their number.
    repeat : Spread, or None
        Eq. 5 over all scans, images and pairs of repeats; None if no image has four repeats.
        ``repeat.sd`` is that of :func:`pair_variance`, so that its size does not depend on the
        number of repeats; the quantiles are those of Eq. 5 as it stands.
    repeat_sd_as_it_stands : float, or None
        Of dS_repeat as Eq. 5 has it: too small where repeats are few. None if no image has three.
    trial_sd, neuron_sd : float, or None
        What finitely many trials alone and what the selection of neurons alone do to S_oracle:
        ``scan.sd**2 == trial_sd**2 + neuron_sd**2``, up to the noise of this estimate. 0 where an
        estimated variance is below zero.
    edges : (bin + 1,)
        Of both histograms.
    scan_density, repeat_density : (bin,), or None
        Of dS_scan and dS_repeat as they stand in Eq. 4 and 5; None where the spread is.
    """

    names: tuple[str, ...]
    n_images: int
    oracle: NDArray[np.float32]
    scan: Spread | None
    repeat: Spread | None
    repeat_sd_as_it_stands: float | None
    trial_sd: float | None
    neuron_sd: float | None
    edges: NDArray[np.float64]
    scan_density: NDArray[np.float64] | None
    repeat_density: NDArray[np.float64] | None

    @property
    def ratio(self) -> float | None:
        """Spread over scans divided by spread over repeats: what Fig. 1C shows to be small."""
        return _ratio(None if self.scan is None else self.scan.sd, self.repeat)

    @property
    def neuron_ratio(self) -> float | None:
        """The same without what trials add to the spread over scans."""
        return _ratio(self.neuron_sd, self.repeat)


def stability(
    populations: Sequence[Population], *, same_trials: bool = False, n_bins: int = 100
) -> Stability:
    """Compare the spread of similarity over scans with that over repeats.

    Parameters
    ----------
    populations : sequence of Population
        One of each scan, or the parts of one. Only images that all saw count.
    same_trials : bool
        The populations are parts of one scan and share its trials, so that noise common to their
        neurons moves them together and adds nothing to the spread between them.
    n_bins : int
        Of the histograms.

    Raises
    ------
    NoCommonImagesError
        If fewer than three repeated images are common to all.

    Examples
    --------
    >>> from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
    >>> from predictive_model.recordings.stimuli import natural_stimuli
    >>> from regularized_training.teachers.populations import population
    >>> images = natural_stimuli(40)
    >>> config = SimulatedCortexConfig(n_neurons=30)
    >>> scans = [
    ...     SimulatedCortex(config, seed=k).record(
    ...         images, n_repeated=20, n_repeats=6, seed=k, name=f"scan{k}"
    ...     )
    ...     for k in range(2)
    ... ]
    >>> s = stability([population(scan) for scan in scans])
    >>> s.scan.sd < s.repeat.sd
    True
    """
    populations = on_common_images(populations)
    oracle = np.stack([p.oracle() for p in populations])
    scan, trial_sd, neuron_sd = None, None, None
    scan_pairs = np.zeros(0)
    if len(populations) > 1:
        scan_pairs = pairs_of(scan_fluctuation(oracle))
        variance = float((scan_pairs**2).sum(0).mean() / (len(populations) - 1))
        scan = spread(scan_pairs, sd=float(np.sqrt(variance)))
        by_trials = _trial_part(populations, same_trials)
        trial_sd = float(np.sqrt(max(by_trials, 0)))
        neuron_sd = float(np.sqrt(max(variance - by_trials, 0)))
    repeat, repeat_pairs = repeat_spread(populations), _repeat_pairs(populations)
    largest = max(np.abs(pairs).max(initial=1e-6) for pairs in (scan_pairs, repeat_pairs))
    edges = np.linspace(-largest, largest, n_bins + 1)
    return Stability(
        names=tuple(p.name for p in populations),
        n_images=oracle.shape[1],
        oracle=oracle,
        scan=scan,
        repeat=repeat,
        repeat_sd_as_it_stands=float(repeat_pairs.std()) if repeat_pairs.size else None,
        trial_sd=trial_sd,
        neuron_sd=neuron_sd,
        edges=edges,
        scan_density=_density(scan_pairs, edges),
        repeat_density=None if repeat is None else _density(repeat_pairs, edges),
    )


def repeat_spread(populations: Sequence[Population]) -> Spread | None:
    """Spread over repeats of all populations; None if no image has four.

    The standard deviation is that of :func:`pair_variance`, the mean over pairs; the quantiles are
    those of Eq. 5 as it stands.
    """
    found = [pair_variance(p.trials, p.weight) for p in populations]
    variance, n_pairs = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if not n_pairs.any():
        return None
    mean = np.average(np.nan_to_num(variance), weights=n_pairs)
    return spread(_repeat_pairs(populations), sd=float(np.sqrt(max(mean, 0))))


def _repeat_pairs(populations: Sequence[Population]) -> NDArray[np.float64]:
    pairs = [pairs_of(repeat_fluctuation(p.trials, p.weight)).ravel() for p in populations]
    all_pairs = np.concatenate(pairs)
    return all_pairs[np.isfinite(all_pairs)]


def _ratio(sd: float | None, repeat: Spread | None) -> float | None:
    return None if sd is None or repeat is None or repeat.sd == 0 else sd / repeat.sd


def _density(values: NDArray, edges: NDArray[np.float64]) -> NDArray[np.float64] | None:
    return np.histogram(values, edges, density=True)[0] if values.size else None


def _directions(
    trials: NDArray[np.float32], weight: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Unit vectors of all trials, (image, repeat, neuron), 0 where missing; and which are there."""
    if np.ndim(trials) != 3:
        raise ValueError(f"trials: shape {np.shape(trials)}, expected (image, repeat, neuron)")
    valid = np.asarray(np.isfinite(trials).all(axis=2))
    e = np.zeros(np.shape(trials))
    e[valid] = unit_vectors(trials[valid], weight)
    return e, valid


def _trial_similarity(
    trials: NDArray[np.float32], weight: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """S_data of all trials, (trial, trial), image by image, and how many each image has."""
    e, valid = _directions(trials, weight)
    n = valid.sum(1)
    if (n < 2).any():
        raise ValueError(
            f"trials: image {int(np.flatnonzero(n < 2)[0])} has fewer than two repeats, which say "
            "nothing of the noise; leave such images out"
        )
    return e[valid] @ e[valid].T, n


def _variance_of_block_means(
    table: NDArray[np.float64], n: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Variance of the mean of each block of a symmetric table, rows and columns being random.

    For a block of n_i x n_j entries g_tu = m + a_t + b_u + c_tu the mean has the variance
    var(a) / n_i + var(b) / n_j + var(c) / (n_i n_j). The means of rows vary by
    var(a) + var(c) / n_j, those of columns likewise, so that var(c) / (n_i n_j) is there twice.
    """
    starts = np.r_[0, np.cumsum(n)[:-1]]

    def block_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.add.reduceat(values, starts, axis=0)

    row_means = np.add.reduceat(table, starts, axis=1) / n  # (trial, image)
    mean = block_sums(row_means) / n[:, None]
    squares = block_sums(np.add.reduceat(table**2, starts, axis=1))
    of_rows = block_sums(row_means**2)
    across = n[:, None] * mean**2
    rows = (of_rows - across) / (n - 1)[:, None]
    # What neither row nor column explains, by subtraction of sums of squares.
    product = np.outer(n, n)
    rest = squares - n * of_rows - (n * of_rows).T + product * mean**2
    rest /= np.outer(n - 1, n - 1)
    variance = rows / n[:, None] + (rows / n[:, None]).T - rest / product
    np.fill_diagonal(variance, np.nan)
    return variance


def _trial_part(populations: Sequence[Population], same_trials: bool) -> float:
    """Variance between populations, H - 1 in the denominator, that their trials alone make."""
    if not same_trials:
        each = [pairs_of(trial_variance(p.trials, p.weight)).mean() for p in populations]
        return float(np.mean(each))
    tables = [_trial_similarity(p.trials, p.weight) for p in populations]
    n = tables[0][1]
    if any(not np.array_equal(n, other) for _, other in tables):
        raise ValueError("populations: they have different trials, so same_trials cannot be true")
    # Noise that moves all parts together leaves each part's deviation from their mean alone.
    mean = sum(table for table, _ in tables) / len(tables)
    each = [pairs_of(_variance_of_block_means(table - mean, n)).mean() for table, _ in tables]
    return float(np.sum(each) / (len(tables) - 1))
