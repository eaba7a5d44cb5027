"""What accuracy on the validation part decides: when the learning rate falls, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence


def n_reductions(accuracies: Sequence[float], *, patience: int, threshold: float) -> int:
    """How often the learning rate has been reduced by the end of some epochs.

    It is reduced when accuracy has not risen by more than a threshold above the best so far for
    some epochs in a row; then counting starts over. So does torch's ``ReduceLROnPlateau`` with
    ``mode="max"``, ``threshold_mode="abs"`` and a patience one less, as that waits one epoch
    longer than its patience says. Here it follows from the history alone, so that a training that
    goes on has no other state.

    Parameters
    ----------
    accuracies : sequence of float
        On the validation part, after each epoch.
    patience : int
        Number of epochs.
    threshold : float
        In units of accuracy, which is at most 1.

    Examples
    --------
    >>> n_reductions([0.3, 0.5, 0.5, 0.49], patience=2, threshold=1e-4)
    1
    >>> n_reductions([0.3, 0.5, 0.5, 0.51], patience=2, threshold=1e-4)
    0
    """
    best, waited, reduced = -math.inf, 0, 0
    for accuracy in accuracies:
        if accuracy > best + threshold:
            best, waited = accuracy, 0
        else:
            waited += 1
        if waited == patience:
            reduced, waited = reduced + 1, 0
    return reduced


def best_epoch(accuracies: Sequence[float]) -> int:
    """The epoch of the highest accuracy, from 0; of several the first.

    Examples
    --------
    >>> best_epoch([0.3, 0.5, 0.5, 0.4])
    1
    """
    return max(range(len(accuracies)), key=accuracies.__getitem__)
