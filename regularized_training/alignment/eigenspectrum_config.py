"""Over which ranks a power law is fitted to a layer's variances; imports no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from predictive_model.config import Seed
from regularized_training.tasks.config import OnImages


class EigenspectrumConfig(OnImages):
    """The exponent of a layer's eigenspectrum, as Stringer et al. 2019 fit that of a mouse's V1.

    Attributes
    ----------
    layers : tuple of str, optional
        By default those that are compared with a teacher.
    first_rank, last_rank : int
        Principal components that the power law is fitted to, counted from 1, ends included; 11 and
        500 as published.
    n_images : int
        Number of images, evenly over the classes; 2,800 as published. More than ``last_rank``: the
        last components of few images say how few they are.
    seed : int
        Decides which images are chosen.
    batch_size : int
        Changes the speed alone.
    """

    layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    first_rank: int = Field(default=11, ge=1)
    last_rank: int = Field(default=500, ge=2)
    n_images: int = Field(default=2800, ge=3)
    seed: Seed = 0
    batch_size: int = Field(default=128, ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> EigenspectrumConfig:
        if self.layers is not None and len(set(self.layers)) < len(self.layers):
            raise ValueError(f"layers: {', '.join(self.layers)}, expected each once")
        if self.first_rank >= self.last_rank:
            raise ValueError(
                f"first_rank, last_rank: {self.first_rank} and {self.last_rank}, expected the last "
                "above the first"
            )
        if self.last_rank >= self.n_images:
            raise ValueError(
                f"n_images: {self.n_images}, expected more than last_rank, {self.last_rank}: so "
                "many images have one principal component fewer; lower last_rank or take more"
            )
        return self
