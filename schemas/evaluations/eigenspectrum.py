"""How fast the variance of layers' principal components falls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import datajoint as dj

from regularized_training.networks.config import NetworkConfig as NetworkSettings
from schemas.base import Found
from schemas.configurations import read_config
from schemas.evaluations.base import Evaluation, Settings, Subject
from schemas.training import NetworkConfig

if TYPE_CHECKING:
    from torch import nn


class LayerEigenspectrum(
    Evaluation,
    name="eigenspectrum",
    plan="EigenspectrumPlan",
    settings=Settings(
        model="regularized_training.alignment.eigenspectrum_config:EigenspectrumConfig",
        entry="eigenspectrum",
        columns={
            "first_rank": ("int32", lambda s: s.first_rank),
            "last_rank": ("int32", lambda s: s.last_rank),
        },
        several=True,
    ),
):
    """Eigenspectra of one network's layers over images of its task, and their exponents."""

    result = """
        n_images : int32
    """

    class Layer(dj.Part):
        """One layer."""

        definition = """
            -> master
            layer_index : int16        # from the image on, or as they were named
            ---
            layer       : varchar(255)
            n_features  : int64
            n_components : int32       # that are not rounding
            exponent = null : float64  # of variance ~ rank^-exponent; none of fewer components
            r2 = null   : float64      # of that fit, on logarithms
            variances   : <npy@main>   # (component,) float64, shares of their sum, largest first
        """

    @classmethod
    def check_network(
        cls, settings: Any, network: NetworkSettings, built: nn.Module | None = None
    ) -> None:
        """Raise a ValueError if a network lacks a layer."""
        from regularized_training.networks.compared import compared_layers

        compared_layers(network, settings.layers, built=built)

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Look at one network."""
        from regularized_training.alignment.eigenspectrum import eigenspectra
        from regularized_training.networks.compared import compared_layers

        described = (NetworkConfig & subject.key).fetch1("config", "needs")
        network = read_config(NetworkSettings, *described)
        layers = compared_layers(network, settings.layers, built=subject.network)
        found = eigenspectra(
            subject.network, layers, subject.images, subject.labels, settings, device
        )
        rows = [
            {
                "layer_index": i,
                "layer": one.layer,
                "n_features": one.n_features,
                "n_components": len(one.variances),
                "exponent": one.law and one.law.exponent,
                "r2": one.law and one.law.r2,
                "variances": one.variances,
            }
            for i, one in enumerate(found)
        ]
        return Found({"n_images": settings.n_images}, {"Layer": rows})


EigenspectrumConfig, EigenspectrumPlan = LayerEigenspectrum.Config, LayerEigenspectrum.Plan
