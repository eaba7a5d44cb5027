"""Fully connected layers behind a convolutional trunk."""

from __future__ import annotations

from torch import nn

DROPOUT = 0.5


def dense_readout(
    n_channels: int, places: int, n_units: int, n_classes: int, *, drop_features: bool
) -> nn.Sequential:
    """Three fully connected layers with dropout before the last two.

    Parameters
    ----------
    n_channels : int
        Of the trunk.
    places : int
        Height and width to which its features are brought by averaging.
    n_units : int
        Of the first two layers.
    n_classes : int
    drop_features : bool
        Dropout before the first layer, too.

    Returns
    -------
    nn.Sequential
        Takes features (batch, channels, height, width), returns logits (batch, class).
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(places),
        nn.Flatten(),
        *([nn.Dropout(DROPOUT)] if drop_features else []),
        nn.Linear(n_channels * places**2, n_units),
        nn.ReLU(inplace=True),
        nn.Dropout(DROPOUT),
        nn.Linear(n_units, n_units),
        nn.ReLU(inplace=True),
        nn.Dropout(DROPOUT),
        nn.Linear(n_units, n_classes),
    )
