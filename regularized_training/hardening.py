"""What a network learns in place of images so that it becomes robust without a teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regularized_training.hardening_config import Hardened, NoiseConfig, PgdConfig
from regularized_training.networks.layer_reader import keeping_modes
from regularized_training.robustness.autoattack.geometry import into_ball, size

Change = Callable[[Tensor, Tensor], Tensor]


def hardening(network: nn.Module, config: Hardened) -> Change:
    """What makes of images, and their labels, what is learned in their place.

    It draws from torch's generator of the images' device.

    Parameters
    ----------
    network : nn.Module
    config : PgdConfig or NoiseConfig
    """
    if isinstance(config, NoiseConfig):
        return lambda images, labels: with_noise(images, config)
    return lambda images, labels: adversarial(network, images, labels, config)


def with_noise(images: Tensor, config: NoiseConfig) -> Tensor:
    """Gaussian noise in as many images as `config.share` says, Rusak et al. 2020.

    Parameters
    ----------
    images : (batch, channels, height, width) float Tensor
        In [0, 1], as what comes back.
    config : NoiseConfig
    """
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < config.share
    noisy = torch.add(images, torch.randn_like(images), alpha=config.deviation).clamp(0, 1)
    return torch.where(chosen, noisy, images)


def adversarial(network: nn.Module, images: Tensor, labels: Tensor, config: PgdConfig) -> Tensor:
    """Inner maximisation of Madry et al. 2018: steps up the loss, from a random start, in a ball.

    Parameters
    ----------
    network : nn.Module
        Left in the mode it came in, and without gradients of its parameters.
    images : (batch, channels, height, width) float Tensor
        In [0, 1], as what comes back.
    labels : (batch,) int64 Tensor
    config : PgdConfig
    """
    attacked = images + config.epsilon * _start(images, config.norm)
    attacked = into_ball(attacked, images, config.epsilon, config.norm)
    with keeping_modes(network):
        network.eval()
        for _ in range(config.steps):
            attacked = attacked.detach().requires_grad_()
            loss = F.cross_entropy(network(attacked).float(), labels)
            (gradient,) = torch.autograd.grad(loss, attacked)
            step = gradient.sign() if config.norm == "Linf" else _unit(gradient)
            moved = attacked.detach() + config.length * step
            attacked = into_ball(moved, images, config.epsilon, config.norm)
    return attacked


def _start(images: Tensor, norm: str) -> Tensor:
    """Uniform in the ball of radius 1."""
    if norm == "Linf":
        return 2 * torch.rand_like(images) - 1
    radius = torch.rand(len(images), 1, 1, 1, device=images.device) ** (1 / images[0].numel())
    return _unit(torch.randn_like(images)) * radius


def _unit(of_images: Tensor) -> Tensor:
    """Of Euclidean length 1 each, unless there is none."""
    return of_images / size(of_images, "L2").clamp(min=1e-12).view(-1, 1, 1, 1)
