"""Corruptions by name and category, and how networks are tested with them; imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from predictive_model.config import Seed
from regularized_training.tasks.config import OnImages

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Corruption = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "speckle_noise",
    "gaussian_blur",
    "spatter",
    "saturate",
]
Severity = Literal[1, 2, 3, 4, 5]

CATEGORIES: dict[str, tuple[Corruption, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    "weather": ("snow", "frost", "fog", "brightness", "spatter"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression", "saturate"),
}
CATEGORY_OF = {name: category for category, names in CATEGORIES.items() for name in names}
# The order of the paper; the last four were for validation there.
ALL: tuple[Corruption, ...] = Corruption.__args__  # type: ignore[attr-defined]
EXTRA: tuple[Corruption, ...] = ALL[15:]
PUBLISHED: tuple[Corruption, ...] = ALL[:15]
SEVERITIES: tuple[Severity, ...] = Severity.__args__  # type: ignore[attr-defined]


def set_name(name: str, corruption: str, severity: int) -> str:
    """Name of the evaluation set of one severity among several that were imported together.

    Examples
    --------
    >>> set_name("cifar-10-c", "fog", 3)
    'cifar-10-c-fog-3'
    """
    return f"{name}-{corruption}-{severity}"


def is_corruption(name: str) -> TypeIs[Corruption]:
    """Whether this is a corruption, and not a kind of noise or anything else."""
    return name in ALL


def require_severities(severities: Sequence[float]) -> None:
    """Raise a ValueError unless there are severities, each once, from 1 to 5."""
    if not severities or not set(severities) <= set(SEVERITIES):
        raise ValueError(f"severities: {severities}, expected at least one, of 1 to 5")
    if len(set(severities)) != len(severities):
        raise ValueError(f"severities: {severities}, expected every severity once")


class CorruptionConfig(OnImages):
    """Which corruptions, how severe, and on which images.

    Attributes
    ----------
    kinds : tuple of str
        The 15 of Hendrycks and Dietterich 2019 by default; Safarani et al. 2021 leave out
        ``glass_blur``. Four more are ``speckle_noise``, ``gaussian_blur``, ``spatter`` and
        ``saturate``.
    severities : tuple of int
        1 to 5, what they mean at which size of images is in
        :mod:`~regularized_training.robustness.corruptions.severities`.
    seed : int
        Decides what is drawn, and which images are chosen.
    n_images : int, optional
        Number of images to use, evenly over the classes; all by default.
    batch_size : int
        Changes the speed alone.
    set : str
        Name by which ``neuroteach import corrupted-images`` brought corrupted images, which are
        used in place of the task's own.
    """

    kinds: tuple[Corruption, ...] = Field(default=PUBLISHED, min_length=1)
    severities: tuple[Severity, ...] = Field(default=SEVERITIES, min_length=1)
    seed: Seed = 0
    n_images: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=128, ge=1)
    set: str = Field(default="", max_length=64)

    @field_validator("kinds", "severities")
    @classmethod
    def _distinct(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"{', '.join(map(str, value))}: expected each once")
        return value
