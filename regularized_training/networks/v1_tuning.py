"""How cells of primary visual cortex are tuned: published histograms, and cells drawn from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from regularized_training.networks.v1_config import V1Config

Floats = NDArray[np.float64]

# De Valois, Yund and Hepler 1982: cells of the macaque by preferred orientation, degrees.
ORIENTATION_EDGES = np.arange(-22.5, 158, 45)
ORIENTATION_COUNTS = np.array([66, 49, 77, 54])
# De Valois, Albrecht and Thorell 1982: by preferred spatial frequency, cycles per degree.
FREQUENCY_EDGES = np.array([0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0])
FREQUENCY_COUNTS = np.array([4, 4, 8, 25, 32, 26, 28, 12])
# Ringach 2002: by standard deviations of the receptive field's envelope, in cycles of the preferred
# frequency; across the stripes by row, along them by column.
SIZE_EDGES = np.logspace(-1, 0.2, 6)
SIZE_COUNTS = np.array(
    [[2, 0, 1, 0, 0], [8, 9, 4, 1, 0], [1, 2, 19, 17, 3], [0, 0, 1, 7, 4], [0, 0, 0, 0, 0]]
)


@dataclass(frozen=True, eq=False)
class GaborCells:
    """Preferences of cells, each an array (n,).

    Attributes
    ----------
    orientation : radians
        Direction across the stripes: 0 prefers vertical ones.
    frequency : cycles per degree
    phase : radians
        Of a simple cell's stripes at the centre of its envelope; a complex cell has this one and a
        quarter of a cycle more.
    across, along : cycles
        Standard deviations of the envelope across and along the stripes, times the frequency.
    channel : int
        Of the image, the only one that the cell sees.
    """

    orientation: Floats
    frequency: Floats
    phase: Floats
    across: Floats
    along: Floats
    channel: NDArray[np.int64]

    def filters(self, config: V1Config, quarters: int = 0) -> NDArray[np.float32]:
        """Gabors (n, side, side), of so many quarters of a cycle more than the phase.

        exp(-(u^2 / s_u^2 + v^2 / s_v^2) / 2) cos(2 pi f u + phase) / (2 pi s_u s_v), with u across
        and v along the stripes, in pixels. As in Dapello et al. 2020 they are cut where the kernel
        ends, and may see uniform light.
        """
        half = config.kernel_size // 2
        place = np.arange(-half, half + 1.0)
        y, x = np.meshgrid(place, place, indexing="ij")
        turn, frequency, phase, across, along = (
            part[:, None, None]
            for part in (
                self.orientation,
                self.frequency / config.pixels_per_degree,
                self.phase + quarters * np.pi / 2,
                self.across,
                self.along,
            )
        )
        u = x * np.cos(turn) + y * np.sin(turn)
        v = y * np.cos(turn) - x * np.sin(turn)
        wide, long = across / frequency, along / frequency
        envelope = np.exp(-((u / wide) ** 2 + (v / long) ** 2) / 2) / (2 * np.pi * wide * long)
        return (envelope * np.cos(2 * np.pi * frequency * u + phase)).astype(np.float32)


def draw_cells(n: int, config: V1Config, n_channels: int, rng: np.random.Generator) -> GaborCells:
    """Cells whose preferences are distributed as published; evenly within a histogram's bins.

    Frequencies and sizes are spread evenly on their logarithmic scales, phases over the whole
    cycle, and channels of colour images evenly. Frequency and size across the stripes go together
    by a Gaussian copula; the size along them follows from the joint histogram.

    Parameters
    ----------
    n : int
    config : V1Config
    n_channels : int
        Of the images.
    rng : np.random.Generator
        Asked for numbers in [0, 1) alone, which are the same in all versions of NumPy.
    """
    # Fewer cells are the first of more. 0 has no normal quantile.
    u = np.maximum(rng.random((n, 6)).T, 1e-12)
    rho = config.correlation
    first, second = ndtri(u[0]), ndtri(u[1])
    together = ndtr(rho * first + np.sqrt(1 - rho**2) * second)
    log_frequency, log_size = np.log(FREQUENCY_EDGES), np.log(SIZE_EDGES)
    log_across = quantile(together, log_size, SIZE_COUNTS.sum(1))
    row = np.clip(np.searchsorted(log_size, log_across, "right") - 1, 0, len(SIZE_COUNTS) - 1)
    along = np.zeros(n)
    for number in np.unique(row):
        here = row == number
        along[here] = np.exp(quantile(u[2, here], log_size, SIZE_COUNTS[number]))
    return GaborCells(
        orientation=np.deg2rad(quantile(u[3], ORIENTATION_EDGES, ORIENTATION_COUNTS)),
        frequency=np.exp(
            quantile(
                u[0], log_frequency, FREQUENCY_COUNTS, highest=np.log(config.highest_frequency)
            )
        ),
        phase=2 * np.pi * u[4],
        across=np.exp(log_across),
        along=along,
        channel=np.minimum((u[5] * n_channels).astype(np.int64), n_channels - 1),
    )


def quantile(
    share: Floats, edges: Floats, counts: NDArray[np.int64], highest: float = np.inf
) -> Floats:
    """Values below which given shares of a histogram lie, spread evenly within its bins.

    Parameters
    ----------
    share : (n,), in 0 to 1
    edges : (b + 1,)
    counts : (b,)
    highest : float
        What lies above it is left out.

    Examples
    --------
    >>> quantile(np.array([0.25, 0.5, 0.75]), np.array([0.0, 1.0, 3.0]), np.array([1, 1])).tolist()
    [0.5, 1.0, 2.0]
    """
    below = np.concatenate([[0.0], np.cumsum(counts)]) / np.sum(counts)
    most = np.interp(highest, edges, below)
    return np.interp(share * most, below, edges)
