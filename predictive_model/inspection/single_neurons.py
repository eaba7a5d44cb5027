"""SingleNeurons: each neuron looks at an image of its own, with mean gaze and mean behaviour.

An encoder answers for all neurons to every image. A search for the image of one neuron, or for
its gradient, needs one image and one neuron at a time, and thousands of such pairs at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from predictive_model.encoders.readout import FactorisedReadout
from predictive_model.fits.fitted import FittedEncoder
from predictive_model.recordings.recording import check_images


class SingleNeurons:
    """The neurons of a fitted encoder, at mean pupil position and mean behaviour.

    Parameters
    ----------
    fitted : FittedEncoder
        Its network is moved to the device, and otherwise stays as it is.
    device : device or str

    Examples
    --------
    >>> neurons = SingleNeurons(fitted)  # doctest: +SKIP
    >>> drive = neurons.drive(images[:5], torch.arange(5))  # doctest: +SKIP
    >>> neurons.responses(drive, torch.arange(5)).shape  # doctest: +SKIP
    torch.Size([5])
    """

    @torch.no_grad()
    def __init__(self, fitted: FittedEncoder, *, device: torch.device | str = "cpu") -> None:
        self.encoder = fitted.encoder.to(device)
        self.device = device
        key, norm = fitted.data_key, fitted.normalisation
        self._behaviour: Tensor | None = None
        self._gain: Tensor | None = None
        if fitted.config.uses_behaviour:
            assert norm.behaviour_mean is not None
            self._behaviour = torch.from_numpy(norm.behaviour(norm.behaviour_mean[None])).to(device)
        if self.encoder.modulator is not None:
            self._gain = self.encoder.modulator[key].log_gain(self._behaviour)[0].exp()
        modulator = fitted.config.modulator
        self._before = modulator is not None and modulator.position == "before"
        self._scale = torch.from_numpy(norm.response_scale).to(device)

        readout = self.encoder.readout[key]
        self._bias = readout.bias.detach()
        if isinstance(readout, FactorisedReadout):
            self._masks: Tensor | None = readout.masks
            self._weights = readout.features.detach()
        else:
            self._masks = None
            self._weights = readout.features.reshape(-1, readout.outdims).T
            self._grid = grid_positions(fitted).to(device)
            self._align_corners = readout.align_corners

    def drive(self, images: Tensor, neurons: Tensor) -> Tensor:
        """What enters the output nonlinearity, (row,): it and the response rise together.

        Parameters
        ----------
        images : (row, channels, height, width) tensor
            Normalised.
        neurons : (row,) int tensor
            Which neuron looks at which image.
        """
        behaviour = self._behaviour
        if behaviour is not None:
            behaviour = behaviour.expand(len(images), -1)
        features = self.encoder.features(self.encoder.core_inputs(images), behaviour=behaviour)
        if self._masks is not None:
            seen = torch.einsum("rcp,rp->rc", features.flatten(2), self._masks[neurons])
        else:
            grid = self._grid[neurons][:, None, None]
            seen = F.grid_sample(features, grid, align_corners=self._align_corners).flatten(1)
        drive = (seen * self._weights[neurons]).sum(1) + self._bias[neurons]
        if self._gain is not None and self._before:
            drive = drive * self._gain[neurons]
        return drive

    def responses(self, drive: Tensor, neurons: Tensor) -> Tensor:
        """Responses (row,), in the recording's units, of neurons (row,) with a drive (row,)."""
        rates = F.elu(drive) + 1
        if self._gain is not None and not self._before:
            rates = rates * self._gain[neurons]
        return rates * self._scale[neurons]


@torch.no_grad()
def grid_positions(fitted: FittedEncoder) -> Tensor:
    """Where each neuron of a Gaussian readout looks at mean gaze, (neuron, 2).

    Horizontal and vertical, -1 and 1 at the ends of the core's map, as ``grid_sample`` counts.
    """
    encoder, key = fitted.encoder, fitted.data_key
    readout = encoder.readout[key]
    if isinstance(readout, FactorisedReadout):
        raise ValueError("readout: factorised, it has masks in place of positions")
    grid = readout.mu.clamp(-1, 1).reshape(-1, 2)
    if encoder.shifter is not None:
        grid = grid + encoder.shifter[key](torch.zeros(1, 2, device=grid.device))
    return grid.detach().cpu()


def neuron_indices(
    fitted: FittedEncoder, neurons: Sequence[int] | NDArray[np.integer] | None
) -> NDArray[np.int64]:
    """Checked indices of neurons; all of them for None.

    Raises
    ------
    ValueError
        If an index is no whole number or out of range, or there is none.
    """
    if neurons is None:
        return np.arange(fitted.n_neurons)
    chosen = np.asarray(neurons)
    if chosen.ndim != 1 or not len(chosen) or not np.issubdtype(chosen.dtype, np.integer):
        raise ValueError(
            f"neurons: {chosen.dtype} of shape {chosen.shape}, expected a list of indices, at "
            "least one"
        )
    wrong = chosen[(chosen < 0) | (chosen >= fitted.n_neurons)]
    if len(wrong):
        raise ValueError(
            f"neurons: {wrong[0]}, expected 0 to {fitted.n_neurons - 1}, as this encoder has "
            f"{fitted.n_neurons} neurons"
        )
    return chosen.astype(np.int64)


def normalised_images(fitted: FittedEncoder, images: NDArray) -> NDArray[np.float32]:
    """Images as the encoder's core takes them.

    Raises
    ------
    ValueError
        If they have another shape than those the encoder was fitted to.
    """
    check_images(images)
    if images.shape[1:] != fitted.image_shape:
        raise ValueError(
            f"images: shape {images.shape[1:]}, expected {fitted.image_shape}, the shape of the "
            "images this encoder was fitted to; crop or resize them"
        )
    return fitted.normalisation.images(images)
