"""Lessons that are taught by responses: the equations, literally, and what comes of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from regularized_training.lessons.cca import canonical_correlations
from regularized_training.lessons.response_config import (
    CcaConfig,
    ResponsesConfig,
    VicregConfig,
)
from regularized_training.lessons.responses import ResponsesLesson, co_training_loss
from regularized_training.lessons.vicreg import vicreg_loss
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.config import AugmentConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.controls import pixel_teacher
from regularized_training.teachers.responses import ResponseTeacher
from regularized_training.training import Training, train
from regularized_training.training_config import TrainingConfig
from tests.regularized_training.short_trainings import first_images

RNG = np.random.default_rng(0)
STIMULI = RNG.integers(0, 256, (60, 1, 16, 16)).astype(np.uint8)
RESPONSES = RNG.gamma(1.0, 1.0, (60, 7)).astype(np.float32)
NETWORK = NetworkConfig(width=2)
LAYER = "stage1"
LESSONS = {
    "responses": ResponsesConfig(method="responses", layer=LAYER, n_stimuli=12),
    "constant": ResponsesConfig(
        method="responses", layer=LAYER, n_stimuli=12, weighting="constant", alpha=2
    ),
    "some neurons": ResponsesConfig(
        method="responses", layer=LAYER, n_stimuli=12, neurons_per_batch=3
    ),
    "cca": CcaConfig(method="cca", layer=LAYER, n_stimuli=12, n_components=3),
    "vicreg": VicregConfig(method="vicreg", layer=LAYER, n_stimuli=12, n_components=4, alpha=0.02),
}


def teacher(responses: NDArray = RESPONSES, stimuli: NDArray = STIMULI) -> ResponseTeacher:
    return ResponseTeacher("model", stimuli, responses)


def config(lesson: str | ResponsesConfig, **changes: object) -> TrainingConfig:
    regularizer = LESSONS[lesson] if isinstance(lesson, str) else lesson
    settings = dict(
        epochs=2,
        batch_size=16,
        n_train=96,
        n_test=20,
        learning_rate=0.01,
        augment=AugmentConfig(padding=0, flip=False),
        regularizer=regularizer,
    )
    return TrainingConfig.model_validate({**settings, **changes})


def test_some_neurons_of_a_batch_have_the_loss_of_all_for_its_expectation(
    small_digits: ImageTask,
) -> None:
    made = Training(small_digits, NETWORK, config("some neurons"), 0, teacher=teacher())
    lesson = made.lesson
    assert isinstance(lesson, ResponsesLesson)
    lesson.module.eval()  # positions at their means
    chosen, responses, neurons = lesson.draw()
    assert responses.shape == (12, 3) and len(set(neurons.tolist())) == 3
    np.testing.assert_array_equal(responses, RESPONSES[chosen][:, neurons])
    whole = torch.from_numpy(RESPONSES[chosen])
    of_each = torch.stack([lesson.loss(chosen, whole[:, [n]], torch.tensor([n])) for n in range(7)])
    torch.testing.assert_close(of_each.mean(), lesson.loss(chosen, whole))
    torch.testing.assert_close(
        of_each[neurons].mean(), lesson.loss(chosen, responses, neurons), rtol=1e-5, atol=1e-6
    )
    drawn = torch.cat([lesson.draw()[2] for _ in range(200)])
    assert np.bincount(drawn, minlength=7) == pytest.approx(200 * 3 / 7, abs=30)


# -- equations -----------------------------------------------------------------------------


def literal_elu(x: float) -> float:
    return x if x > 0 else math.expm1(x)


def literal_point(maps: NDArray, x: float, y: float) -> NDArray:
    """Features (channel,) between the pixels of maps, 0 outside; -1 and 1 on the outermost ones."""
    channels, height, width = maps.shape
    column, row = (x + 1) / 2 * (width - 1), (y + 1) / 2 * (height - 1)
    found = np.zeros(channels)
    for i in range(height):
        for j in range(width):
            found += max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(column - j)) * maps[:, i, j]
    return found


def test_a_steps_loss_and_gradients_are_those_of_the_published_equation(
    small_digits: ImageTask,
) -> None:
    """One image, one neuron at a time, in double precision."""
    made = Training(small_digits, NETWORK, config("responses"), 0, teacher=teacher())
    lesson = made.lesson
    assert isinstance(lesson, ResponsesLesson)
    readout = lesson.module.readout
    readout.eval()  # positions at their means
    made.network.double()
    lesson.module.double()
    lesson.module.train(False)
    variances = lesson.module.log_variances
    assert variances is not None
    with torch.no_grad():
        variances.copy_(torch.tensor([0.4, -0.7]))
    images, labels = first_images(small_digits, 16)
    images = to_float(images).double()
    chosen, responses = lesson.draw()
    stimuli = lesson._stimuli.images(chosen).double()

    # Ours.
    task_loss = F.cross_entropy(made.network(images), labels)
    features = LayerReader(made.network, (LAYER,))(stimuli)[0]
    predicted = F.elu(readout(features)) + 1
    ours = co_training_loss(task_loss, [F.mse_loss(predicted, responses.double())], variances)
    parameters = [variances, readout.features, readout.bias, made.network.stem[0].weight]
    gradients = torch.autograd.grad(ours, parameters)

    # Literally.
    logits = made.network(images).detach().numpy()
    entropy = np.mean(
        [np.log(np.exp(row - row[y]).sum()) for row, y in zip(logits, labels.numpy(), strict=True)]
    )
    maps = features.detach().numpy()
    weights = readout.features.detach().numpy().reshape(maps.shape[1], -1)
    places = readout.mu.detach().numpy().reshape(-1, 2)
    errors = []
    for i, row in enumerate(responses.numpy().astype(float)):
        for n, measured in enumerate(row):
            seen = literal_point(maps[i], *places[n])
            rate = literal_elu(float(seen @ weights[:, n]) + readout.bias[n].item()) + 1
            errors.append((rate - measured) ** 2)
    s_c, s_n = variances.tolist()
    literal = entropy * math.exp(-s_c) + s_c / 2 + np.mean(errors) * math.exp(-s_n) / 2 + s_n / 2
    assert ours.item() == pytest.approx(literal, abs=1e-6)
    of_task = -entropy * math.exp(-s_c) + 0.5
    of_responses = -np.mean(errors) * math.exp(-s_n) / 2 + 0.5
    assert gradients[0].tolist() == pytest.approx([of_task, of_responses], abs=1e-6)
    for parameter, gradient in zip(parameters[1:], gradients[1:], strict=True):
        place = np.unravel_index(int(gradient.abs().argmax()), gradient.shape)
        ends = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter[place] += step
                seen_now = LayerReader(made.network, (LAYER,))(stimuli)[0]
                rates = F.elu(readout(seen_now)) + 1
                ends.append(
                    co_training_loss(
                        F.cross_entropy(made.network(images), labels),
                        [F.mse_loss(rates, responses.double())],
                        variances,
                    ).item()
                )
                parameter[place] -= step
        assert gradient[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3)


def test_the_step_of_the_loop_is_that_loss(small_digits: ImageTask) -> None:
    made = Training(small_digits, NETWORK, config("responses"), 0, teacher=teacher())
    lesson = made.lesson
    assert lesson is not None and lesson.module.log_variances is not None
    drawn = lesson.draw()
    lesson.draw = lambda: drawn  # type: ignore[method-assign]
    lesson.module.eval()  # positions at their means
    variances = lesson.module.log_variances
    before = [p.clone() for p in (variances, lesson.module.readout.features)]
    values = made.step(*first_images(small_digits, 16), 0.5, n_batches=2)
    task_loss, of_responses, _ = values.tolist()
    # Two batches, the same: s_n has the gradient of both.
    expected = torch.tensor([0.5 - task_loss, 1 - of_responses / 2])
    torch.testing.assert_close(variances.grad, expected)
    torch.testing.assert_close(variances.data, before[0] - 0.5 * expected)
    assert lesson.measures() == {
        "log_variance_of_task": pytest.approx(variances[0].item()),
        "log_variance_of_responses": pytest.approx(variances[1].item()),
    }


def test_canonical_correlations_are_those_of_scipy_and_have_gradients() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((50, 3)), rng.standard_normal((50, 3))
    y[:, 0] += 2 * x[:, 1]
    # Correlations of least squares' best combinations: roots of the eigenvalues of the product.
    cxx, cyy, cxy = np.cov(x.T), np.cov(y.T), np.cov(x.T, y.T)[:3, 3:]
    squares = np.linalg.eigvals(np.linalg.solve(cxx, cxy) @ np.linalg.solve(cyy, cxy.T))
    expected = np.sqrt(np.sort(squares.real)[::-1])
    first, second = torch.from_numpy(x), torch.from_numpy(y)
    found = canonical_correlations(first, second, 1e-12)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-8)
    assert torch.autograd.gradcheck(
        lambda a, b: canonical_correlations(a, b, 1e-3).mean(),
        (first.requires_grad_(), second.requires_grad_()),
        atol=1e-6,
    )


def test_vicreg_is_that_of_the_equations_and_has_gradients() -> None:
    rng = np.random.default_rng(2)
    z, w = rng.standard_normal((8, 3)) / 2, rng.standard_normal((8, 3))
    settings = VicregConfig(method="vicreg", layer=LAYER)
    expected = 25 * np.mean((z - w) ** 2)
    for part in (z, w):
        deviation = np.sqrt(part.var(0, ddof=1) + 1e-4)
        expected += 25 * np.mean([max(0.0, 1 - s) for s in deviation])
        covariance = np.cov(part.T)
        expected += sum(covariance[i, j] ** 2 for i in range(3) for j in range(3) if i != j) / 3
    first, second = torch.from_numpy(z), torch.from_numpy(w)
    assert vicreg_loss(first, second, settings).item() == pytest.approx(expected, abs=1e-10)
    assert torch.autograd.gradcheck(
        lambda a, b: vicreg_loss(a, b, settings),
        (first.requires_grad_(), second.requires_grad_()),
        atol=1e-5,
    )


# -- training ------------------------------------------------------------------------------


@pytest.mark.parametrize("lesson", LESSONS)
def test_what_is_learned_of_responses_lessens_the_loss(
    small_digits: ImageTask, lesson: str
) -> None:
    """Of stimuli and responses that have nothing to do with each other: by heart."""
    settings = config(lesson, epochs=6, schedule="constant", learning_rate=0.02)
    trained = train(small_digits, NETWORK, settings, 0, teacher=teacher())
    losses = [record.similarity_loss for record in trained.history]
    assert losses[-1] < losses[0]  # type: ignore[operator]
    assert trained.lesson_state
    measured = trained.history[-1].measures
    assert bool(measured) == (lesson in ("responses", "some neurons"))


def test_parameters_of_the_lesson_have_their_own_rate_and_decay(small_digits: ImageTask) -> None:
    settings = LESSONS["responses"].model_copy(
        update={"learning_rate_factor": 0.1, "weight_decay": 0.3}
    )
    made = Training(small_digits, NETWORK, config(settings), 0, teacher=teacher())  # type: ignore[arg-type]
    assert isinstance(made.lesson, ResponsesLesson)
    made.step(*first_images(small_digits, 16), 0.5)
    rates = {
        id(p): (group["lr"], group["weight_decay"])
        for group in made.optimizer.param_groups
        for p in group["params"]
    }
    module = made.lesson.module
    assert rates[id(module.readout.features)] == (pytest.approx(0.05), 0.3)
    assert rates[id(module.readout.bias)] == (pytest.approx(0.05), 0.0)
    assert rates[id(module.log_variances)] == (pytest.approx(0.05), 0.0)
    assert rates[id(made.network.stem[0].weight)] == (0.5, 5e-4)  # type: ignore[index]


# -- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layer": "stage9"}, "layers: stage9 are not among those of resnet18"),
        ({"n_stimuli": 61}, "n_stimuli: 61, but teacher 'model' has 60 stimuli that teach"),
    ],
)
def test_lessons_that_do_not_fit_are_refused_before_training(
    small_digits: ImageTask, fields: dict[str, object], message: str
) -> None:
    settings = LESSONS["responses"].model_copy(update=fields)
    with pytest.raises(ValueError, match=message):
        Training(small_digits, NETWORK, config(settings), 0, teacher=teacher())  # type: ignore[arg-type]


def test_a_layer_without_space_is_refused(small_digits: ImageTask) -> None:
    settings = ResponsesConfig(method="responses", layer="1", n_stimuli=4)
    network = NetworkConfig(architecture="tests.regularized_training.lessons.test_responses:flat")
    with pytest.raises(ValueError, match=r"layer: '1' has features of shape \(256,\), expected"):
        Training(small_digits, network, config(settings), 0, teacher=teacher())


def flat(n_channels: int, n_classes: int) -> nn.Module:
    return nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(n_channels * 256, n_classes))


flat.similarity_layers = ("1",)  # type: ignore[attr-defined]


def test_teachers_and_lessons_of_different_kinds_are_refused(small_digits: ImageTask) -> None:
    with pytest.raises(ValueError, match=r"'pixels': says similarity, .*is taught by responses"):
        Training(small_digits, NETWORK, config("responses"), 0, teacher=pixel_teacher(STIMULI))
    similarity = TrainingConfig.model_validate({"regularizer": {}})
    with pytest.raises(ValueError, match=r"'model': says responses, .*is taught by similarity"):
        Training(small_digits, NETWORK, similarity, 0, teacher=teacher())


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            lambda: ResponsesConfig(method="responses", layer="a", alpha=3),
            "leaves nothing to weigh",
        ),
        (lambda: ResponsesConfig(method="responses"), "layer"),
        (
            lambda: ResponsesConfig(
                method="responses", layer="a", readout={"positions": "cortical"}
            ),
            r"readout\.positions: 'cortical', expected 'free'",
        ),
        (lambda: CcaConfig(method="cca", layer="a", n_stimuli=20), "n_stimuli: 20, expected .* 34"),
        (lambda: ResponsesConfig(method="responses", layer="a", batch_ratio="0:1"), "batch_ratio"),
    ],
)
def test_settings_that_cannot_be_are_refused(made: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        made()  # type: ignore[operator]
