"""What a layer does with images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from schemas.base import Found
from schemas.evaluations.base import Evaluation, Settings, Subject

if TYPE_CHECKING:
    from torch import nn

    from regularized_training.networks.config import NetworkConfig as NetworkSettings


class LayerActivations(
    Evaluation,
    name="activations",
    plan="ActivationPlan",
    settings=Settings(
        model="regularized_training.analysis.activations:ActivationConfig",
        entry="activations",
        table="ActivationConfig",
        key="activation_hash",
        columns={
            "layer": ("varchar(255)", lambda s: s.layer),
            "n_shown": ("int32", lambda s: s.n_shown),
        },
    ),
):
    """Activations of one layer over images of a task: their variance, and some in a plane."""

    result = """
        n_images  : int32
        variance  : float64               # over images, mean over units
        shown = null    : <npy@main>      # (shown,) images that were embedded, in their part
        embedding = null : <npy@main>     # (shown, 2) float32, by t-SNE
    """

    @classmethod
    def check_network(
        cls, settings: Any, network: NetworkSettings, built: nn.Module | None = None
    ) -> None:
        """Raise a ValueError if a network lacks the layer."""
        from regularized_training.networks.compared import compared_layers

        compared_layers(network, (settings.layer,), built=built)

    @classmethod
    def images_needed(cls, settings: Any) -> Mapping[str, int | None]:
        """Images that are embedded."""
        return {"n_shown": settings.n_shown}

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Look at one network."""
        from regularized_training.analysis import activations
        from regularized_training.tasks.chosen_images import chosen_images

        images, network = subject.images, subject.network
        variance = activations.activation_variance(network, settings.layer, images, device)
        row: dict[str, Any] = {"n_images": len(images), "variance": variance}
        if settings.n_shown:
            shown = chosen_images(images, subject.labels, settings.n_shown, settings.seed)
            row["shown"] = shown
            row["embedding"] = activations.embed_activations(
                network, images[shown], settings, device
            )
        return Found(row)


ActivationConfig, ActivationPlan = LayerActivations.Config, LayerActivations.Plan
