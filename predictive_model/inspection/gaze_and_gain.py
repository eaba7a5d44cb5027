"""What a shifter has learned of the eye, and a modulator of behaviour."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from predictive_model.fits.fitted import FittedEncoder
from predictive_model.inspection.receptive_fields import map_geometry


def pupil_grid(fitted: FittedEncoder, n: int = 7, reach: float = 2.0) -> NDArray[np.float32]:
    """Pupil positions on a square grid around their mean, row by row, (n * n, 2).

    Parameters
    ----------
    n : int
        Positions along each side.
    reach : float
        From the mean to the sides, in standard deviations.

    Raises
    ------
    ValueError
        If the encoder has no shifter, or there is no grid to make.
    """
    _require_shifter(fitted)
    if n < 2 or reach <= 0:
        raise ValueError(f"n, reach: {n} and {reach}, expected at least 2 and more than 0")
    norm = fitted.normalisation
    assert norm.pupil_mean is not None and norm.pupil_std is not None
    steps = np.linspace(-reach, reach, n, dtype=np.float32)
    y, x = (v.ravel() for v in np.meshgrid(steps, steps, indexing="ij"))
    return norm.pupil_mean + norm.pupil_std * np.stack([x, y], axis=1)


@torch.no_grad()
def gaze_shift(fitted: FittedEncoder, pupil: NDArray) -> NDArray[np.float64]:
    """How far receptive fields move from where they are at mean gaze.

    Parameters
    ----------
    pupil : (n, 2)
        Positions, in the units of the recording.

    Returns
    -------
    (n, 2)
        Pixels of the image, to the right and downwards.

    Raises
    ------
    ValueError
        If the encoder has no shifter, or the positions are not such.

    Examples
    --------
    >>> gaze_shift(fitted, pupil_grid(fitted, n=3)).shape  # doctest: +SKIP
    (9, 2)
    """
    _require_shifter(fitted)
    pupil = np.asarray(pupil, np.float32)
    if pupil.ndim != 2 or pupil.shape[1] != 2:
        raise ValueError(f"pupil: shape {pupil.shape}, expected (n, 2)")
    shifter = fitted.encoder.shifter[fitted.data_key]
    positions = torch.from_numpy(fitted.normalisation.pupil(pupil)).to(_device(shifter))
    shift = shifter(positions) - shifter(torch.zeros_like(positions[:1]))
    return shift.double().cpu().numpy() * map_geometry(fitted).pixels_per_unit


def gaze_matrix(fitted: FittedEncoder, n: int = 7, reach: float = 2.0) -> NDArray[np.float64]:
    """The linear map closest to the gaze shift on a grid, (2, 2): pixels per unit of the pupil."""
    pupil = pupil_grid(fitted, n, reach)
    shift = gaze_shift(fitted, pupil)
    away = (pupil - pupil.mean(0)).astype(np.float64)
    return np.linalg.lstsq(away, shift - shift.mean(0), rcond=None)[0].T


def behaviour_range(fitted: FittedEncoder, n: int = 21, reach: float = 2.0) -> NDArray[np.float32]:
    """Values of each behaviour variable from low to high around its mean, (n, k).

    They end ``reach`` standard deviations from it, and at 0 where negative values are impossible:
    nobody knows from the statistics alone, so this is where the mean is not negative.
    """
    _require_modulator(fitted)
    norm = fitted.normalisation
    assert norm.behaviour_mean is not None and norm.behaviour_std is not None
    low = norm.behaviour_mean - reach * norm.behaviour_std
    low = np.where(norm.behaviour_mean >= 0, np.maximum(low, 0), low)
    return np.linspace(low, norm.behaviour_mean + reach * norm.behaviour_std, n, dtype=np.float32)


@torch.no_grad()
def gain_curves(fitted: FittedEncoder, values: NDArray) -> NDArray[np.float32]:
    """Gain against each behaviour variable, the others at their means.

    Parameters
    ----------
    values : (n, k)
        For each variable the values it takes, in the units of the recording.

    Returns
    -------
    (k, n, neuron) float32
        Divided by the gain at mean behaviour, which a neuron's firing rate takes on.

    Raises
    ------
    ValueError
        If the encoder has no modulator, or there is not one column for each variable.

    Examples
    --------
    >>> gain_curves(fitted, behaviour_range(fitted)).shape  # doctest: +SKIP
    (2, 21, 60)
    """
    _require_modulator(fitted)
    norm = fitted.normalisation
    assert norm.behaviour_mean is not None
    k = len(norm.behaviour_mean)
    values = np.asarray(values, np.float32)
    if values.ndim != 2 or values.shape[1] != k:
        raise ValueError(f"values: shape {values.shape}, expected (n, {k}), a column per variable")
    behaviour = np.tile(norm.behaviour_mean, (k, len(values), 1))
    for variable in range(k):
        behaviour[variable, :, variable] = values[:, variable]
    modulator = fitted.encoder.modulator[fitted.data_key]
    log_gain, at_rest = (
        modulator.log_gain(torch.from_numpy(norm.behaviour(rows)).to(_device(modulator)))
        for rows in (behaviour, norm.behaviour_mean)
    )
    return (log_gain - at_rest).exp().cpu().numpy()


def _device(part: nn.Module) -> torch.device:
    """Where a part of an encoder is, and has to stay."""
    return next(part.parameters()).device


def _require_shifter(fitted: FittedEncoder) -> None:
    if fitted.encoder.shifter is None:
        raise ValueError("this encoder has no shifter, so that gaze does not move what it sees")


def _require_modulator(fitted: FittedEncoder) -> None:
    if fitted.encoder.modulator is None:
        raise ValueError("this encoder has no modulator, so that behaviour changes no gain")
