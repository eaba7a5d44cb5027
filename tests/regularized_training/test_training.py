from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from regularized_training.analysis.accuracy import evaluate
from regularized_training.joint_loss import TrainingError
from regularized_training.lessons.config import RegularizerConfig
from regularized_training.lessons.similarity import (
    cosine_similarity,
    flatten_features,
)
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.stimuli import prepare_stimuli
from regularized_training.teachers.teacher import SimilarityTeacher
from regularized_training.trained_network import EpochRecord
from regularized_training.training import Training, initial_network, train
from regularized_training.training_config import TrainingConfig
from tests.installed_package import installed_package
from tests.regularized_training.short_trainings import (
    NETWORK,
    PLAIN,
    TAUGHT,
    assert_same_weights,
    edge_similarity,
    first_images,
    without_time,
)

# -- one loop ------------------------------------------------------------------------------


def test_each_step_takes_alpha_from_the_middle_of_its_time(
    small_digits: ImageTask, teacher: SimilarityTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two epochs of five steps, of which the first five are warm-up."""
    regularizer = RegularizerConfig(n_stimuli=9, alpha=10, alpha_warmup=0.5)
    config = TAUGHT.model_copy(update={"regularizer": regularizer})
    weights: list[float | None] = []

    def step(
        self: Training,
        images: torch.Tensor,
        labels: torch.Tensor,
        rate: float,
        alpha: float,
        *,
        n_batches: int,
    ) -> torch.Tensor:
        assert n_batches == 1
        weights.append(alpha)
        return torch.zeros(3)

    monkeypatch.setattr(Training, "step", step)
    train(small_digits, NETWORK, config, seed=0, teacher=teacher)
    assert weights == pytest.approx([1, 3, 5, 7, 9, 10, 10, 10, 10, 10])


def test_digits_are_learned_and_the_result_is_what_was_tested(small_digits: ImageTask) -> None:
    config = PLAIN.model_copy(update={"epochs": 4, "n_train": None})
    seen: list[EpochRecord] = []
    trained = train(small_digits, NETWORK, config, seed=0, progress=seen.append)
    assert tuple(seen) == trained.history
    assert trained.history[-1].test_accuracy > 0.8
    assert all(record.similarity_loss is None for record in trained.history)
    assert trained.layers == ()
    task = small_digits.subset(None, 100)
    images, labels = torch.from_numpy(task.test_images), torch.from_numpy(task.test_labels)
    last = trained.history[-1]
    assert evaluate(trained.network(), images, labels) == (last.test_loss, last.test_accuracy)
    with torch.no_grad():
        logits = trained.network()(images.float() / 255)
    assert last.test_loss == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    assert all(v.is_contiguous() and v.device.type == "cpu" for v in trained.state_dict.values())


def test_seed_decides_everything(small_digits: ImageTask, teacher: SimilarityTeacher) -> None:
    config = TAUGHT.model_copy(update={"epochs": 1})
    torch.manual_seed(1)
    a = train(small_digits, NETWORK, config, seed=0, teacher=teacher)
    torch.manual_seed(2)
    b = train(small_digits, NETWORK, config, seed=0, teacher=teacher)
    c = train(small_digits, NETWORK, config, seed=1, teacher=teacher)
    assert_same_weights(a, b)
    assert without_time(a.history) == without_time(b.history)
    assert not torch.equal(a.state_dict["stem.0.weight"], c.state_dict["stem.0.weight"])


def test_a_teacher_of_no_weight_changes_nothing(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    """So a network with a teacher and one without differ by what was taught alone."""
    plain = train(small_digits, NETWORK, PLAIN, seed=0)
    silent = TAUGHT.model_copy(update={"regularizer": RegularizerConfig(n_stimuli=9, alpha=0)})
    assert_same_weights(train(small_digits, NETWORK, silent, seed=0, teacher=teacher), plain)


def test_stimuli_move_the_running_statistics_only_if_asked_to(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    tracked = []
    for batchnorm in ("task", "both"):
        regularizer = RegularizerConfig(n_stimuli=9, alpha=0, batchnorm=batchnorm)
        config = TAUGHT.model_copy(update={"epochs": 1, "regularizer": regularizer})
        trained = train(small_digits, NETWORK, config, seed=0, teacher=teacher)
        tracked.append(int(trained.state_dict["stem.1.num_batches_tracked"]))
    assert tracked == [5, 10]  # 320 images make 5 steps


def test_only_weights_of_convolutions_and_linear_layers_decay(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    training = Training(small_digits, NETWORK, TAUGHT, seed=0, teacher=teacher)
    decayed = {
        id(p) for group in training.optimizer.param_groups if group["weight_decay"]
        for p in group["params"]
    }  # fmt: skip
    names = {name for name, p in training.network.named_parameters() if id(p) in decayed}
    modules = dict(training.network.named_modules())
    expected = {
        f"{name}.weight"
        for name, module in modules.items()
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)
    }
    assert names == expected
    assert len(decayed) == len(names)  # the layer weights of Eq. 10 do not decay either
    n_optimised = sum(len(group["params"]) for group in training.optimizer.param_groups)
    assert n_optimised == len(list(training.network.parameters())) + 1


# -- what is learned from a teacher --------------------------------------------------------


def test_taught_similarity_holds_for_images_never_shown(
    small_digits: ImageTask, teacher: SimilarityTeacher, stimuli: np.ndarray
) -> None:
    config = TAUGHT.model_copy(update={"epochs": 4, "n_train": 960})
    taught = train(small_digits, NETWORK, config, seed=0, teacher=teacher)
    plain = train(small_digits, NETWORK, config.model_copy(update={"regularizer": None}), seed=0)
    held_out = stimuli[180:]
    target = edge_similarity(held_out)
    pairs = np.triu_indices(len(held_out), 1)
    gamma = taught.history[-1].layer_weights
    errors, correlations = [], []
    for trained in (taught, plain):
        read = LayerReader(trained.network(), taught.layers)
        with torch.inference_mode():
            flat = [flatten_features(f) for f in read(prepare_stimuli(held_out, 1))]
        layers = [cosine_similarity(f - f.mean(0)).numpy() for f in flat]
        similarity = np.tensordot(gamma, layers, 1)
        errors.append(np.abs(similarity - target)[pairs].mean())
        correlations.append(np.corrcoef(similarity[pairs], target[pairs])[0, 1])
    assert errors[0] < 0.7 * errors[1]
    assert correlations[0] > correlations[1] + 0.05
    losses = [record.similarity_loss for record in taught.history]
    assert losses[-1] < losses[0] / 2  # type: ignore[operator]
    assert sum(gamma) == pytest.approx(1)
    assert taught.history[-1].test_accuracy > 0.5  # it still learns its task


def test_one_step_follows_the_gradient_of_the_weighted_sum(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    """Eq. 7: the joint gradient less the task's is alpha times that of the similarity loss."""
    gradients = {}
    for alpha in (0.0, 1.0, 3.0):
        regularizer = RegularizerConfig(n_stimuli=9, alpha=alpha)
        config = TAUGHT.model_copy(update={"regularizer": regularizer})
        training = Training(small_digits, NETWORK, config, seed=0, teacher=teacher)
        training.step(*first_images(small_digits, 32), learning_rate=0.0)
        weight = training.network.get_parameter("stage1.0.conv1.weight")
        gradients[alpha] = weight.grad
    similarity = gradients[1.0] - gradients[0.0]  # type: ignore[operator]
    assert similarity.abs().max() > 0
    torch.testing.assert_close(
        gradients[3.0] - gradients[0.0],  # type: ignore[operator]
        3 * similarity,
        rtol=1e-3,
        atol=1e-5,
    )


def test_a_step_of_no_alpha_learns_the_task_alone(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    taught = Training(small_digits, NETWORK, TAUGHT, seed=0, teacher=teacher)
    plain = Training(small_digits, NETWORK, PLAIN, seed=0)
    taught.step(*first_images(small_digits, 32), 0.1, 0.0)
    plain.step(*first_images(small_digits, 32), 0.1)
    assert_same_weights(taught.result(), plain.result())


def test_only_the_layers_asked_for_are_taught(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    """What comes after the last of them learns of the teacher by no gradient."""
    gradients = {}
    for alpha in (0.0, 10.0):
        regularizer = RegularizerConfig(n_stimuli=9, alpha=alpha, layers=("stage2", "stem"))
        config = TAUGHT.model_copy(update={"regularizer": regularizer})
        training = Training(small_digits, NETWORK, config, seed=0, teacher=teacher)
        training.step(*first_images(small_digits, 32), 0.1)
        gradients[alpha] = dict(training.network.named_parameters())
    assert training.layers == ("stem", "stage2")
    assert len(training.lesson.layer_weights) == 2
    same = {
        name.partition(".")[0]
        for name, parameter in gradients[0.0].items()
        if torch.equal(parameter.grad, gradients[10.0][name].grad)  # type: ignore[arg-type]
    }
    assert same == {"stage3", "stage4", "classifier"}


def test_a_layer_that_is_not_there_is_refused_with_those_there_are(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    regularizer = RegularizerConfig(n_stimuli=9, layers=("stem", "layer3"))
    config = TAUGHT.model_copy(update={"regularizer": regularizer})
    with pytest.raises(ValueError, match="layers: layer3 are not .*: stem, stage1, stage2, stage3"):
        Training(small_digits, NETWORK, config, seed=0, teacher=teacher)


@pytest.mark.parametrize("as_floats", [False, True])
def test_stimuli_that_are_held_out_and_what_is_said_of_them_change_nothing(
    small_digits: ImageTask, stimuli: np.ndarray, as_floats: bool
) -> None:
    held_out = np.arange(0, 60, 3)
    shown = stimuli[:60].astype(np.float32) if as_floats else stimuli[:60]
    first = SimilarityTeacher("edges", shown, edge_similarity(shown), held_out)
    other, said = shown.copy(), first.similarity.copy()
    other[held_out] = 255 - other[held_out]
    said[held_out] = said[:, held_out] = -0.9
    config = TAUGHT.model_copy(update={"epochs": 1, "n_train": 128})
    trained = [
        train(small_digits, NETWORK, config, seed=0, teacher=teacher)
        for teacher in (first, SimilarityTeacher("edges", other, said, held_out))
    ]
    assert_same_weights(*trained)
    everything = train(small_digits, NETWORK, config, 0, teacher=replace(first, held_out=[]))
    assert not torch.equal(
        everything.state_dict["stem.0.weight"], trained[0].state_dict["stem.0.weight"]
    )


def test_stimuli_that_teach_must_be_enough_for_a_step(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    most = replace(teacher, held_out=np.arange(8, 180))
    with pytest.raises(ValueError, match="n_stimuli: 9, expected 2 to 8"):
        Training(small_digits, NETWORK, TAUGHT, seed=0, teacher=most)


# -- precision -----------------------------------------------------------------------------


@pytest.mark.parametrize("with_teacher", [False, True])
def test_losses_stay_in_single_precision_where_a_networks_passes_do_not(
    small_digits: ImageTask, teacher: SimilarityTeacher, with_teacher: bool
) -> None:
    """And near those of single precision throughout, from which they do differ."""
    losses = {}
    for precision in ("float32", "bfloat16"):
        config = (TAUGHT if with_teacher else PLAIN).model_copy(update={"precision": precision})
        taught_by = teacher if with_teacher else None
        training = Training(small_digits, NETWORK, config, seed=0, teacher=taught_by)
        seen: list[torch.dtype] = []
        training.network.get_submodule("classifier").register_forward_hook(
            lambda _, __, out, seen=seen: seen.append(out.dtype)
        )
        losses[precision] = training.step(*first_images(small_digits, 32), 0.1)
        assert losses[precision].dtype == torch.float32
        assert torch.isfinite(losses[precision]).all()
        assert seen == [getattr(torch, precision)]
        assert {p.grad.dtype for p in training.network.parameters()} == {torch.float32}  # type: ignore[union-attr]
    exact, mixed = losses["float32"][:2], losses["bfloat16"][:2]
    torch.testing.assert_close(mixed, exact, rtol=0.05, atol=0.02)
    there = slice(1 + with_teacher)
    assert (mixed != exact)[there].all()
    assert (mixed != mixed.bfloat16())[there].all()  # they were never rounded to that


# -- where it starts -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 7])
def test_a_training_starts_with_the_initial_network_of_its_seed(
    small_digits: ImageTask, teacher: SimilarityTeacher, seed: int
) -> None:
    initial = initial_network(NETWORK, 1, 10, seed)
    assert initial.training
    for config, taught_by in ((PLAIN, None), (TAUGHT, teacher)):
        start = Training(small_digits, NETWORK, config, seed, teacher=taught_by).network
        for name, value in start.state_dict().items():
            assert torch.equal(initial.state_dict()[name], value), name
    other = initial_network(NETWORK, 1, 10, seed + 1)
    assert not torch.equal(other.state_dict()["stem.0.weight"], start.state_dict()["stem.0.weight"])


# -- what is refused -----------------------------------------------------------------------


def test_a_network_that_answers_for_other_classes_is_refused(
    small_digits: ImageTask, tmp_path: Path
) -> None:
    """Trained on ten of a thousand outputs, it could answer with the others."""
    code = (
        "from torch import nn\n"
        "def thousand(n_channels, n_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(n_channels * 16 * 16, 1000))\n"
    )
    message = r"network: answered with shape \(64, 1000\), expected logits of shape \(64, 10\)"
    with (
        installed_package(tmp_path, "mylab_thousand", code, {}),
        pytest.raises(TrainingError, match=message),
    ):
        train(small_digits, NetworkConfig(architecture="mylab_thousand:thousand"), PLAIN, seed=0)


def test_teacher_and_regularizer_come_together(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    with pytest.raises(TrainingError, match="teacher: 'edges' given, but config.regularizer"):
        train(small_digits, NETWORK, PLAIN, seed=0, teacher=teacher)
    with pytest.raises(TrainingError, match="there is no teacher"):
        train(small_digits, NETWORK, TAUGHT, seed=0)


def test_divergence_names_the_epoch_and_the_remedy(small_digits: ImageTask) -> None:
    config = PLAIN.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match="epoch 0: .*lower learning_rate"):
        train(small_digits, NETWORK, config, seed=0)


def test_divergence_of_a_taught_network_names_alpha(
    small_digits: ImageTask, teacher: SimilarityTeacher
) -> None:
    regularizer = RegularizerConfig(n_stimuli=9, alpha=1e38)
    config = TAUGHT.model_copy(update={"regularizer": regularizer})
    with pytest.raises(TrainingError, match=r"lower learning_rate or regularizer\.alpha"):
        train(small_digits, NETWORK, config, seed=0, teacher=teacher)


def test_views_and_read_only_images_can_be_trained_on(small_digits: ImageTask) -> None:
    subset = small_digits.subset(128, 20)
    task = replace(subset, train_images=subset.train_images[:, :, :, ::-1])
    task.train_images.flags.writeable = False
    config = PLAIN.model_copy(update={"epochs": 1, "n_train": None, "n_test": None})
    assert len(train(task, NETWORK, config, seed=0).history) == 1


def test_training_leaves_global_random_state_alone(small_digits: ImageTask) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(small_digits, NETWORK, PLAIN.model_copy(update={"epochs": 1}), seed=0)
    assert torch.equal(torch.rand(3), expected)
    assert build_network(NETWORK, 1, 10, 0).training


# -- the validation part -----------------------------------------------------------------------


HELD_OUT = PLAIN.model_copy(update={"hold_out_validation": True})


def test_accuracy_on_the_validation_part_is_that_of_images_never_learned(
    small_digits: ImageTask, tmp_path: Path
) -> None:
    task = small_digits.with_validation()
    assert task.validation_images is not None and task.validation_labels is not None
    seen: list[set[bytes]] = []

    class Watched(Training):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]
            batches = list(self.task_batches(0))
            seen.append({image.numpy().tobytes() for batch, _ in batches for image in batch})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("regularized_training.training.Training", Watched)
        trained = train(small_digits, NETWORK, HELD_OUT, 0, checkpoint=tmp_path / "one.pt")
    assert len(seen[0]) > 300
    assert not seen[0] & {image.tobytes() for image in task.validation_images}
    images, labels = map(torch.tensor, (task.validation_images, task.validation_labels))
    _, accuracy = evaluate(trained.network(), images, labels)
    assert trained.history[-1].validation_accuracy == accuracy
    assert len(labels) == pytest.approx(len(small_digits.train_labels) / 10, abs=5)


def test_all_images_are_learned_unless_it_is_held_out(small_digits: ImageTask) -> None:
    whole = PLAIN.model_copy(update={"epochs": 1, "n_train": None})
    [record] = train(small_digits, NETWORK, whole, 0).history
    assert record.validation_accuracy is None
    assert "hold_out_validation" not in TrainingConfig().described()
