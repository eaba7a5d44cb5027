"""To which spatial frequency and orientation the filters of a convolution are tuned.

The amplitude of a filter's Fourier transform at a frequency is how strongly it answers a grating
of that frequency, so that the measures of neurons in V1 can be taken of it (De Valois et al. 1982).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from regularized_training.networks.layer_reader import keeping_modes
from regularized_training.networks.normalisation import Normalise

RADII = np.arange(91) / 128  # cycles per pixel, to the corner of the square of frequencies
ANGLES = np.pi * np.arange(80) / 80
SILENT = 1e-3  # of the largest filter's norm: below, a filter says nothing
_HALF = 64  # place of 1/2 among the radii, to which the square holds whole circles
_AT_ONCE = 128  # filters


@dataclass(frozen=True, eq=False)
class FilterTuning:
    """Tuning of each filter of a convolution; NaN where it has none.

    Attributes
    ----------
    weights : (filter, channel, height, width) float32
    frequency : (filter,) float64
        That a filter answers most strongly, in cycles per pixel; 0 is uniform light.
    orientation : (filter,) float64
        Of that frequency, in degrees from 0 to 180: the direction across the stripes, x to the
        right and y down, so that 0 prefers vertical stripes.
    bandwidth : (filter,) float64
        In octaves, from where half of the largest amplitude is reached to where it is lost, along
        the preferred orientation. Those have one that answer neither uniform light nor the highest
        frequencies by half or more.
    low_pass : (filter,) bool
        Whether all lower frequencies of that orientation, uniform light among them, have at least
        half of the largest amplitude.
    selectivity : (filter,) float64
        For orientation, from 0 to 1: 1 less the circular variance (Ringach et al. 2002) of
        amplitudes at the preferred frequency.
    silent : (filter,) bool
        Filters whose norm is less than a thousandth of the largest, of which nothing is said.
    """

    weights: NDArray[np.float32]
    frequency: NDArray[np.float64]
    orientation: NDArray[np.float64]
    bandwidth: NDArray[np.float64]
    low_pass: NDArray[np.bool_]
    selectivity: NDArray[np.float64]
    silent: NDArray[np.bool_]

    def summary(self) -> dict[str, float | None]:
        """Means over filters that have what is averaged; None where none has it."""
        found = {
            name: float(values.mean()) if len(values) else None
            for name, values in {
                "mean_frequency": self.frequency[~self.silent],
                "low_pass": self.low_pass[~self.silent],
                "mean_bandwidth": self.bandwidth[np.isfinite(self.bandwidth)],
                "mean_selectivity": self.selectivity[np.isfinite(self.selectivity)],
            }.items()
        }
        return found


def tuning_of(weights: NDArray[np.floating]) -> FilterTuning:
    """Tuning of filters.

    Parameters
    ----------
    weights : (filter, channel, height, width) array
        Amplitudes are the root of the sum of squares over channels.

    Raises
    ------
    ValueError
        If weights are not of that shape, or not finite.

    Examples
    --------
    >>> found = tuning_of(np.array([[[[1.0, 0.0, -1.0]]]]))  # amplitude 2 sin(2 pi f)
    >>> found.frequency.round(2).tolist(), found.orientation.tolist()
    ([0.25], [0.0])
    >>> found.bandwidth.round(1).tolist()  # from 1 / 12 to 5 / 12
    [2.3]
    """
    if weights.ndim != 4 or not np.isfinite(weights).all():
        raise ValueError(
            f"weights: shape {weights.shape}, expected finite (filter, channel, height, width)"
        )
    norms = np.sqrt(np.square(weights).sum((1, 2, 3)))
    silent = norms <= SILENT * norms.max(initial=0)
    parts = [
        _tuned(amplitudes(weights[first : first + _AT_ONCE]))
        for first in range(0, len(weights), _AT_ONCE)
    ]
    joined = [np.concatenate(some) for some in zip(*parts, strict=True)] or [np.empty(0)] * 4
    frequency, orientation, bandwidth, selectivity = (
        np.where(silent, np.nan, values) for values in joined
    )
    return FilterTuning(
        weights=weights.astype(np.float32),
        frequency=frequency,
        orientation=orientation,
        bandwidth=np.where(np.isinf(bandwidth), np.nan, bandwidth),
        low_pass=np.isneginf(bandwidth),
        selectivity=selectivity,
        silent=silent,
    )


def amplitudes(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Fourier amplitudes of filters at ``RADII`` and ``ANGLES``, (filter, radius, angle).

    -1 beyond the square of frequencies up to 1/2 cycle per pixel down and across.
    """
    n, channels, height, width = weights.shape
    across = (RADII[:, None] * np.cos(ANGLES)).ravel()
    down = (RADII[:, None] * np.sin(ANGLES)).ravel()
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    phase = (
        2 * np.pi * (np.outer(y - (height - 1) / 2, down) + np.outer(x - (width - 1) / 2, across))
    )
    flat = weights.reshape(n * channels, -1).astype(np.float64)
    power = (flat @ np.cos(phase)) ** 2 + (flat @ np.sin(phase)) ** 2
    found = np.sqrt(power.reshape(n, channels, -1).sum(1))
    found[:, np.maximum(np.abs(down), np.abs(across)) > 0.5 + 1e-9] = -1
    return found.reshape(n, len(RADII), len(ANGLES))


def _tuned(found: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Frequency, orientation, bandwidth, selectivity of each; bandwidth -inf of a low-pass one."""
    n, n_radii, n_angles = found.shape
    each = np.arange(n)
    peak = np.maximum(found.max((1, 2)), np.finfo(float).tiny)
    # Of frequencies that are answered alike but for rounding, the lowest.
    best = np.round(found / peak[:, None, None], 6).reshape(n, -1).argmax(1)
    radius, angle = best // n_angles, best % n_angles
    along, around = found[each, :, angle], found[each, radius]

    padded = np.pad(along, ((0, 0), (1, 1)), constant_values=-1)
    frequency = (radius + _vertex(padded[each[:, None], radius[:, None] + np.arange(3)])) / 128
    frequency = np.where(radius == 0, 0.0, frequency)
    near = around[each[:, None], (angle[:, None] + np.arange(-1, 2)) % n_angles]
    orientation = (angle + _vertex(near)) * 180 / n_angles % 180
    orientation = np.where(radius == 0, np.nan, orientation)

    # Orientations at the preferred frequency, or at 1/2 where the square does not hold the circle.
    ring = found[each, np.minimum(radius, _HALF)]
    resultant = np.abs(ring @ np.exp(2j * ANGLES))
    selectivity = np.where(radius == 0, np.nan, resultant / np.maximum(ring.sum(1), 1e-300))
    return frequency, orientation, _octaves(along, radius, peak), selectivity


def _vertex(three: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a parabola through three neighbours is highest, from the middle on; 0 at an edge."""
    before, middle, after = three.T
    bend = before - 2 * middle + after
    inside = (before >= 0) & (after >= 0) & (bend < -1e-9 * np.abs(middle))
    place = np.where(inside, (before - after) / np.where(inside, 2 * bend, 1), 0)
    return np.clip(place, -0.5, 0.5)


def _octaves(
    along: NDArray[np.float64], radius: NDArray[np.int64], peak: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Width at half amplitude; -inf without a lower, else inf without an upper cut-off."""
    n, n_radii = along.shape
    each, places = np.arange(n), np.arange(n_radii)
    level = along / peak[:, None]
    under = level < 0.5
    lower = np.where(under & (places < radius[:, None]), places, -1).max(1)
    upper = np.where(under & (places > radius[:, None]), places, n_radii).min(1)
    cut_above = upper < n_radii
    upper = np.minimum(upper, n_radii - 1)
    cut_above &= along[each, upper] >= 0  # and not the end of frequencies
    from_, to = (
        _halfway(level, each, np.maximum(at, 0), toward) for at, toward in ((lower, 1), (upper, -1))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.log2(to / from_)
    return np.where(lower < 0, -np.inf, np.where(cut_above, width, np.inf))


def _halfway(
    level: NDArray[np.float64], each: NDArray[np.int64], at: NDArray[np.int64], toward: int
) -> NDArray[np.float64]:
    """Place, between one below 1/2 and its neighbour above, where 1/2 is crossed."""
    beside = np.clip(at + toward, 0, level.shape[1] - 1)
    below, above = level[each, at], level[each, beside]
    rise = above - below
    share = np.where(rise != 0, (0.5 - below) / np.where(rise == 0, 1, rise), 0)
    return at + toward * share


class _FoundError(Exception):
    """The convolution was reached."""


class _Convolutions(TorchDispatchMode):
    """Stops at a convolution and keeps its filters, however the network calls it."""

    def __init__(self, number: int, leave_out: set[int]) -> None:
        super().__init__()
        self.number, self.leave_out, self.n = number, leave_out, 0
        self.weights: Tensor | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.convolution, torch.ops.aten.conv2d):
            weights = args[1]
            counted = weights.ndim == 4 and max(weights.shape[2:]) > 1
            if counted and weights.data_ptr() not in self.leave_out:
                self.n += 1
                if self.n == self.number:
                    self.weights = weights
                    raise _FoundError
        return func(*args, **(kwargs or {}))


def filters_of(
    network: nn.Module, image_shape: tuple[int, int, int], convolution: int = 1
) -> NDArray[np.float32] | None:
    """Filters of a convolution, counted as it is called; None if the network has none at all.

    Parameters
    ----------
    network : nn.Module
        On any device; left in the mode it came in. Runs on a black image, up to there.
    image_shape : (channels, height, width)
    convolution : int
        See :class:`FilterTuningConfig`.

    Returns
    -------
    (filter, channel, height, width) array or None
        Channels are those that a filter sees: of a convolution in groups, those of its group.

    Raises
    ------
    ValueError
        If it has fewer convolutions.
    """
    blurs = [part.blur for part in network.modules() if isinstance(part, Normalise)]
    leave_out = {view.data_ptr() for blur in blurs if blur is not None for view in (blur, blur.mT)}
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    image = torch.zeros(1, *image_shape, device=device)
    mode = _Convolutions(convolution, leave_out)
    with keeping_modes(network), torch.no_grad():
        network.eval()
        try:
            with mode:
                network(image)
        except _FoundError:
            pass
    if mode.weights is not None:
        found: NDArray[np.float32] = mode.weights.detach().float().cpu().numpy()
        return found
    if convolution == 1:
        return None
    raise ValueError(
        f"filter_tuning.convolution: {convolution}, expected at most {mode.n}, the number of "
        "convolutions of more than one pixel that the network has"
    )
