"""Error consistency: do two observers err on the same images? (Geirhos, Meding & Wichmann 2020)"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from regularized_training.behaviour.trials import Trials, TrialsError

# Conditions that published ceilings leave out: control ones, those in which people are right in
# less than a fifth of the trials, and c03 and 0.55, in which they do a little better. Those of the
# eidolon are reach, coherence and grain.
LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "colour": ("cr",),
    "false-colour": ("true",),
    "contrast": ("c100", "c03", "c01"),
    "high-pass": ("inf", "0.55", "0.45", "0.4"),
    "low-pass": ("0", "15", "40"),
    "phase-scrambling": ("0", "150", "180"),
    "power-equalisation": ("0",),
    "rotation": ("0",),
    "uniform-noise": ("0", "0.6", "0.9"),
    "eidolon": (
        *("1-10-10", "64-10-10", "128-10-10"),
        *("1-3-10", "32-3-10", "64-3-10", "128-3-10"),
        *("1-0-10", "16-0-10", "32-0-10", "64-0-10", "128-0-10"),
    ),
}
# Columns of every two observers.
_PAIR = (
    *("n_images", "first_accuracy", "second_accuracy"),
    *("observed", "expected", "kappa", "kappa_low", "kappa_high"),
)
FEWEST_IMAGES = 20  # that two observers both saw; of fewer, kappa is next to nothing but chance
_OTHER_NAMES = {"noise": "uniformnoise", "contrastpng": "contrast"}


@dataclass(frozen=True)
class ErrorConsistency:
    """How two observers agree on which of the same images they are right.

    Attributes
    ----------
    n_images : int
    first_accuracy, second_accuracy : float
    observed : float
        Fraction of images that both are right on or both are wrong on, c_obs.
    expected : float
        The same of independent observers of these accuracies, c_exp.
    kappa : float
        What is beyond chance, NaN where both are always right, or always wrong.
    """

    n_images: int
    first_accuracy: float
    second_accuracy: float
    observed: float
    expected: float
    kappa: float

    @property
    def observed_bounds(self) -> tuple[float, float]:
        """Between which c_obs must be, given the accuracies."""
        low, high = observed_bounds(self.first_accuracy, self.second_accuracy)
        return float(low), float(high)

    @property
    def kappa_bounds(self) -> tuple[float, float]:
        """Between which kappa must be, given the accuracies."""
        low, high = kappa_bounds(self.first_accuracy, self.second_accuracy)
        return float(low), float(high)


def expected_consistency(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """c_exp = a1 a2 + (1 - a1)(1 - a2): agreement by chance, given two accuracies.

    Examples
    --------
    >>> float(expected_consistency(0.5, 0.9))
    0.5
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return a * b + (1 - a) * (1 - b)


def kappa(observed: ArrayLike, expected: ArrayLike) -> NDArray[np.float64]:
    """Cohen's kappa = (c_obs - c_exp) / (1 - c_exp); NaN where c_exp is 1.

    Examples
    --------
    >>> float(kappa(0.75, 0.5))
    0.5
    """
    observed, expected = np.asarray(observed, np.float64), np.asarray(expected, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)


def observed_bounds(
    first: ArrayLike, second: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds of c_obs given two accuracies: |a1 + a2 - 1| and 1 - |a1 - a2|.

    Examples
    --------
    >>> [round(float(bound), 9) for bound in observed_bounds(0.9, 0.7)]
    [0.6, 0.8]
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return np.abs(a + b - 1), 1 - np.abs(a - b)


def kappa_bounds(
    first: ArrayLike, second: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds of kappa given two accuracies: those of c_obs, put in its place.

    Examples
    --------
    >>> [round(float(bound), 9) for bound in kappa_bounds(0.5, 0.5)]
    [-1.0, 1.0]
    """
    expected = expected_consistency(first, second)
    low, high = observed_bounds(first, second)
    return kappa(low, expected), kappa(high, expected)


def error_consistency(first: ArrayLike, second: ArrayLike) -> ErrorConsistency:
    """Error consistency of Geirhos et al. 2020: kappa over images, of being right or wrong.

    Parameters
    ----------
    first, second : (image,) bool
        Whether each observer is right; the same images in the same order.

    Raises
    ------
    ValueError
        If they are not as many, or none.

    Examples
    --------
    >>> found = error_consistency([1, 1, 1, 0], [1, 1, 0, 0])
    >>> found.observed, found.expected, found.kappa
    (0.75, 0.5, 0.5)
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(
            f"shapes {a.shape} and {b.shape}, expected one value for each of the same images"
        )
    accuracies = float(a.mean()), float(b.mean())
    observed, expected = float((a == b).mean()), float(expected_consistency(*accuracies))
    return ErrorConsistency(
        len(a), *accuracies, observed, expected, float(kappa(observed, expected))
    )


def left_out(experiment: str) -> tuple[str, ...]:
    """Conditions that published ceilings leave out, by an experiment's name; none of others.

    Examples
    --------
    >>> left_out("power-equalisation"), left_out("highpass-experiment"), left_out("edge")
    (('0',), ('inf', '0.55', '0.45', '0.4'), ())
    """
    letters = re.sub(r"[^a-z]", "", experiment.lower().removesuffix("-experiment"))
    letters = _OTHER_NAMES.get(letters, letters)
    known = {name.replace("-", ""): conditions for name, conditions in LEFT_OUT.items()}
    return known.get(letters, ())


def by_pair(
    trials: Trials, *, leave_out: Collection[str] = (), fewest: int = FEWEST_IMAGES
) -> pd.DataFrame:
    """Error consistency of every two observers in every condition in which both saw images.

    Parameters
    ----------
    trials : Trials
    leave_out : collection of str
        Conditions; :func:`left_out` has those of published ceilings.
    fewest : int
        Images that two observers both saw; of fewer there is no row. In most experiments of 2018
        people were shown different images.

    Returns
    -------
    DataFrame
        ``first``, ``second``, ``condition``, ``n_images`` that both saw, ``first_accuracy`` and
        ``second_accuracy`` on these, ``observed``, ``expected``, ``kappa``, and bounds of the
        latter given the accuracies, ``kappa_low`` and ``kappa_high``.

    Raises
    ------
    TrialsError
        If an observer saw an image twice in a condition, or no condition remains.

    Examples
    --------
    >>> trials = Trials.of("demo", [("subject-01", "bw", "a", "cat", "cat"),
    ...                             ("subject-01", "bw", "b", "dog", "cat"),
    ...                             ("alexnet", "bw", "a", "cat", "cat"),
    ...                             ("alexnet", "bw", "b", "dog", "bear")])
    >>> by_pair(trials, fewest=1)[["first", "second", "n_images", "kappa"]].values.tolist()
    [['subject-01', 'alexnet', 2, 1.0]]
    """
    dropped = {_written(name) for name in leave_out}
    rows = []
    conditions = [name for name in trials.conditions if _written(name) not in dropped]
    if not conditions:
        raise TrialsError(
            f"{trials.experiment}: {', '.join(trials.conditions)} are all left out; keep one"
        )
    for condition in conditions:
        seen = right_by_image(trials, condition)
        seen = seen[[name for name in trials.observers if name in seen]]
        found = of_every_two(seen.to_numpy().T, names=list(seen), fewest=fewest)
        rows.append(found.assign(condition=condition))
    return pd.concat(rows, ignore_index=True)[["first", "second", "condition", *_PAIR]]


def of_every_two(
    right: ArrayLike, *, names: Sequence[Hashable] | None = None, fewest: int = FEWEST_IMAGES
) -> pd.DataFrame:
    """Error consistency of every two observers on the images that both saw.

    Parameters
    ----------
    right : (observer, image)
        1 where an observer is right, 0 where wrong, NaN where it did not see the image.
    names : sequence, optional
        Of the observers; their places by default.
    fewest : int
        Images that two observers both saw; of fewer there is no row.

    Returns
    -------
    DataFrame
        As of :func:`by_pair`, without the condition.

    Raises
    ------
    ValueError
        If there are not as many names.

    Examples
    --------
    >>> of_every_two([[1, 1, 1, 0], [1, 1, 0, 0]], fewest=1)[["observed", "kappa"]].to_dict("list")
    {'observed': [0.75], 'kappa': [0.5]}
    """
    values = np.asarray(right, np.float64)
    names = range(len(values)) if names is None else names
    if values.ndim != 2 or len(names) != len(values):
        raise ValueError(
            f"right: shape {values.shape}, with {len(names)} names, expected (observer, image) and "
            "a name for each observer"
        )
    seen = ~np.isnan(values)
    is_right, saw = np.where(seen, values, 0.0), seen.astype(np.float64)
    i, j = np.triu_indices(len(values), 1)
    n = (saw @ saw.T)[i, j]
    i, j = (place[n >= max(fewest, 1)] for place in (i, j))
    n = n[n >= max(fewest, 1)]
    on_common = is_right @ saw.T  # images of both that the first of two is right on
    both = (is_right @ is_right.T)[i, j]
    first, second = on_common[i, j], on_common[j, i]
    a, b = first / n, second / n
    observed = (both + (n - first - second + both)) / n
    expected = expected_consistency(a, b)
    low, high = kappa_bounds(a, b)
    return pd.DataFrame(
        {
            "first": [names[place] for place in i.tolist()],
            "second": [names[place] for place in j.tolist()],
            "n_images": n.astype(np.int64),
            "first_accuracy": a,
            "second_accuracy": b,
            "observed": observed,
            "expected": expected,
            "kappa": kappa(observed, expected),
            "kappa_low": low,
            "kappa_high": high,
        }
    )


def over_conditions(pairs: pd.DataFrame) -> pd.DataFrame:
    """Mean over conditions, as published, of what :func:`by_pair` says of every two observers.

    Returns
    -------
    DataFrame
        ``first``, ``second``, means of ``observed``, ``expected`` and ``kappa``, the last without
        conditions in which it is NaN, and ``n_images`` and ``n_conditions``.
    """
    groups = pairs.groupby(["first", "second"], sort=False)
    found = groups[["observed", "expected", "kappa"]].mean()
    found["n_images"], found["n_conditions"] = groups["n_images"].sum(), groups.size()
    return found.reset_index()


def ceiling(
    trials: Trials, *, leave_out: Collection[str] | None = None, fewest: int = FEWEST_IMAGES
) -> float:
    """Error consistency between people: mean over every two of them of their mean over conditions.

    What a network is compared with, as Brain-Score has it.

    Parameters
    ----------
    trials : Trials
    leave_out : collection of str, optional
        Conditions; those of :func:`left_out` by default.
    fewest : int
        As of :func:`by_pair`.

    Raises
    ------
    TrialsError
        If no two people saw as many of the same images.

    Examples
    --------
    >>> trials = Trials.of("demo", [(f"subject-0{i}", "bw", image, "cat", answer)
    ...                             for i in (1, 2) for image, answer in zip("ab", ["cat", "dog"])])
    >>> ceiling(trials, fewest=2)
    1.0
    """
    people = set(trials.people)
    if len(people) < 2:
        raise TrialsError(f"{trials.experiment}: {len(people)} people, expected two or more")
    among = trials.where(np.array([name in people for name in trials.observer.tolist()]))
    leave_out = left_out(trials.experiment) if leave_out is None else leave_out
    pairs = over_conditions(by_pair(among, leave_out=leave_out, fewest=fewest))
    if not pairs["kappa"].notna().any():
        raise TrialsError(
            f"{trials.experiment}: no two people, sometimes wrong, saw {fewest} of the same images "
            "in a condition; expected an experiment in which they saw the same"
        )
    return float(pairs["kappa"].mean())


def right_by_image(trials: Trials, condition: str) -> pd.DataFrame:
    """Whether each observer, a column, is right on each image, a row; NaN if it was not seen.

    Raises
    ------
    TrialsError
        If an observer saw an image twice.
    """
    there = trials.condition == condition
    frame = pd.DataFrame(
        {
            "observer": trials.observer[there],
            "image": trials.image[there],
            "right": trials.correct[there].astype(float),
        }
    )
    twice = frame[frame.duplicated(["observer", "image"])]
    if len(twice):
        who, image = twice.iloc[0][["observer", "image"]]
        raise TrialsError(
            f"{trials.experiment}: {who} saw {image} twice in condition {condition}; "
            "expected once, as error consistency is over images"
        )
    return frame.pivot(index="image", columns="observer", values="right")


def _written(condition: str) -> str:
    """A condition's name in one way of writing numbers: 0.60 is 0.6."""
    try:
        return f"{float(condition):g}"
    except ValueError:
        return condition
