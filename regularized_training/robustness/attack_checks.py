"""Can an attack be believed? What reviewers ask of one (Carlini et al. 2019), for one network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from predictive_model.randomness import seeded
from regularized_training.robustness.attack_config import AttackCheckConfig
from regularized_training.robustness.attacks import without_parameter_gradients
from regularized_training.robustness.autoattack.config import AutoAttackConfig
from regularized_training.robustness.autoattack.ensemble import robust_accuracy
from regularized_training.robustness.foolbox_compat import foolbox
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.chosen_images import chosen_images, evaluating

STEPS = (1, 3, 10, 30)
UNBOUNDED_STEPS = 50
ENSEMBLE_STEPS = 30
ENSEMBLE_TARGETS = 3
ENSEMBLE_QUERIES = 200
SLACK = 0.02  # by which a fraction of images may fall short before a check fails


@dataclass(frozen=True)
class AttackCheck:
    """One question to an attack.

    Attributes
    ----------
    check : str
        ``more_steps``, ``larger_ball``, ``white_box``, ``unbounded``, ``iterative``, ``gradients``,
        ``ensemble_larger_ball``, ``ensemble_pgd`` or ``ensemble_unbounded``.
    passed : bool
    value : float
        What was found, a fraction of images.
    expected : str
        What would pass.
    """

    check: str
    passed: bool
    value: float
    expected: str


def check_attacks(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    config: AttackCheckConfig,
    device: str | torch.device = "cpu",
) -> list[AttackCheck]:
    """Ask projected gradient descent, L-inf, whether its failures can be believed.

    ``more_steps``
        More steps fool no fewer images: the smallest rise of the success from one number of
        steps to the next, over all sizes.
    ``larger_ball``
        A larger ball holds no fewer adversarial images: likewise from one size to the next.
    ``white_box``
        Gradients find what noise of the same size does not: the smallest lead over the union of
        random perturbations is not negative, and the largest is positive; the latter is shown
        where it is 0.
    ``unbounded``
        With any perturbation allowed every image is fooled: the success.
    ``iterative``
        Many small steps are not worse than a single large one, as they would be if gradients led
        astray: the smallest lead.
    ``gradients``
        Gradients are there: the fraction of images whose gradient is not zero.

    And, if asked, the ensemble of Croce and Hein 2020, at a small budget, in each ball anew:

    ``ensemble_larger_ball``
        Robust accuracy falls with the size of the ball: the smallest rise of the success.
    ``ensemble_pgd``
        It leaves no more images than projected gradient descent: its smallest lead.
    ``ensemble_unbounded``
        With any perturbation allowed nothing withstands: the success.

    Parameters
    ----------
    network : nn.Module
        Takes images in [0, 1]; left in the mode it came in.
    images : (n, channels, height, width) uint8
    labels : (n,) int64
    config : AttackCheckConfig
    device : str or torch.device

    Raises
    ------
    ValueError
        If images and labels do not fit together, or none is classified correctly.
    """
    with evaluating(network, device), without_parameter_gradients(network):
        x, y = _correct_images(network, images, labels, config, device)
        model = foolbox.PyTorchModel(network, bounds=(0, 1), device=torch.device(device))
        success = np.array(
            [[_success(model, x, y, size, steps) for size in config.distances] for steps in STEPS]
        )
        noise = np.array([_noise_success(network, x, y, size, config) for size in config.distances])
        unbounded = _success(model, x, y, 1.0, UNBOUNDED_STEPS, step=0.05)
        # A single step over the whole radius is the fast gradient sign method.
        single = np.array([_success(model, x, y, size, 1, step=size) for size in config.distances])
        gradient = _gradients_there(network, x, y)
    most = success[-1]
    worse = f"at least -{SLACK:g}"
    checks = [
        _least("more_steps", np.diff(success, axis=0), -SLACK, worse),
        _least("larger_ball", np.diff(most) if len(most) > 1 else np.zeros(1), -SLACK, worse),
        _white_box(most, noise),
        _least("unbounded", np.array([unbounded]), 1.0, "1"),
        _least("iterative", most - single, -SLACK, worse),
        _least("gradients", np.array([gradient]), 1 - SLACK, f"at least {1 - SLACK:g}"),
    ]
    if not config.autoattack:
        return checks
    fooled = np.array([_fooled(network, x, y, size, config) for size in (*config.distances, 1.0)])
    within = fooled[:-1]
    return [
        *checks,
        _least("ensemble_larger_ball", np.diff(fooled), -SLACK, worse),
        _least("ensemble_pgd", within - most, -SLACK, worse),
        _least("ensemble_unbounded", fooled[-1:], 1.0, "1"),
    ]


def _white_box(success: NDArray[np.float64], noise: NDArray[np.float64]) -> AttackCheck:
    # Where nothing is left to fool, an attack cannot lead.
    lead = (success - noise)[noise < 1 - SLACK]
    if len(lead) and lead.max() <= SLACK:
        return AttackCheck("white_box", False, float(lead.max()), f"above {SLACK:g} at some size")
    return _least("white_box", lead if len(lead) else np.zeros(1), -SLACK, f"at least -{SLACK:g}")


def _least(check: str, values: NDArray[np.float64], bar: float, expected: str) -> AttackCheck:
    value = float(values.min())
    return AttackCheck(check, value >= bar - 1e-9, value, expected)


def _correct_images(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    config: AttackCheckConfig,
    device: str | torch.device,
) -> tuple[Tensor, Tensor]:
    order = chosen_images(images, labels, min(len(images), 10 * config.n_images), config.seed)
    x = to_float(torch.from_numpy(images[order]).to(device))
    y = torch.from_numpy(labels[order]).to(device)
    with torch.no_grad():
        right = torch.cat([network(part).argmax(1) for part in x.split(128)]) == y
    if not right.any():
        raise ValueError(f"network: classifies none of {len(order)} images correctly")
    kept = right.nonzero().flatten()
    kept = kept[torch.linspace(0, len(kept) - 1, min(len(kept), config.n_images)).long().unique()]
    return x[kept], y[kept]


def _success(
    model: foolbox.PyTorchModel,
    x: Tensor,
    y: Tensor,
    size: float,
    steps: int,
    step: float | None = None,
) -> float:
    """Fraction of images that PGD without a random start fools within a ball."""
    attack = foolbox.attacks.LinfProjectedGradientDescentAttack(
        abs_stepsize=max(size / 10, 1.5 * size / steps) if step is None else step,
        steps=steps,
        random_start=False,
    )
    _, _, success = attack(model, x, foolbox.Misclassification(y), epsilons=size)
    return float(success.float().mean())


def _fooled(
    network: nn.Module, x: Tensor, y: Tensor, size: float, config: AttackCheckConfig
) -> float:
    """Fraction of images that the ensemble fools within a ball."""
    images = (255 * x).round().to(torch.uint8).cpu().numpy()
    ensemble = AutoAttackConfig(
        epsilons=(size,), n_images="all", seed=config.seed,
        steps=ENSEMBLE_STEPS, n_targets=ENSEMBLE_TARGETS, queries=ENSEMBLE_QUERIES,
    )  # fmt: skip
    return 1 - robust_accuracy(network, images, y.cpu().numpy(), ensemble, x.device).accuracy(0)


def _noise_success(
    network: nn.Module, x: Tensor, y: Tensor, size: float, config: AttackCheckConfig
) -> float:
    """Fraction of images that any of a number of random corners of the ball fools."""
    fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    with seeded(config.seed), torch.no_grad():  # drawn on the CPU
        for _ in range(config.n_noise):
            corner = torch.randint(0, 2, x.shape).mul(2).sub(1).to(x.device) * size
            fooled |= network((x + corner).clamp(0, 1)).argmax(1) != y
    return float(fooled.float().mean())


def _gradients_there(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Fraction of images whose loss has a finite gradient that is not zero."""
    asked = x.detach().clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(network(asked), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, asked)
    largest = gradient.flatten(1).abs().amax(1)
    return float((torch.isfinite(largest) & (largest > 0)).float().mean())
