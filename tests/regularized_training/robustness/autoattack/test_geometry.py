"""Balls and planes within the cube of images, beside a general solver."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from torch import Tensor

from regularized_training.robustness.autoattack.geometry import into_ball, onto_plane, size
from regularized_training.robustness.pgd import unit_starts

SHAPE = (1, 2, 3)


def some_images(n: int, seed: int) -> Tensor:
    """With pixels at the ends of the scale too."""
    drawn = np.random.default_rng(seed).uniform(-0.2, 1.2, (n, *SHAPE)).clip(0, 1)
    return torch.from_numpy(drawn).float()


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_projected_images_lie_in_the_ball_and_can_be_shown(norm: str) -> None:
    origin = some_images(50, 0)
    far = origin + torch.randn(origin.shape, generator=torch.Generator().manual_seed(0))
    near = into_ball(far, origin, 0.4, norm)
    assert (size(near - origin, norm) <= 0.4 * (1 + 1e-6)).all()
    assert (near >= 0).all() and (near <= 1).all()
    torch.testing.assert_close(into_ball(near, origin, 0.4, norm), near)


def test_the_projection_in_l1_is_the_closest_point() -> None:
    origin = some_images(8, 1)
    far = origin + torch.randn(origin.shape, generator=torch.Generator().manual_seed(1))
    near = into_ball(far, origin, 0.5, "L1").flatten(1).double().numpy()
    for x, u, found in zip(origin.flatten(1).numpy(), far.flatten(1).numpy(), near, strict=True):
        # The change is the difference of two parts that are not negative.
        best = minimize(
            lambda p, x=x, u=u: ((x + p[:6] - p[6:] - u) ** 2).sum(),
            np.zeros(12),
            bounds=[*((0, 1 - v) for v in x), *((0, v) for v in x)],
            constraints={"type": "ineq", "fun": lambda p: 0.5 - p.sum()},
            options={"ftol": 1e-12},
        )
        np.testing.assert_allclose(found, x + best.x[:6] - best.x[6:], atol=1e-4)


def least(norm: str, x: np.ndarray, w: np.ndarray, gain: float) -> float:
    """Length of the smallest change that gains so much, by a general solver."""
    n = len(x)
    if norm == "L2":
        found = minimize(
            lambda d: (d**2).sum(),
            np.zeros(n),
            bounds=list(zip(-x, 1 - x, strict=True)),
            constraints={"type": "eq", "fun": lambda d: w @ d - gain},
            options={"ftol": 1e-14},
        )
        return float(np.sqrt(found.fun))
    # Variables: the change, and what its pixels' lengths are bounded by, together or each.
    bounds = list(zip(-x, 1 - x, strict=True))
    m = 1 if norm == "Linf" else n
    spread = np.ones((n, 1)) if norm == "Linf" else np.eye(n)
    above = np.block([[np.eye(n), -spread], [-np.eye(n), -spread]])
    found = linprog(
        np.r_[np.zeros(n), np.ones(m)],
        A_ub=above,
        b_ub=np.zeros(2 * n),
        A_eq=np.r_[w, np.zeros(m)][None],
        b_eq=[gain],
        bounds=[*bounds, *[(0, None)] * m],
    )
    return float(found.fun)


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("gain", [0.3, -0.3, 1.0])
def test_the_change_onto_a_plane_is_the_smallest(norm: str, gain: float) -> None:
    images = some_images(6, 2)
    normal = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    normal[:, 0, 0, 0] = 0
    change = onto_plane(images, normal, torch.full((6,), gain), norm)
    shown = images + change
    assert (shown >= -1e-6).all() and (shown <= 1 + 1e-6).all()
    gained = (change * normal).flatten(1).sum(1)
    rows = zip(images.flatten(1).numpy(), normal.flatten(1).numpy(), strict=True)
    for i, (x, w) in enumerate(rows):
        x, w = x.astype(float), w.astype(float)
        most = np.where(w * gain > 0, 1 - x, x) @ np.abs(w)
        assert gained[i].item() == pytest.approx(np.sign(gain) * min(abs(gain), most), abs=1e-5)
        if most > abs(gain) + 1e-3:
            assert size(change, norm)[i].item() == pytest.approx(least(norm, x, w, gain), rel=1e-3)


def test_starts_in_l1_are_spread_evenly_over_the_ball() -> None:
    """The length of a uniform point of a ball of d dimensions is d / (d + 1) on the mean."""
    starts = unit_starts(np.arange(4000), SHAPE, 0, "L1")
    lengths = size(starts, "L1")
    assert (lengths <= 1 + 1e-6).all()
    assert lengths.mean().item() == pytest.approx(6 / 7, abs=0.01)
    assert starts.mean(0).abs().max().item() < 0.02
    torch.testing.assert_close(unit_starts(np.array([7]), SHAPE, 0, "L1")[0], starts[7])
