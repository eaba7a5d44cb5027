"""Which images are hard, and confused with what: I1 and I2n of Rajalingham et al. 2018.

An observer sees an image of a target and chooses between the target and a distractor. The hit rate
of an image and a distractor is how often the target is chosen. Matrices here are (image, object),
with NaN where the object is the target. In the variant of Kubilius et al. 2019, Appendix B.2:

    d' = Z(hit rate) - Z(false alarm rate), clipped to -5 and 5
    I2n = d' less its mean over the images of the same target, for each distractor
    score = r_st / sqrt(r_ss r_tt)

with r_st the correlation of two observers over all images and distractors, and r_ss and r_tt those
of each with itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

FalseAlarms = Literal["all_objects", "distractor"]
CLIP = 5.0  # of d'
Z_LIMIT = 10.0  # stands for the infinite z of rates 0 and 1, so that two of them can be subtracted
N_HALVES = 10
NO_TRIALS = "no trials: a matrix alone does not say how reliable it is"


@dataclass(frozen=True, eq=False)
class ChoiceTrials:
    """Trials in which an observer chose between what an image shows and a distractor.

    Attributes
    ----------
    image : (trial,) int
    distractor : (trial,) int
        Another object than the image shows.
    correct : (trial,) bool
        Whether the target was chosen.
    target : (image,) int
        Object that each image shows.
    n_objects : int

    Raises
    ------
    ValueError
        If arrays differ in length, a number is out of range, or a distractor is the target.
    """

    image: NDArray[np.int64]
    distractor: NDArray[np.int64]
    correct: NDArray[np.bool_]
    target: NDArray[np.int64]
    n_objects: int

    def __post_init__(self) -> None:
        for name in ("image", "distractor", "target"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64))
        object.__setattr__(self, "correct", np.asarray(self.correct, np.bool_))
        if not self.image.shape == self.distractor.shape == self.correct.shape:
            raise ValueError(
                f"trials: {self.image.shape} images, {self.distractor.shape} distractors and "
                f"{self.correct.shape} answers; expected as many of each"
            )
        ranges = [("image", len(self.target))]
        ranges += [("distractor", self.n_objects), ("target", self.n_objects)]
        for name, n in ranges:
            values = getattr(self, name)
            wrong = values[(values < 0) | (values >= n)]
            if len(wrong):
                raise ValueError(f"{name}: {wrong[0]}, expected 0 to {n - 1}")
        same = int((self.target[self.image] == self.distractor).sum())
        if same:
            raise ValueError(
                f"distractor: that of {same} trials is what the image shows, expected another"
            )

    def hit_rates(self) -> NDArray[np.float64]:
        """(image, object): how often the target was chosen over each distractor; NaN if never
        asked."""
        shape = len(self.target), self.n_objects
        cell = self.image * self.n_objects + self.distractor
        asked = np.bincount(cell, minlength=shape[0] * shape[1])
        hits = np.bincount(cell[self.correct], minlength=len(asked))
        return _ratio(hits, asked).reshape(shape)

    def halves(self, rng: np.random.Generator) -> tuple[ChoiceTrials, ChoiceTrials]:
        """Two random halves of all trials."""
        order = rng.permutation(len(self.image))
        middle = len(order) // 2
        first, second = (
            replace(
                self,
                image=self.image[rows],
                distractor=self.distractor[rows],
                correct=self.correct[rows],
            )
            for rows in (order[:middle], order[middle:])
        )
        return first, second


def hit_rates_of_probabilities(
    probabilities: NDArray, target: NDArray[np.int64]
) -> NDArray[np.float64]:
    """p(target) / (p(target) + p(distractor)), (image, object), from an observer's probabilities.

    Parameters
    ----------
    probabilities : (image, object)
        That the object is in the image, as
        :class:`~regularized_training.behaviour.decoder.ObjectDecoder` says.
    target : (image,) int

    Raises
    ------
    ValueError
        If a probability is negative or not finite, or the target is not among the objects.

    Examples
    --------
    >>> hit_rates_of_probabilities(np.array([[0.6, 0.2, 0.2]]), np.array([0])).round(2)
    array([[ nan, 0.75, 0.75]])
    """
    p = np.asarray(probabilities, np.float64)
    target = _checked_target(p, target)
    if not np.isfinite(p).all() or (p < 0).any():
        raise ValueError("probabilities: some are negative, NaN or infinite; expected 0 to 1")
    rows = np.arange(len(p))
    own = p[rows, target][:, None]
    total = own + p
    # Of two objects that are both out of the question, neither is preferred.
    rates = np.divide(own, total, out=np.full(p.shape, 0.5), where=total > 0)
    rates[rows, target] = np.nan
    return rates


def d_prime(
    hit_rates: NDArray,
    target: NDArray[np.int64],
    false_alarms: FalseAlarms = "all_objects",
) -> NDArray[np.float64]:
    """Z(hit rate) - Z(false alarm rate), (image, object), clipped to -5 and 5.

    Parameters
    ----------
    hit_rates : (image, object)
        NaN at the target, and where nothing was asked.
    target : (image,) int
    false_alarms : {"all_objects", "distractor"}
        One minus the mean hit rate, with this target as distractor, over images of all other
        objects, as the paper of Kubilius et al. 2019 has it; or over images of the distractor only,
        as the code of Brain-Score. I2n takes means over images off, and with them what tells the
        two apart, but for clipping.
    """
    rates = np.array(hit_rates, np.float64)
    target = _checked_target(rates, target)
    rates[np.arange(len(rates)), target] = np.nan
    shows = np.eye(rates.shape[1], dtype=bool)[target]  # (image, object)
    known = np.isfinite(rates)
    values = np.where(known, rates, 0.0)
    # (shown, asked): sum and number of hit rates over images of one object with one distractor.
    total, number = shows.T @ values, shows.T @ known.astype(np.float64)
    if false_alarms == "all_objects":
        total, number = total.sum(0)[target][:, None], number.sum(0)[target][:, None]
    else:
        total, number = total[:, target].T, number[:, target].T
    alarms = 1 - _ratio(total, number)
    z = [np.clip(ndtri(rate), -Z_LIMIT, Z_LIMIT) for rate in (rates, alarms)]
    return np.clip(z[0] - z[1], -CLIP, CLIP)


def i2n(
    hit_rates: NDArray,
    target: NDArray[np.int64],
    false_alarms: FalseAlarms = "all_objects",
) -> NDArray[np.float64]:
    """I2n, (image, object): d' less its mean over images of the same target, distractor by
    distractor.

    See :func:`d_prime` for the arguments.
    """
    return _less_mean(d_prime(hit_rates, target, false_alarms), np.asarray(target, np.int64))


def i1(
    hit_rates: NDArray, target: NDArray[np.int64], *, normalised: bool = False
) -> NDArray[np.float64]:
    """I1, (image,): d' of the target against all distractors together (Rajalingham et al. 2018).

    The hit rate is the mean over distractors, and the false alarm rate that of the target over
    images of all other objects.

    Parameters
    ----------
    hit_rates, target
        See :func:`d_prime`.
    normalised : bool
        I1n: less the mean over images of the same object.
    """
    rates = np.array(hit_rates, np.float64)
    target = _checked_target(rates, target)
    rates[np.arange(len(rates)), target] = np.nan
    known = np.isfinite(rates)
    values = np.where(known, rates, 0.0)
    by_image = _ratio(values.sum(1), known.sum(1))
    alarms = 1 - _ratio(values.sum(0), known.sum(0))[target]
    z = [np.clip(ndtri(rate), -Z_LIMIT, Z_LIMIT) for rate in (by_image, alarms)]
    found = np.clip(z[0] - z[1], -CLIP, CLIP)
    return _less_mean(found[:, None], target)[:, 0] if normalised else found


def behavioural_correlation(a: NDArray, b: NDArray) -> float:
    """Pearson's correlation of two patterns, such as :func:`i2n`, where both are known.

    Raises
    ------
    ValueError
        If shapes differ, fewer than three entries are known in both, or one is constant.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"patterns: shapes {a.shape} and {b.shape}, expected the same")
    known = np.isfinite(a) & np.isfinite(b)
    x, y = a[known], b[known]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise ValueError(
            f"patterns: {len(x)} entries known in both, expected at least 3 that differ"
        )
    return float(np.corrcoef(x, y)[0, 1])


@dataclass(frozen=True)
class BehaviouralConsistency:
    """How a network agrees with people.

    Attributes
    ----------
    raw : float
        r_st, against half of the trials, mean over halves.
    reliability : float or None
        r_tt, of the halves with each other: Brain-Score's ceiling.
    missing : str
        Why there is none, or none to divide by.
    """

    raw: float
    reliability: float | None
    missing: str = ""

    @property
    def score(self) -> float | None:
        """r_st / sqrt(r_tt), as networks without noise agree with themselves; None if unknown."""
        if self.reliability is None or self.reliability <= 0:
            return None
        return self.raw / float(np.sqrt(self.reliability))


def i2n_consistency(
    source: NDArray,
    people: ChoiceTrials | NDArray,
    target: NDArray[np.int64] | None = None,
    *,
    false_alarms: FalseAlarms = "all_objects",
    n_halves: int = N_HALVES,
    seed: int = 0,
) -> BehaviouralConsistency:
    """I2n of a network beside that of people, with its ceiling.

    Both correlations are of halves of the trials, as in Brain-Score, so that the noise of half the
    trials is in both; Kubilius et al. 2019 do not say which trials r_st is of.

    Parameters
    ----------
    source : (image, object)
        Hit rates of the network, see :func:`hit_rates_of_probabilities`.
    people : ChoiceTrials or (image, object) array
        Trials, or their hit rates alone, which leaves the ceiling unknown.
    target : (image,) int, optional
        Of images; those of the trials by default.
    false_alarms
        See :func:`d_prime`.
    n_halves, seed : int
        Divisions of the trials into halves.
    """
    if not isinstance(people, ChoiceTrials):
        if target is None:
            raise ValueError("target: none, expected what each image shows beside hit rates")
        patterns = [i2n(rates, target, false_alarms) for rates in (source, people)]
        return BehaviouralConsistency(behavioural_correlation(*patterns), None, NO_TRIALS)
    if n_halves < 1:
        raise ValueError(f"n_halves: {n_halves}, expected at least 1")
    target = people.target if target is None else target
    seen = i2n(source, target, false_alarms)
    rng = np.random.default_rng(seed)
    raw, own = [], []
    for _ in range(n_halves):
        halves = [i2n(h.hit_rates(), target, false_alarms) for h in people.halves(rng)]
        raw += [behavioural_correlation(seen, half) for half in halves]
        own.append(behavioural_correlation(*halves))
    reliability = float(np.mean(own))
    missing = "" if reliability > 0 else f"no signal: people agree by {reliability:.2g} only"
    return BehaviouralConsistency(float(np.mean(raw)), reliability, missing)


def _less_mean(values: NDArray[np.float64], target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values (image, k) less their mean over images of the same target."""
    known = np.isfinite(values)
    same = target[:, None] == target
    total, number = same @ np.where(known, values, 0.0), same @ known.astype(np.float64)
    return values - _ratio(total, number)


def _ratio(total: NDArray, number: NDArray) -> NDArray[np.float64]:
    """Means of as many as there are, of two arrays of one shape; NaN of none."""
    return np.divide(total, number, out=np.full(np.shape(total), np.nan), where=number > 0)


def _checked_target(matrix: NDArray, target: NDArray[np.int64]) -> NDArray[np.int64]:
    target = np.asarray(target)
    if matrix.ndim != 2 or target.shape != (len(matrix),):
        raise ValueError(
            f"target: shape {target.shape} with a matrix of shape {matrix.shape}, expected "
            "(image,) and (image, object)"
        )
    if target.size and not 0 <= target.min() <= target.max() < matrix.shape[1]:
        raise ValueError(
            f"target: {target.min()} to {target.max()}, expected 0 to {matrix.shape[1] - 1}, the "
            "columns of the matrix"
        )
    return target.astype(np.int64)
