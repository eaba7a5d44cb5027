"""Networks beside people's answers to the test images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datajoint as dj

from schemas.base import Found
from schemas.evaluations.base import Asked, Evaluation, Settings, Subject
from schemas.soft_labels import SoftLabels


class SoftLabelScores(
    Evaluation,
    name="soft_labels",
    plan="SoftLabelsPlan",
    settings=Settings(
        model="regularized_training.analysis.soft_labels:SoftLabelsConfig",
        entry="soft_labels",
        columns={"n_bins": ("int32", lambda s: s.n_bins)},
    ),
):
    """Cross-entropy of one network to people's answers, and accuracy where these agree."""

    beside = ("SoftLabels",)
    asked_beside = ("SoftLabels",)
    result = """
        n_images       : int32
        cross_entropy  : float64   # to people's answers, in nats, mean over images
        people_entropy : float64   # the least that it can be
        label_loss     : float64   # cross-entropy to the right labels
        accuracy       : float64
    """

    class Bin(dj.Part):
        """Images on which people agree about as much: a quantile of their entropy."""

        definition = """
            -> master
            bin_index    : int16
            ---
            entropy_low  : float64   # of people's answers, in bits
            entropy_high : float64
            n_in_bin     : int32
            accuracy     : float64
            people_accuracy : float64  # mean over images of the fraction of people who are right
        """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as its network is there."""
        return super().key_source & SoftLabels.proj()

    @classmethod
    def rows_asked(
        cls, settings: Sequence[Any], asked: Asked
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of settings and plan.

        Raises
        ------
        LookupError
            If nobody answered to the images.
        """
        known = sorted(SoftLabels.to_arrays("image_set"))
        name = asked.experiment.images
        if settings and name not in known:
            raise LookupError(
                f"soft_labels: there are no answers of people to the test images of {name}, but of "
                f"{', '.join(known) or 'none'}; add them with `neuroteach import soft-labels FILE "
                f"--image-set {name}`, or leave out the table [soft_labels]"
            )
        return super().rows_asked(settings, asked)

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Test one network."""
        from regularized_training.analysis.soft_labels import score_beside_people

        people = SoftLabels.load(dict(subject.key))
        scores = score_beside_people(subject.network, subject.images, people, settings, device)
        row = dict(vars(scores))
        bins = [{"bin_index": i, **vars(one)} for i, one in enumerate(row.pop("bins"))]
        return Found(row, {"Bin": bins})


SoftLabelsConfig, SoftLabelsPlan = SoftLabelScores.Config, SoftLabelScores.Plan
