"""Which errors a network makes: are they at least within the right superclass?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from regularized_training.tasks.chosen_images import evaluating, logits_of

BATCH = 256


def answers_of(
    network: nn.Module, images: NDArray[np.uint8], device: str | torch.device = "cpu"
) -> NDArray[np.int64]:
    """The class that a network answers for each image.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; left in the mode it came in.
    images : (image, channels, height, width) uint8
    device : str or torch.device

    Returns
    -------
    (image,) int64
    """
    with evaluating(network, device), torch.inference_mode():
        logits = logits_of(network, torch.from_numpy(images).split(BATCH), device)
    return logits.argmax(1).cpu().numpy()


def superclass_share(
    answers: ArrayLike, labels: ArrayLike, superclass_of: ArrayLike
) -> tuple[float, int]:
    """Share of the errors that stay within the superclass of the right class.

    Federer et al. 2020, Section 3.5: confusing a maple with an oak is a smaller error than with a
    train.

    Parameters
    ----------
    answers, labels : (image,) int
        Classes, as a network answers and as they are.
    superclass_of : (class,) int
        Superclass of each class.

    Returns
    -------
    share : float
        NaN without errors.
    n_errors : int

    Raises
    ------
    ValueError
        If answers and labels do not fit together, or name a class without a superclass.

    Examples
    --------
    >>> superclass_share([0, 1, 2, 3], [1, 1, 0, 2], [0, 0, 1, 1])
    (0.6666666666666666, 3)
    """
    a, y, groups = np.asarray(answers), np.asarray(labels), np.asarray(superclass_of)
    if a.shape != y.shape or a.ndim != 1:
        raise ValueError(f"answers, labels: shapes {a.shape} and {y.shape}, expected (image,) both")
    used = np.union1d(a, y)
    if len(used) and not (used[0] >= 0 and used[-1] < len(groups)):
        raise ValueError(
            f"superclass_of: of {len(groups)} classes, but there is class {int(used[-1])}; give "
            "every class its superclass"
        )
    wrong = a != y
    n = int(wrong.sum())
    share = float((groups[a[wrong]] == groups[y[wrong]]).mean()) if n else float("nan")
    return share, n
