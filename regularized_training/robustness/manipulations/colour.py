"""Grey and opponent colours."""

from __future__ import annotations

import torch
from torch import Tensor

# Luma of ITU-R BT.709 to four digits, weights of the encoded red, green and blue.
GREY_WEIGHTS = (0.2125, 0.7154, 0.0721)

# Linear sRGB to CIE 1931 XYZ: IEC 61966-2-1.
_XYZ = (
    (0.4124, 0.3576, 0.1805),
    (0.2126, 0.7152, 0.0722),
    (0.0193, 0.1192, 0.9505),
)
# XYZ to cones of Smith and Pokorny 1975, who took Judd's XYZ: rows L, M and S. L + M is luminance,
# as what X and Z add to L they take from M.
_CONES = (
    (0.15514, 0.54312, -0.03286),
    (-0.15514, 0.45684, 0.03286),
    (0.0, 0.0, 0.00801),
)


def grey(images: Tensor) -> Tensor:
    """One channel, the weighted mean of red, green and blue as they are encoded.

    Parameters
    ----------
    images : (n, channels, height, width) float64 Tensor
        Of one channel, which stays as it is, or three.

    Returns
    -------
    (n, 1, height, width) Tensor

    Examples
    --------
    >>> red = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).view(1, 3, 1, 1)
    >>> grey(red).item()
    0.2125
    """
    if images.shape[1] == 1:
        return images
    red, green, blue = (weight * images[:, i : i + 1] for i, weight in enumerate(GREY_WEIGHTS))
    return red + green + blue


def false_colour(images: Tensor) -> Tensor:
    """Opponent colours: L - M and S - Lum negated in the space of Derrington et al. 1984.

    From sRGB to linear light, cones, and the three axes of that space; there the two of colour are
    negated, and back again. Luminance, L + M, is kept, and so is grey, which has no colour on
    either axis. Both axes being negated, a colour is mirrored at the grey of its luminance,
    whatever the cones. Geirhos et al. 2018 measured the gamma of their monitor; here it is that
    of sRGB.

    Parameters
    ----------
    images : (n, 3, height, width) float64 Tensor
        sRGB in [0, 1].

    Returns
    -------
    (n, 3, height, width) Tensor
        sRGB; below 0 or above 1 where the opponent colour is one that a monitor cannot show.
        A caller that clips it changes its luminance. Twice is the identity, unless clipped.

    Examples
    --------
    >>> reddish = torch.tensor([0.6, 0.4, 0.4], dtype=torch.float64).view(1, 3, 1, 1)
    >>> [round(x, 2) for x in false_colour(reddish).flatten().tolist()]
    [0.18, 0.5, 0.5]
    """
    negate = opponent_matrix().to(images.device)
    linear = _to_linear(images)
    rows = [
        sum(negate[i, j] * linear[:, j] for j in range(3))  # in this order for any batch
        for i in range(3)
    ]
    return _from_linear(torch.stack(rows, 1))  # type: ignore[arg-type]


def opponent_matrix() -> Tensor:
    """Linear sRGB to the linear sRGB of the opponent colour, (3, 3) float64."""
    to_axes = axes_matrix()
    negated = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    return torch.linalg.inv(to_axes) @ (negated[:, None] * to_axes)


def axes_matrix() -> Tensor:
    """Linear sRGB to luminance, L - M and S - Lum, (3, 3) float64.

    The cones are weighted such that white, and with it every grey, is 0 on both axes of colour.
    """
    cones = torch.tensor(_CONES, dtype=torch.float64) @ torch.tensor(_XYZ, dtype=torch.float64)
    white = cones.sum(1)
    luminance = cones[0] + cones[1]
    return torch.stack(
        [
            luminance,
            cones[0] - white[0] / white[1] * cones[1],
            cones[2] - white[2] / (white[0] + white[1]) * luminance,
        ]
    )


def _to_linear(encoded: Tensor) -> Tensor:
    """The curve of sRGB, IEC 61966-2-1, continued below 0 by its mirror image."""
    size = encoded.abs()
    linear = torch.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4)
    return linear * encoded.sign()


def _from_linear(linear: Tensor) -> Tensor:
    size = linear.abs()
    # The bend is where both halves of `_to_linear` meet, so that the way there and back is exact.
    encoded = torch.where(size <= 0.04045 / 12.92, size * 12.92, 1.055 * size ** (1 / 2.4) - 0.055)
    return encoded * linear.sign()
