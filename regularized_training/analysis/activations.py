"""How diverse the activations of a layer are, and how they lie: Section 3.2 of Federer et al."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from predictive_model.config import Seed
from regularized_training.lessons.similarity import flatten_features
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.chosen_images import evaluating
from regularized_training.tasks.config import OnImages

BATCH = 256
COMPONENTS = 50  # of which t-SNE is made, as van der Maaten and Hinton 2008 do


class ActivationConfig(OnImages):
    """What to say of a layer's activations.

    Attributes
    ----------
    layer : str
        As :class:`~regularized_training.networks.layer_reader.LayerReader` names it.
    n_shown : int
        Images that t-SNE places in a plane, evenly over the classes; 0 leaves it out. 1,280
        in the paper.
    perplexity : float
        Of t-SNE: how many neighbours of an image count.
    seed : int
        Chooses the images, and decides what t-SNE leaves to chance.
    """

    layer: str = "V1"
    n_shown: int = Field(default=500, ge=0)
    perplexity: float = Field(default=30, gt=0)
    seed: Seed = 0

    @model_validator(mode="after")
    def _check(self) -> ActivationConfig:
        if 0 < self.n_shown <= 3 * self.perplexity:
            raise ValueError(
                f"n_shown: {self.n_shown}, expected more than {3 * self.perplexity:g}, three for "
                f"each neighbour of perplexity {self.perplexity:g}; lower it or show more"
            )
        return self


def embed_activations(
    network: nn.Module,
    images: NDArray[np.uint8],
    config: ActivationConfig,
    device: str | torch.device = "cpu",
) -> NDArray[np.float32]:
    """A layer's activations in a plane, by t-SNE of their principal components.

    Which images lie together means something; distances between groups and the size of a cloud
    mean little, as both depend on the perplexity.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; left in the mode it came in.
    images : (n, channels, height, width) uint8
        More than three for each neighbour that counts, the perplexity.
    config : ActivationConfig
    device : str or torch.device

    Returns
    -------
    (n, 2) float32
    """
    from sklearn.decomposition import PCA  # a second to import
    from sklearn.manifold import TSNE

    if len(images) <= 3 * config.perplexity:
        raise ValueError(
            f"images: {len(images)}, expected more than {3 * config.perplexity:g}, three for each "
            f"neighbour of perplexity {config.perplexity:g}; lower it or give more"
        )
    features = _features(network, config.layer, images, device)
    flat = torch.cat([part.cpu() for part in features]).numpy()
    n_components = min(COMPONENTS, *flat.shape)
    components = PCA(n_components, random_state=config.seed).fit_transform(flat)
    tsne = TSNE(perplexity=config.perplexity, init="pca", random_state=config.seed)
    return np.asarray(tsne.fit_transform(components), np.float32)


def activation_variance(
    network: nn.Module, layer: str, images: NDArray, device: str | torch.device = "cpu"
) -> float:
    """Variance of each unit over images, mean over the units of a layer (Federer et al. 2020).

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; left in the mode it came in.
    layer : str
        As :class:`~regularized_training.networks.layer_reader.LayerReader` names it.
    images : (n, channels, height, width) uint8
        At least 2. The variance is that of the images given, not an estimate for others.
    device : str or torch.device
    """
    if len(images) < 2:
        raise ValueError(f"images: {len(images)}, expected at least 2")
    n, mean, squares = 0, torch.zeros(()), torch.zeros(())
    # Chan et al. 1979: batch by batch, and without the cancellation of E[x^2] - E[x]^2.
    for part in _features(network, layer, images, device):
        features = part.double()
        k, own = len(features), features.mean(0)
        difference = own - mean
        squares = squares + (features - own).square().sum(0)
        squares = squares + difference.square() * (n * k / (n + k))
        mean = mean + difference * (k / (n + k))
        n += k
    return float((squares / n).mean())


@torch.inference_mode()
def _features(
    network: nn.Module, layer: str, images: NDArray, device: str | torch.device
) -> Iterator[Tensor]:
    """A layer's activations, (batch, unit), batch by batch."""
    with evaluating(network, device):
        read = LayerReader(network, (layer,))
        for part in torch.from_numpy(images).split(BATCH):
            yield flatten_features(read(to_float(part.to(device)))[0])
