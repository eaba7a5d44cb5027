"""Gabors fitted to images: orientation, spatial frequency and place of what a neuron prefers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from predictive_model.recordings.gabor import gabor_pairs

FINEST, COARSEST = 0.5, 0.01  # cycles per pixel
# Relative length of the steps by which derivatives are taken: Gabors come in single precision.
STEP = 1e-3


@dataclass(frozen=True, eq=False)
class GaborFits:
    """One Gabor for each image; the first pixel is at (0, 0).

    Attributes
    ----------
    centre : (image, 2) pixels
        Horizontal and vertical.
    orientation : (image,) radians
        Direction across the stripes from 0 to pi: 0 prefers vertical stripes.
    frequency : (image,) cycles per pixel
    sigma : (image, 2) pixels
        Standard deviation of the envelope across and along the stripes.
    phase : (image,) radians
        0 for an even Gabor, brightest in the middle.
    r2 : (image,)
        Fraction of the image's power that the Gabor explains.
    """

    centre: NDArray[np.float64]
    orientation: NDArray[np.float64]
    frequency: NDArray[np.float64]
    sigma: NDArray[np.float64]
    phase: NDArray[np.float64]
    r2: NDArray[np.float64]


def fit_gabors(images: NDArray) -> GaborFits:
    """The Gabor closest to each image, by least squares.

    Amplitude and phase are solved for linearly, the six other parameters are searched for from
    where the image's power lies in space and in frequency. It takes some 30 ms for each image.

    Parameters
    ----------
    images : (image, height, width)
        Deviations from grey. An image that is 0 everywhere gets ``r2`` 0.

    Examples
    --------
    >>> y, x = np.mgrid[:20, :30]
    >>> envelope = np.exp(-((x - 12) ** 2 + (y - 9) ** 2) / (2 * 3**2))
    >>> fits = fit_gabors((envelope * np.cos(2 * np.pi * 0.2 * (x - 12)))[None])
    >>> fits.centre.round(1).tolist(), fits.frequency.round(2).tolist()
    ([[12.0, 9.0]], [0.2])
    """
    images = np.asarray(images, np.float64)
    if images.ndim != 3 or not np.isfinite(images).all():
        raise ValueError(
            f"images: shape {images.shape}, expected (image, height, width) of finite values"
        )
    fits = [_fit(image) for image in images]
    centre, orientation, frequency, sigma, phase, r2 = (
        np.array(v) for v in zip(*fits, strict=True)
    )
    return GaborFits(centre, orientation, frequency, sigma, phase, r2)


def orientation_difference(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Angle between orientations in radians, from 0 to pi / 2."""
    return np.abs((np.asarray(a) - np.asarray(b) + np.pi / 2) % np.pi - np.pi / 2)


def _fit(
    image: NDArray[np.float64],
) -> tuple[NDArray, float, float, NDArray, float, float]:
    """Centre, orientation, frequency, sigma, phase, r2."""
    power = float((image**2).sum())
    if power == 0:
        middle = (np.array(image.shape[::-1]) - 1) / 2
        return middle, 0.0, COARSEST, np.ones(2), 0.0, 0.0
    start = _first_guess(image)
    height, width = image.shape
    found = least_squares(
        lambda p: _residual(p, image)[0].ravel(),
        start,
        x_scale=(2, 2, 0.2, 0.02, 1, 1),
        diff_step=STEP,
        bounds=(
            (-width, -height, start[2] - np.pi, COARSEST, 0.5, 0.5),
            (2 * width, 2 * height, start[2] + np.pi, FINEST, width, width),
        ),
        max_nfev=60,
    )
    residual, (even, odd) = _residual(found.x, image)
    return (
        found.x[:2],
        found.x[2] % np.pi,
        found.x[3],
        found.x[4:],
        float(np.arctan2(odd, even)) % (2 * np.pi),
        1 - float((residual**2).sum()) / power,
    )


def _residual(
    parameters: NDArray, image: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the best amplitudes of an even and an odd Gabor leave over, and these amplitudes."""
    x, y, orientation, frequency, *sigma = parameters
    height, width = image.shape
    pair = gabor_pairs(
        (np.arange(width, dtype=np.float32) - np.float32(x))[None],
        (np.arange(height, dtype=np.float32) - np.float32(y))[None],
        orientation=np.array([orientation]),
        frequency=np.array([frequency]),
        sigma=np.array([sigma]),
    )
    basis = np.stack([gabor[0].ravel() for gabor in pair], axis=1).astype(np.float64)
    amplitudes = np.asarray(np.linalg.lstsq(basis, image.ravel(), rcond=None)[0], np.float64)
    return image - (basis @ amplitudes).reshape(image.shape), amplitudes


def _first_guess(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place and width from the squared image, frequency and orientation from its spectrum."""
    height, width = image.shape
    weights = image**4 / (image**4).sum()
    x, y = np.arange(width), np.arange(height)
    cx, cy = weights.sum(0) @ x, weights.sum(1) @ y
    size = 4 * max(height, width)
    spectrum = np.abs(np.fft.rfft2(image - image.mean(), s=(size, size)))
    row, column = np.unravel_index(spectrum.argmax(), spectrum.shape)
    fx, fy = np.fft.rfftfreq(size)[column], np.fft.fftfreq(size)[row]
    frequency = np.clip(np.hypot(fx, fy), 2 * COARSEST, 0.9 * FINEST)
    # Of two to three stripes, as in mouse V1; the search goes on from there.
    sigma = np.clip(0.35 / frequency, 1.0, width / 4)
    return np.array([cx, cy, np.arctan2(fy, fx) % np.pi, frequency, sigma, sigma])
