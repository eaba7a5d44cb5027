"""The train, validation and test tiers of a recording: an image is in one of them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from predictive_model.recordings.checks import RecordingError

Tier = Literal["train", "validation", "test"]
TIERS: tuple[Tier, ...] = ("train", "validation", "test")


def assign_tiers(
    image_index: NDArray[np.int64],
    *,
    validation_fraction: float = 0.1,
    test_images: int | None = None,
    seed: int = 0,
) -> NDArray[np.str_]:
    """Tier of each trial: repeated images test, a tenth of the others validation, the rest train.

    Parameters
    ----------
    image_index : (trial,) int
    validation_fraction : float
        Fraction of the images outside the test tier that become the validation tier.
    test_images : int, optional
        Hold out this many random images instead of all repeated ones: repeated ones first, and
        others where these are fewer. Needed where every image was repeated, since nothing would
        be left to train on, and where none was, as in a recording of trial averages.
    seed : int
        Chooses the images.

    Returns
    -------
    (trial,) str
    """
    if not 0 < validation_fraction < 1:
        raise RecordingError(
            f"validation_fraction: {validation_fraction}, expected a number between 0 and 1"
        )
    rng = np.random.default_rng(seed)
    shown, repeats = np.unique(image_index, return_counts=True)
    test = shown[repeats >= 2]
    if test_images is not None:
        if not 2 <= test_images <= len(shown) - 2:
            raise RecordingError(
                f"test_images: {test_images}, expected 2 to {len(shown) - 2}, so that of "
                f"{len(shown)} images two are left to learn from"
            )
        once = np.setdiff1d(shown, test)
        # Repeated images first: only they tell how reliable neurons are.
        more = rng.choice(once, max(0, test_images - len(test)), replace=False)
        test = np.append(rng.choice(test, min(test_images, len(test)), replace=False), more)
    rest = np.setdiff1d(shown, test)
    if len(rest) < 2:
        raise RecordingError(
            f"tier: {len(test)} of {len(shown)} images are repeated and so in the test tier, "
            "which leaves nothing to train on; give `tier`, or the number of `test_images` to "
            "hold out (`--test-images` on the command line)"
        )
    n_validation = max(1, round(validation_fraction * len(rest)))
    validation = rng.choice(rest, n_validation, replace=False)
    tier = np.full(len(image_index), "train", dtype="U10")
    tier[np.isin(image_index, validation)] = "validation"
    tier[np.isin(image_index, test)] = "test"
    return tier


def one_tier_each(
    tier: NDArray[np.str_], image_index: NDArray[np.int64]
) -> tuple[NDArray[np.str_], tuple[str, ...]]:
    """Tiers in which all trials of an image are in one, and notes on the trials that moved.

    The test tier keeps its images before the validation tier, and that before the train tier: a
    trial that is moved out of the train tier is one more repeat of an image that was held out.

    Parameters
    ----------
    tier : (trial,) str
    image_index : (trial,) int

    Raises
    ------
    RecordingError
        If a tier has another name, or so few images are left in the train tier that nothing can
        be learned.
    """
    check_tier_names(tier)
    rank = np.array([TIERS.index(t) for t in tier.tolist()])
    shown, which = np.unique(image_index, return_inverse=True)
    highest = np.zeros(len(shown), np.int64)
    np.maximum.at(highest, which, rank)
    moved = highest[which] != rank
    if not moved.any():
        return tier, ()
    if (highest == 0).sum() < 2:
        raise RecordingError(
            f"tier: {len(np.unique(which[moved]))} of {len(shown)} images are in the train tier "
            "and in another, which leaves nothing to train on; put all trials of an image into "
            "one tier, or let new tiers be chosen (`--option new_tiers=true` on the command line)"
        )
    notes = tuple(
        f"{int(here.sum())} trials of {len(np.unique(which[here]))} images were moved to the "
        f"{TIERS[to]} tier, which shows these images too"
        for to in (1, 2)
        if (here := moved & (highest[which] == to)).any()
    )
    return np.array(TIERS)[highest[which]], notes


def check_tier_names(tier: NDArray[np.str_]) -> None:
    """Refuse tiers of other names."""
    unknown = sorted(set(tier.tolist()) - set(TIERS))
    if unknown:
        raise RecordingError(
            f"tier: found {unknown}, expected only {', '.join(TIERS)}; rename them, or let new "
            "tiers be chosen (`--option new_tiers=true` on the command line)"
        )


def check_tiers(
    tier: NDArray[np.str_], image_index: NDArray[np.int64], picture: NDArray[np.int64]
) -> None:
    """Refuse tiers of another shape or name, and an image in two of them.

    Parameters
    ----------
    tier : (trial,) str
    image_index, picture : (trial,) int
        Number of the image shown, and of the first image with its pixels.
    """
    if tier.shape != image_index.shape:
        raise RecordingError(
            f"tier: shape {tier.shape}, expected {image_index.shape}, one entry for each row of "
            "responses"
        )
    check_tier_names(tier)
    rank = np.array([TIERS.index(t) for t in tier.tolist()])
    pairs = np.unique(np.stack([picture, rank]), axis=1)
    pictures, counts = np.unique(pairs[0], return_counts=True)
    if (counts == 1).all():
        return
    numbers = np.unique(image_index[picture == pictures[counts > 1][0]])
    also = f" (also number {numbers[1]}, with the same pixels)" if len(numbers) > 1 else ""
    raise RecordingError(
        f"tier: image {numbers[0]}{also} was shown in {counts.max()} tiers; put all trials of an "
        f"image into one tier, or the test would see training images. There are "
        f"{int((counts > 1).sum())} such images, and an image needs one tier"
    )
