"""How well a network tells classes apart: cross-entropy and accuracy."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from predictive_model.randomness import seeded
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.chosen_images import NOISE_SEED

TEST_BATCH = 256


def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Cross-entropy in nats and accuracy of a network; leaves it in evaluation mode.

    Parameters
    ----------
    network : nn.Module
    images : (n, channels, height, width) uint8 Tensor
        On the network's device.
    labels : (n,) int64 Tensor
    """
    parts = zip(images.split(TEST_BATCH), labels.split(TEST_BATCH), strict=True)
    return evaluated(network, parts)


def evaluated(network: nn.Module, parts: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """The same of images and labels that come in batches."""
    network.eval()
    device = next(network.parameters()).device
    totals, n = torch.zeros(2, dtype=torch.float64, device=device), 0
    with seeded(NOISE_SEED, device), torch.inference_mode():
        for part, answers in parts:
            logits = network(to_float(part))
            loss = F.cross_entropy(logits, answers, reduction="sum")
            totals += torch.stack([loss.double(), (logits.argmax(1) == answers).sum().double()])
            n += len(answers)
    loss, accuracy = (totals / n).tolist()
    return loss, accuracy
