"""How well the neurons of a recording are predicted from a network's layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import datajoint as dj

from regularized_training.networks.config import NetworkConfig as NetworkSettings
from schemas.base import Found
from schemas.configurations import read_config
from schemas.evaluations.base import Asked, Evaluation, Settings, Subject
from schemas.recording import Scan, ScanImages
from schemas.training import ImageSet, NetworkConfig

if TYPE_CHECKING:
    from torch import nn


class ScanPredictivity(
    Evaluation,
    name="predictivity",
    plan="ScanPredictivityPlan",
    settings=Settings(
        model="regularized_training.alignment.scan_config:ScanPredictivityConfig",
        entry="predictivity",
        columns={
            "metric": ("varchar(16)  # pls, ridge, rsa, cka, procrustes", lambda s: s.metric),
            "judging": ("varchar(16)  # images: all, repeated, test", lambda s: s.images),
            "field_degrees": (
                "float64      # that a network's field is wide, 0 if images fill it",
                lambda s: s.degrees or 0.0,
            ),
        },
        several=True,
    ),
):
    """How well one network predicts a scan's neurons, or resembles them, beside their ceiling.

    The layer was given, or chosen from several on other images than those that score it.
    """

    beside = ("Scan",)
    asked_beside = ("Scan",)
    result = """
        layer       : varchar(255)
        chosen      : bool               # from several, on other images; or given
        score       : float64            # of regressions: median over neurons, mean over splits
        score_low = null   : float64     # 95 in 100, over neurons
        score_high = null  : float64
        reliability = null : float64     # median over neurons, Brain-Score's ceiling
        explained = null   : float64     # score^2 / reliability, Brain-Score's ceiled score
        ratio = null       : float64     # score / sqrt(reliability)
        no_ceiling = ""    : varchar(255)  # why there is none
        n_neurons   : int32
        n_images    : int32              # that scored
        correlations : <npy@main>        # (split, neuron) float64; no rows of similarity
        reliabilities : <npy@main>       # (neuron,), of similarity (1,); empty without a ceiling
    """

    class Layer(dj.Part):
        """One of the layers, on the images that score."""

        definition = """
            -> master
            layer_index : int16       # from the image on
            ---
            layer       : varchar(255)
            choosing = null  : float64   # score on the images that choose; none without a choice
            score       : float64
            explained = null : float64
            ratio = null     : float64
        """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as its network is there."""
        return super().key_source & Scan.proj()

    @classmethod
    def check_network(
        cls, settings: Any, network: NetworkSettings, built: nn.Module | None = None
    ) -> None:
        """Raise a ValueError if a network lacks a layer."""
        from regularized_training.networks.compared import compared_layers

        compared_layers(network, settings.layers, built=built)

    @classmethod
    def images_needed(cls, settings: Any) -> Mapping[str, int | None]:
        """None of the task's."""
        return {}

    @classmethod
    def rows_asked(
        cls, settings: Sequence[Any], asked: Asked
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """All networks with each scan.

        Raises
        ------
        LookupError
            If there is no such scan, or none of its trials.
        ValueError
            If a field of view is given and the width of the scan's images is not known.
        """
        known = set((Scan & "n_trials > 0").to_arrays("scan"))
        wide = set((ScanImages & "degrees IS NOT NULL").to_arrays("scan"))
        for one in settings:
            if one.scan not in known:
                raise LookupError(
                    f"predictivity.scan: {one.scan} is not in the database with its trials, which "
                    f"has {', '.join(sorted(known)) or 'none'}; add it with `neuroteach import "
                    "scan`"
                )
            if one.degrees is not None and one.scan not in wide:
                raise ValueError(
                    f"predictivity.degrees: {one.degrees:g}, but how wide the images of "
                    f"{one.scan} were shown is not known; leave it out, or import the scan with "
                    "--degrees"
                )
        return super().rows_asked(settings, asked)

    @classmethod
    def key_beside(cls, settings: Any) -> Mapping[str, Any]:
        """The scan."""
        return {"scan": settings.scan}

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Judge one network."""
        import numpy as np

        from regularized_training.alignment.scan_predictivity import score_by_scan
        from regularized_training.networks.compared import compared_layers

        key = subject.key
        described = (NetworkConfig & key).fetch1("config", "needs")
        network = read_config(NetworkSettings, *described)
        layers = compared_layers(network, settings.layers, built=subject.network)
        shape = (ImageSet & key).fetch1("channels", "height", "width")
        scan = Scan.load({"scan": key["scan"]})
        found = score_by_scan(subject.network, layers, scan, settings, shape, device)
        score = found.best.score
        low, high = (None if np.isnan(end) else end for end in found.interval)
        row = {
            "layer": found.best.layer,
            "chosen": len(layers) > 1,
            "score": score.score,
            "score_low": low,
            "score_high": high,
            "reliability": score.reliability,
            "explained": score.explained,
            "ratio": score.ratio,
            "no_ceiling": score.missing[:255],
            "n_neurons": found.n_neurons,
            "n_images": found.n_images,
            "correlations": found.correlation,
            "reliabilities": np.zeros(0) if found.reliability is None else found.reliability,
        }
        parts = [
            {
                "layer_index": i,
                "layer": one.layer,
                "choosing": one.choosing,
                "score": one.score.score,
                "explained": one.score.explained,
                "ratio": one.score.ratio,
            }
            for i, one in enumerate(found.layers)
        ]
        return Found(row, {"Layer": parts})


ScanPredictivityConfig = ScanPredictivity.Config
ScanPredictivityPlan = ScanPredictivity.Plan
