"""People's answers to CIFAR-10: how they are divided over classes, and which labels are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from regularized_training.behaviour.summary import entropy_bits

NoisyKind = Literal["aggregate", "random1", "random2", "random3", "worst"]
# As the published file names them.
KINDS: dict[str, str] = {
    "aggregate": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worst": "worse_label",
}
CLEAN = "clean_label"


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """How often people answered each class to each image, as in CIFAR-10H (Peterson et al. 2019).

    Parameters
    ----------
    counts : (image, class) int
        Answers; at least one for each image.
    labels : (image,) int64
        The class that each image is said to show.

    Raises
    ------
    ValueError
        If counts and labels do not fit together.

    Examples
    --------
    >>> people = SoftLabels(np.array([[50, 0], [25, 25]]), np.array([0, 1]))
    >>> people.entropy, people.accuracy
    (array([0., 1.]), 0.75)
    """

    counts: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        counts, labels = np.asarray(self.counts), np.asarray(self.labels)
        if counts.ndim != 2 or labels.shape != counts.shape[:1] or not len(labels):
            raise ValueError(
                f"counts {counts.shape} and labels {labels.shape}, expected (image, class) and "
                "(image,)"
            )
        if counts.min() < 0 or not counts.sum(1).all():
            raise ValueError("counts: some are negative or an image has none, expected answers")
        if not ((labels >= 0) & (labels < counts.shape[1])).all():
            raise ValueError(
                f"labels: {labels.min()} to {labels.max()}, of {counts.shape[1]} classes"
            )
        object.__setattr__(self, "counts", counts.astype(np.int64))
        object.__setattr__(self, "labels", labels.astype(np.int64))

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Fraction of people who answered each class, (image, class)."""
        return self.counts / self.counts.sum(1, keepdims=True)

    @property
    def entropy(self) -> NDArray[np.float64]:
        """Of people's answers to each image, in bits, (image,)."""
        return entropy_bits(self.counts)

    @property
    def accuracy(self) -> float:
        """Mean over images of the fraction of people whose answer is the label."""
        return float(np.take_along_axis(self.probabilities, self.labels[:, None], 1).mean())


def read_soft_labels(path: Path | str) -> SoftLabels:
    """CIFAR-10H from an .npz file of ``counts`` (10000, 10) and ``labels`` (10000,).

    Raises
    ------
    ValueError
        If it has no such arrays.
    """
    counts, labels = _arrays(Path(path), "counts", "labels")
    return SoftLabels(counts, labels)


def cross_entropy(log_probabilities: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean over images of -sum_k p_k log q_k: a network's log q against people's p, in nats.

    Parameters
    ----------
    log_probabilities : (image, class)
        Natural logarithms, as of a log-softmax.
    probabilities : (image, class)
        Of people; a class without answers costs nothing, however improbable to the network.

    Raises
    ------
    ValueError
        If shapes differ, or a log probability is above 0 or NaN.

    Examples
    --------
    >>> round(cross_entropy(np.log([[0.5, 0.5]]), [[1.0, 0.0]]), 4)
    0.6931
    """
    q, p = np.asarray(log_probabilities, np.float64), np.asarray(probabilities, np.float64)
    if q.shape != p.shape or q.ndim != 2 or not len(q):
        raise ValueError(f"shapes {q.shape} and {p.shape}, expected (image, class) of both")
    if not (q <= 1e-6).all():
        raise ValueError(
            f"log_probabilities: as much as {np.max(q):g}, expected at most 0; take a log-softmax "
            "of logits"
        )
    terms = np.zeros_like(p)
    np.multiply(p, q, out=terms, where=p > 0)
    return float(-terms.sum(1).mean())


def accuracy_by_entropy(right: ArrayLike, entropy: ArrayLike, n_bins: int = 5) -> pd.DataFrame:
    """Accuracy on images that people agree on, and on those they do not: in quantiles of entropy.

    Parameters
    ----------
    right : (image,) bool
        Whether a network is right.
    entropy : (image,) float64
        Of people's answers; images of the same entropy are in the same bin.
    n_bins : int
        At most: there are fewer where many images have one entropy, as those that all people agree
        on have 0.

    Returns
    -------
    DataFrame
        ``entropy_low`` and ``entropy_high`` of the images in each bin, ``n_images``, ``accuracy``.

    Raises
    ------
    ValueError
        If there are not as many of both, or fewer images than bins.

    Examples
    --------
    >>> accuracy_by_entropy([1, 1, 0, 1], [0.0, 0.0, 1.0, 2.0], 2)["accuracy"].tolist()
    [1.0, 0.5]
    """
    right, entropy = np.asarray(right, bool), np.asarray(entropy, np.float64)
    if right.shape != entropy.shape or right.ndim != 1:
        raise ValueError(f"shapes {right.shape} and {entropy.shape}, expected one for each image")
    if not 1 <= n_bins <= len(right):
        raise ValueError(f"n_bins: {n_bins}, expected 1 to {len(right)}, the number of images")
    edges = np.unique(np.quantile(entropy, np.linspace(0, 1, n_bins + 1)[1:-1]))
    place = np.searchsorted(edges, entropy, side="left")  # an edge belongs to the bin below it
    frame = pd.DataFrame({"bin": place, "entropy": entropy, "right": right})
    groups = frame.groupby("bin")
    return pd.DataFrame(
        {
            "entropy_low": groups["entropy"].min(),
            "entropy_high": groups["entropy"].max(),
            "n_images": groups.size(),
            "accuracy": groups["right"].mean(),
        }
    ).reset_index(drop=True)


def noisy_labels(path: Path | str, kind: NoisyKind) -> NDArray[np.int64]:
    """Labels that people gave to CIFAR-10's training images, right or wrong (Wei et al. 2022).

    A corruption of labels as people make it: 40 % of ``worst`` are wrong, and mostly so between
    classes that look alike.

    Parameters
    ----------
    path : Path
        CIFAR-10N as an .npz file of its label sets, (50000,) each.
    kind : {"aggregate", "random1", "random2", "random3", "worst"}
        The majority of three people, one of them, or a wrong one of theirs wherever there is any.

    Returns
    -------
    (image,) int64
        In the order of the training images.

    Raises
    ------
    ValueError
        If the kind is unknown or not in the file.
    """
    if kind not in get_args(NoisyKind):
        raise ValueError(f"kind: {kind!r}, expected one of {', '.join(get_args(NoisyKind))}")
    return _arrays(Path(path), KINDS[kind])[0].astype(np.int64)


def clean_labels(path: Path | str) -> NDArray[np.int64]:
    """The labels that the same file of CIFAR-10N takes for right, (image,) int64."""
    return _arrays(Path(path), CLEAN)[0].astype(np.int64)


def error_rate(noisy: ArrayLike, clean: ArrayLike) -> float:
    """Fraction of labels that differ.

    Examples
    --------
    >>> error_rate([0, 1, 1, 3], [0, 1, 2, 3])
    0.25
    """
    first, second = np.asarray(noisy), np.asarray(clean)
    if first.shape != second.shape or not first.size:
        raise ValueError(f"shapes {first.shape} and {second.shape}, expected labels of each image")
    return float((first != second).mean())


def _arrays(path: Path, *names: str) -> list[NDArray]:
    with np.load(path, allow_pickle=False) as there:
        if not isinstance(there, np.lib.npyio.NpzFile):
            raise ValueError(f"{path}: one array, expected an .npz file of {', '.join(names)}")
        if missing := [name for name in names if name not in there]:
            raise ValueError(
                f"{path}: lacks {', '.join(missing)}; it has {', '.join(sorted(there))}"
            )
        return [there[name] for name in names]
