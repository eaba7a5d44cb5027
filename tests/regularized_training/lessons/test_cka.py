from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from regularized_training.lessons.cka import CkaRegularizer, unbiased_cka
from regularized_training.lessons.cka_config import CkaConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.controls import pixel_teacher
from regularized_training.training import Training, train
from regularized_training.training_config import TrainingConfig

STIMULI = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16)).astype(np.uint8)
NETWORK = NetworkConfig(width=2)


def literal_hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741 - as in the paper
    """Eq. 5 of Song et al. 2012, sum by sum."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    first = sum(k[i, j] * l[j, i] for i, j in itertools.product(range(n), repeat=2))
    second = k.sum() * l.sum() / ((n - 1) * (n - 2))
    third = sum(k[i].sum() * l[i].sum() for i in range(n)) * 2 / (n - 2)
    return float(first + second - third) / (n * (n - 3))


def literal_cka(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    return literal_hsic(k, l) / np.sqrt(literal_hsic(k, k) * literal_hsic(l, l))


def test_alignment_is_that_of_the_equations() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((9, 5)), rng.standard_normal((9, 7))
    y[:, :3] += x[:, :3]
    k, l = x @ x.T, y @ y.T  # noqa: E741
    found = unbiased_cka(torch.from_numpy(k), torch.from_numpy(l))
    assert found.item() == pytest.approx(literal_cka(k, l), abs=1e-12)


def test_loss_and_gradients_are_those_of_the_equations_layer_by_layer() -> None:
    rng = np.random.default_rng(2)
    features = [torch.from_numpy(rng.standard_normal((7, c, 3, 3))) for c in (2, 4)]
    target = torch.from_numpy(np.corrcoef(rng.standard_normal((7, 20))))
    regularizer = CkaRegularizer(2).double()
    with torch.no_grad():
        regularizer.logits.copy_(torch.tensor([0.3, -0.4]))
    gamma = np.exp([0.3, -0.4]) / np.exp([0.3, -0.4]).sum()
    flat = [f.flatten(1).numpy() for f in features]
    expected = 1 - sum(
        g * literal_cka(f @ f.T, target.numpy()) for g, f in zip(gamma, flat, strict=True)
    )
    assert regularizer(features, target).item() == pytest.approx(expected, abs=1e-9)
    inputs = [f.requires_grad_() for f in features]
    assert torch.autograd.gradcheck(
        lambda *f: regularizer(list(f), target), inputs, eps=1e-6, atol=1e-6
    )


def test_unrelated_kernels_are_not_aligned_on_average_however_few_images() -> None:
    """What its bias would be otherwise: near 1 with six images of a thousand features."""
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2000, 6, 500, generator=rng) for _ in range(2))
    aligned = unbiased_cka(x @ x.mT, y @ y.mT)
    assert abs(aligned.mean().item()) < 4 * aligned.std().item() / np.sqrt(2000)
    assert aligned.abs().max() <= 1 + 1e-5


def test_a_constant_kernel_is_aligned_with_nothing_and_has_a_gradient() -> None:
    features = torch.ones(5, 1, 2, 2, requires_grad=True)
    loss = CkaRegularizer(1)([features], torch.eye(5))
    loss.backward()
    assert loss.item() == 1
    assert features.grad is not None and features.grad.isfinite().all()


def test_features_come_to_be_aligned(small_digits: ImageTask) -> None:
    teacher = pixel_teacher(STIMULI)
    config = TrainingConfig(
        epochs=3,
        batch_size=32,
        n_train=320,
        n_test=50,
        learning_rate=0.02,
        schedule="constant",
        regularizer=CkaConfig(method="cka", alpha=10, n_stimuli=16, layers=("stage4",)),
    )
    history = train(small_digits, NETWORK, config, 0, teacher=teacher).history
    losses = [record.similarity_loss for record in history]
    assert losses[-1] < 0.8 * losses[0]  # type: ignore[operator]
    assert history[-1].layer_weights == (1.0,)


def test_too_few_stimuli_are_refused(small_digits: ImageTask) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 4"):
        CkaConfig(method="cka", n_stimuli=3)
    config = TrainingConfig(regularizer=CkaConfig(method="cka", n_stimuli=64))
    with pytest.raises(ValueError, match=r"n_stimuli: 64, but teacher 'pixels' has 40 stimuli"):
        Training(small_digits, NETWORK, config, 0, teacher=pixel_teacher(STIMULI))
