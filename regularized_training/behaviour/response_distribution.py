"""What is answered: accuracy, the confusion of categories, and how evenly answers are spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Responses:
    """Answers to the images of one condition.

    Attributes
    ----------
    accuracy : float
        Fraction of images whose answer is their label.
    entropy : float
        Of the answers to all images together, in bits: see :func:`entropy_bits`.
    confusion : (n_presented, n_answered) int64
        Images of each category, row, by what was answered, column.
    """

    accuracy: float
    entropy: float
    confusion: NDArray[np.int64]


def responses(
    labels: NDArray[np.integer],
    answers: NDArray[np.integer],
    n_presented: int,
    n_answered: int | None = None,
) -> Responses:
    """Accuracy, response distribution entropy and confusion of Geirhos et al. 2018.

    Parameters
    ----------
    labels, answers : (n,) int
        Categories from 0.
    n_presented : int
        Number of categories that images are of.
    n_answered : int, optional
        Number that may be answered, `n_presented` by default. More where there are other answers,
        such as none, which are numbered from `n_presented` on.

    Raises
    ------
    ValueError
        If labels and answers are not such as described, or there are none.

    Examples
    --------
    >>> found = responses(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]), 2)
    >>> found.accuracy, round(found.entropy, 4), found.confusion.tolist()
    (0.75, 0.8113, [[2, 0], [1, 1]])
    """
    n_answered = n_presented if n_answered is None else n_answered
    if labels.shape != answers.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"labels: shape {labels.shape}, answers: shape {answers.shape}, expected (n,) both, "
            "of at least one image"
        )
    _require_categories("labels", labels, n_presented)
    _require_categories("answers", answers, n_answered)
    confusion = np.zeros((n_presented, n_answered), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    return Responses(
        accuracy=float((labels == answers).mean()),
        entropy=float(entropy_bits(confusion.sum(0))),
        confusion=confusion,
    )


def entropy_bits(counts: ArrayLike) -> NDArray[np.float64]:
    """Entropy of the response distribution, H = -sum p log2 p: Geirhos et al. 2018.

    It is that of the answers to all images of a condition together, not a mean over categories.

    Parameters
    ----------
    counts : (..., category)
        How often each category was answered.

    Returns
    -------
    (...) float64
        Bits, at most log2 of the number of categories, 4 of 16; NaN without any answer.

    Examples
    --------
    >>> entropy_bits([[8, 0, 0, 0], [2, 2, 2, 2]])
    array([0., 2.])
    """
    n = np.asarray(counts, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = n / n.sum(-1, keepdims=True)
        terms = np.where(p > 0, p * np.log2(p), np.where(np.isnan(p), np.nan, 0.0))
    return np.asarray(-terms.sum(-1) + 0.0)


def _require_categories(name: str, values: NDArray[np.integer], n: int) -> None:
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= n:
        raise ValueError(
            f"{name}: type {values.dtype}, {values.min()} to {values.max()}, expected integers "
            f"from 0 to {n - 1}"
        )
