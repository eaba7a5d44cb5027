"""By which scan a network is judged, and how; imports no torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from predictive_model.config import Config, Seed
from regularized_training.alignment.predictivity import PENALTIES, Penalty, PredictivityConfig

Metric = Literal["pls", "ridge", "rsa", "cka", "procrustes"]
REGRESSIONS = ("pls", "ridge")


class ScanPredictivityConfig(Config):
    """By which scan networks are judged, and by which metric.

    Attributes
    ----------
    scan : str
        Its name, as ``neuroteach import scan`` gives it.
    metric : {"pls", "ridge", "rsa", "cka", "procrustes"}
        How neurons are predicted, see
        :class:`~regularized_training.alignment.predictivity.PredictivityConfig`; or how alike layer
        and population are: Spearman's correlation of dissimilarity matrices, centred kernel
        alignment without bias, or the cosine of the angular shape distance.
    layers : tuple of str, optional
        Of the network; by default those that are compared with a teacher. A single one is scored
        on all images. Of several, one half of the images chooses one, and the other half scores it.
    images : {"all", "repeated", "test"}
        Of the scan: all, those shown more than once, or those of the test tier, which teach no
        network.
    degrees : float, optional
        Of visual angle, that a network's field of view is wide. Images are then as large in it as
        they were shown; by default they are as wide as the network's.
    stratify : bool
        Give each part of a split its share of every group of images, where the scan has groups.
    n_components, penalties, n_splits, train_fraction
        Of regressions, likewise.
    n_resamples : int
        Draws of neurons for the interval of the score.
    seed : int
        Of the splits, and of the halves that choose a layer.
    """

    scan: str = Field(min_length=1, max_length=64)
    metric: Metric = "pls"
    layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    images: Literal["all", "repeated", "test"] = "all"
    degrees: float | None = Field(default=None, gt=0, le=360)
    stratify: bool = True
    n_components: int = Field(default=25, ge=1)
    penalties: tuple[Penalty, ...] = Field(default=PENALTIES, min_length=1)
    n_splits: int = Field(default=10, ge=1)
    train_fraction: float = Field(default=0.9, gt=0, lt=1)
    n_resamples: int = Field(default=200, ge=20)
    seed: Seed = 1

    @model_validator(mode="after")
    def _only_what_is_used(self) -> Self:
        if self.layers is not None and len(set(self.layers)) < len(self.layers):
            raise ValueError(f"layers: {', '.join(self.layers)}, expected each once")
        used = {
            "n_components": self.metric == "pls",
            "penalties": self.metric == "ridge",
            **dict.fromkeys(("n_splits", "train_fraction"), self.metric in REGRESSIONS),
        }
        for name, wanted in used.items():
            default = type(self).model_fields[name].default
            if getattr(self, name) != default and not wanted:
                raise ValueError(
                    f"{name}: {getattr(self, name)}, but the metric {self.metric} has none; leave "
                    "it out"
                )
        return self

    @property
    def regression(self) -> PredictivityConfig | None:
        """How neurons are predicted; None for a metric of similarity."""
        if self.metric not in ("pls", "ridge"):
            return None
        return PredictivityConfig(
            method=self.metric,
            n_components=self.n_components,
            penalties=self.penalties,
            n_splits=self.n_splits,
            train_fraction=self.train_fraction,
            seed=self.seed,
        )
