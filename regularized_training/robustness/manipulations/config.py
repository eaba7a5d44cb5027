"""Manipulations of Geirhos et al. 2018: names, levels, and tests with them; imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, model_validator

from predictive_model.config import Seed
from regularized_training.tasks.config import OnImages

Manipulation = Literal[
    "grey",
    "false_colour",
    "contrast",
    "uniform_noise",
    "salt_and_pepper",
    "low_pass",
    "high_pass",
    "phase_noise",
    "power_equalisation",
    "rotation",
    "eidolon_1",
    "eidolon_2",
    "eidolon_3",
]

_REACHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)

# Least manipulated first. Where there is nothing to vary, 0 is the image as it was and 1 the
# manipulated one.
PUBLISHED_LEVELS: Mapping[Manipulation, tuple[float, ...]] = {
    "grey": (0.0, 1.0),
    "false_colour": (0.0, 1.0),
    "contrast": (1.0, 0.5, 0.3, 0.15, 0.1, 0.05, 0.03, 0.01),
    "uniform_noise": (0.0, 0.03, 0.05, 0.1, 0.2, 0.35, 0.6, 0.9),
    "salt_and_pepper": (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95),
    "low_pass": (0.0, 1.0, 3.0, 5.0, 7.0, 10.0, 15.0, 40.0),
    "high_pass": (math.inf, 3.0, 1.5, 1.0, 0.7, 0.55, 0.45, 0.4),
    "phase_noise": (0.0, 30.0, 60.0, 90.0, 120.0, 150.0, 180.0),
    "power_equalisation": (0.0, 1.0),
    "rotation": (0.0, 90.0, 180.0, 270.0),
    "eidolon_1": _REACHES,
    "eidolon_2": _REACHES,
    "eidolon_3": _REACHES,
}

# Levels of these are numbers of pixels of the image at hand.
OF_PIXELS: frozenset[Manipulation] = frozenset({"low_pass", "high_pass"})

# What these do to the colours of an image; all others are done to grey images.
IN_COLOUR: frozenset[Manipulation] = frozenset({"grey", "false_colour", "rotation"})

# How much of the disarray is shared by all scales of an image.
COHERENCE: Mapping[Manipulation, float] = {"eidolon_1": 1.0, "eidolon_2": 0.3, "eidolon_3": 0.0}

LARGEST_SIGMA = 1000.0  # pixels; a Gaussian this wide is flat over any image here
_LARGEST_REACH = 1000.0  # pixels of an image 256 high

_ONLY: Mapping[Manipulation, tuple[float, ...]] = {
    name: PUBLISHED_LEVELS[name]
    for name in ("grey", "false_colour", "power_equalisation", "rotation")
}
_UP_TO: Mapping[Manipulation, tuple[float, str]] = {
    "contrast": (1, "a fraction of the contrast"),
    "uniform_noise": (2, "the half-width for pixels in 0 to 1"),
    "salt_and_pepper": (1, "a fraction of the pixels"),
    "low_pass": (LARGEST_SIGMA, "the standard deviation in pixels"),
    "high_pass": (LARGEST_SIGMA, "the standard deviation in pixels"),
    "phase_noise": (180, "the half-width in degrees"),
    "eidolon_1": (_LARGEST_REACH, "the reach in pixels of an image 256 high"),
    "eidolon_2": (_LARGEST_REACH, "the reach in pixels of an image 256 high"),
    "eidolon_3": (_LARGEST_REACH, "the reach in pixels of an image 256 high"),
}


def require_levels(levels: Sequence[float], name: Manipulation) -> None:
    """Raise a ValueError unless there are levels, each once and such as the manipulation has.

    Parameters
    ----------
    levels : sequence of float
        Of ``contrast``, the fraction that is left; of ``uniform_noise``, the half-width for pixels
        in [0, 1]; of ``salt_and_pepper``, the fraction of pixels that are changed; of ``low_pass``
        and ``high_pass``, the standard deviation in pixels of the image at hand, of ``high_pass``
        also infinity, which leaves the image as it is; of ``phase_noise``, the half-width in
        degrees; of ``rotation``, degrees, anticlockwise; of the eidolons, the reach in pixels of
        an image 256 high; of the others, 0 for the image as it was and 1 for the manipulated one.
    name : str
        Of the manipulation.

    Examples
    --------
    >>> require_levels((1.0, 0.5), "contrast")
    >>> require_levels((100,), "contrast")
    Traceback (most recent call last):
    ...
    ValueError: levels: (100,), expected 0 to 1 for contrast, a fraction of the contrast
    """
    if name not in PUBLISHED_LEVELS:
        raise ValueError(
            f"manipulation: {name!r}, expected one of {', '.join(sorted(PUBLISHED_LEVELS))}"
        )
    if not levels or len(set(levels)) != len(levels):
        raise ValueError(f"levels: {levels}, expected at least one, and every level once")
    if name in _ONLY:
        if not set(levels) <= set(_ONLY[name]):
            expected = ", ".join(f"{level:g}" for level in _ONLY[name])
            raise ValueError(f"levels: {levels}, expected of {expected} for {name}")
        return
    largest, meaning = _UP_TO[name]
    if name == "high_pass":
        if not all(0 < level <= largest or level == math.inf for level in levels):
            raise ValueError(
                f"levels: {levels}, expected above 0 and up to {largest:g} for {name}, {meaning}, "
                "or infinity for the image as it is"
            )
    elif not all(0 <= level <= largest for level in levels):
        raise ValueError(f"levels: {levels}, expected 0 to {largest:g} for {name}, {meaning}")


def _tested() -> dict[Manipulation, tuple[float, ...]]:
    """All published levels but those that leave images as they are."""
    unchanged = {name: levels[0] for name, levels in PUBLISHED_LEVELS.items()}
    for eidolon in COHERENCE:
        del unchanged[eidolon]
    return {
        name: tuple(level for level in levels if level != unchanged.get(name))
        for name, levels in PUBLISHED_LEVELS.items()
    }


class ManipulationConfig(OnImages):
    """Which manipulations, how much of them, and on which images.

    Attributes
    ----------
    levels : dict of str to tuple of float
        Manipulations and their levels, as of :func:`require_levels`; by default all that were
        published, without those that leave images as they are. Those of ``low_pass`` and
        ``high_pass`` are pixels of images of 224 pixels, as in the paper, and scaled to others.
    seed : int
        Decides what is drawn, and which images are chosen.
    n_images : int, optional
        Number of images to use, evenly over the classes; all by default.
    batch_size : int
        Changes the speed alone.
    """

    levels: dict[Manipulation, tuple[float, ...]] = Field(default_factory=_tested, min_length=1)
    seed: Seed = 0
    n_images: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=128, ge=1)

    @model_validator(mode="after")
    def _check_levels(self) -> ManipulationConfig:
        for name, levels in self.levels.items():
            try:
                require_levels(levels, name)
            except ValueError as error:
                raise ValueError(f"levels.{name}: {error}") from error
        return self
