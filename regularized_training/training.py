"""Train a task network, alone or with a teacher: one loop, deterministic and resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from predictive_model.checkpoint import load_checkpoint, save_checkpoint
from predictive_model.digest import array_digest, fingerprint
from predictive_model.randomness import Draws
from regularized_training import parallel
from regularized_training.lessons.lesson import Lesson
from regularized_training.networks.architectures import build_network, load_network
from regularized_training.networks.compared import compared_layers
from regularized_training.networks.config import NetworkConfig
from regularized_training.plateau import best_epoch, n_reductions
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.config import ImagePart
from regularized_training.tasks.image_task import ImageTask
from regularized_training.tasks.picture_task import PictureTask
from regularized_training.tasks.source import Batches, image_source
from regularized_training.training_config import TrainingConfig

if TYPE_CHECKING:
    from regularized_training.teachers.any_teacher import Teacher

TEST_BATCH = 256
CHECKPOINT_SHARE = 0.1  # of the time, at most, goes into writing checkpoints
STEPS_BETWEEN_CHECKS = 50  # of the loss being finite, since each makes a GPU wait


class TrainingError(ValueError):
    """A training that cannot go on: says where it stopped and what to change."""


@dataclass(frozen=True)
class EpochRecord:
    """What an epoch came to.

    Attributes
    ----------
    epoch : int
        From 0.
    task_loss : float
        Cross-entropy in nats, mean over the steps.
    similarity_loss : float or None
        The teacher's: Eq. 8 of Li et al. 2019, the cost of an RSM, or what else its lesson has for
        a loss; mean over its batches, before it is weighed; None without a teacher, and where it
        rested.
    train_accuracy : float
        Of the augmented training images, while the network was changing.
    test_loss, test_accuracy : float
        Of all test images, after the epoch; cross-entropy in nats. Less ``task_loss`` it is the
        generalisation gap of Federer et al. 2020.
    learning_rate : float
        Of the last step.
    layer_weights : tuple of float
        The gamma of Eq. 10, after the epoch; empty without a teacher, or where layers have none.
    seconds : float
        Wall time, testing included.
    validation_accuracy : float or None
        Of the validation part, after the epoch; None unless it is held out.
    measures : dict of str to float
        What else the lesson has learned, after the epoch.
    """

    epoch: int
    task_loss: float
    similarity_loss: float | None
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    layer_weights: tuple[float, ...]
    seconds: float
    validation_accuracy: float | None = None
    measures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """Weights, and all it takes to use them and to know where they came from.

    Attributes
    ----------
    state_dict : dict of str to Tensor
        On the CPU, contiguous.
    history : tuple of EpochRecord
        Of all epochs, also those after `epoch`.
    network_config : NetworkConfig
    config : TrainingConfig
    seed : int
    n_channels, n_classes : int
    layers : tuple of str
        Layers compared with the teacher, in the order of ``EpochRecord.layer_weights``; empty
        without a teacher.
    lesson_state : dict of str to Tensor
        What the lesson has learned and kept, on the CPU; empty without a teacher.
    """

    state_dict: dict[str, Tensor]
    history: tuple[EpochRecord, ...]
    network_config: NetworkConfig
    config: TrainingConfig
    seed: int
    n_channels: int
    n_classes: int
    layers: tuple[str, ...]
    lesson_state: dict[str, Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """The epoch that the weights are of, from 0: the last, unless the best is kept."""
        return _kept_epoch(self.config, self.history)

    def network(self) -> nn.Module:
        """The network, on the CPU and in evaluation mode."""
        return load_network(self.network_config, self.n_channels, self.n_classes, self.state_dict)


def train(
    task: ImageTask | PictureTask,
    network_config: NetworkConfig,
    config: TrainingConfig,
    seed: int,
    *,
    teacher: Teacher | None = None,
    device: str | torch.device = "cpu",
    reading_processes: int = 0,
    checkpoint: Path | None = None,
    progress: Callable[[EpochRecord], None] | None = None,
) -> TrainedNetwork:
    """Train a network on a task and, with a teacher, toward its similarity.

    Started by ``torchrun`` and after ``torch.distributed.init_process_group``, each process takes
    an equal part of every batch of images and of stimuli, and all end with the same network; see
    ``regularized_training.parallel``.

    Seed, config and data decide the result: on one machine with a given number of threads it is
    the same to the bit, also if the training was killed and resumed from its checkpoint. With the
    same seed, a network with a teacher and one without start from the same weights and see the
    same task images in the same order.

    Parameters
    ----------
    task : ImageTask or PictureTask
        In memory, or in files that are read as they are needed.
    network_config : NetworkConfig
    config : TrainingConfig
    seed : int
    teacher : Teacher, optional
        Needed exactly if ``config.regularizer`` is given.
    device : str or torch.device
    reading_processes : int
        That read pictures from files beside this one; they change no bit.
    checkpoint : Path, optional
        Written after the first step and the last epoch, and between them as often as takes no
        more than ``CHECKPOINT_SHARE`` of the time, by several processes at the end of epochs. If
        it exists, the training goes on where it stopped.
    progress : callable, optional
        Called after each epoch, once a checkpoint that is due is written.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    TrainingError
        If the loss stops being finite, or there is a teacher without a regulariser or a
        regulariser without a teacher.
    CheckpointError
        If the checkpoint cannot be read or is that of another training.
    """
    if config.hold_out_validation:
        task = task.with_validation()
    task = task.subset(config.n_train, config.n_test)
    if config.shuffled_labels:
        task = task.with_shuffled_labels(config.shuffled_labels, seed)
    training = Training(
        task,
        network_config,
        config,
        seed,
        teacher=teacher,
        device=device,
        reading_processes=reading_processes,
    )
    if checkpoint is not None:
        belongs_to = _fingerprint(task, network_config, config, seed, teacher)
        state = load_checkpoint(checkpoint, belongs_to=belongs_to)
        if state is not None:
            training.load_state_dict(state)
        parallel.require_alike(len(training.history), "epochs in the checkpoint")
    saving = None
    if checkpoint is not None and parallel.is_first():
        saving = _Saving(training, checkpoint, belongs_to)
    while not training.finished:
        # Several processes have to stop at the same step, so that they resume from whole epochs.
        alone = parallel.world_size() == 1
        record = training.run_epoch(saving.if_due if saving is not None and alone else None)
        if saving is not None:
            saving.if_due(at_last=training.finished)
        if progress is not None:
            progress(record)
    return training.result()


class _Saving:
    """Writes checkpoints, as often as takes no more than ``CHECKPOINT_SHARE`` of the time."""

    def __init__(self, training: Training, path: Path, belongs_to: str) -> None:
        self._training, self._path, self._belongs_to = training, path, belongs_to
        self._saved, self._writing = -math.inf, 0.0

    def if_due(self, *, at_last: bool = False) -> None:
        """Write one if enough time has passed since the last, or if it is the last of all."""
        now = time.perf_counter()
        if at_last or now - self._saved >= self._writing / CHECKPOINT_SHARE:
            state = self._training.state_dict()
            save_checkpoint(self._path, state, belongs_to=self._belongs_to)
            self._saved = time.perf_counter()
            self._writing = self._saved - now


@dataclass
class _Epoch:
    """An epoch under way: how far it is, and what it came to so far.

    Attributes
    ----------
    totals : (3,) Tensor
        Sums over steps of the task's loss, the teacher's loss and the number of correct answers.
    step, n_seen, n_batches : int
        Steps made, task images seen, batches that the lesson drew.
    seconds : float
        Before this process went on with it.
    """

    totals: Tensor
    step: int = 0
    n_seen: int = 0
    n_batches: int = 0
    seconds: float = 0.0


class Training:
    """A training under way: the network, its optimiser, and what they will see next.

    Parameters
    ----------
    task, network_config, config, seed, teacher, device
        As of :func:`train`, but with all images of the task, and with its validation part if it was
        taken out.
    """

    def __init__(
        self,
        task: ImageTask | PictureTask,
        network_config: NetworkConfig,
        config: TrainingConfig,
        seed: int,
        *,
        teacher: Teacher | None = None,
        device: str | torch.device = "cpu",
        reading_processes: int = 0,
    ) -> None:
        self.config, self.network_config, self.seed = config, network_config, seed
        self.history: list[EpochRecord] = []
        self.n_channels, self.n_classes = task.image_shape[0], len(task.classes)
        self.device = torch.device(device)
        self._images = image_source(task, device=device, processes=reading_processes)
        self.has_validation = self._images.labels("validation") is not None
        if config.hold_out_validation and not self.has_validation:
            raise TrainingError(
                "config.hold_out_validation: set, but the task's validation part was not taken "
                "out; give task.with_validation()"
            )
        self._best: dict[str, Any] | None = None  # weights of the best epoch, if that is kept
        init, _, _, stimuli, layers = _streams(seed)
        self._rngs = {"stimuli": torch.Generator().manual_seed(stimuli)}
        self._draws = Draws(layers, device)  # of dropout, and of whatever layers draw
        network = build_network(network_config, self.n_channels, self.n_classes, init)
        self.network = network.to(device)
        self.share = parallel.Share(min(config.batch_size, len(self._images)))
        self.layers: tuple[str, ...] = ()
        self.lesson: Lesson | None = None
        regularizer = config.regularizer
        if teacher is not None and regularizer is not None:
            self.layers = compared_layers(network_config, regularizer.layers, built=self.network)
            self.lesson = regularizer.lesson(
                self.network, self.layers, teacher, self.n_channels, self._rngs["stimuli"]
            )
        elif teacher is not None:
            raise TrainingError(
                f"teacher: {teacher.name!r} given, but config.regularizer is None; set it, or "
                "leave out the teacher"
            )
        elif regularizer is not None:
            raise TrainingError(
                "config.regularizer: set, but there is no teacher; give one, or set it to None"
            )
        self._epoch: _Epoch | None = None
        # One module for all losses, so that gradients are exchanged once a step. A lesson may rest.
        self._losses = parallel.replicated(
            _Losses(self.network, self.n_classes, self.lesson, config.precision),
            some_unused=self.lesson is not None,
        )
        self.optimizer = self._make_optimizer()

    @property
    def finished(self) -> bool:
        """Whether there is no epoch left to train."""
        done = len(self.history) >= self.config.epochs
        return done or self._reduced() >= self.config.reductions

    def task_batches(self, epoch: int, first: int = 0) -> Batches:
        """Batches of task images of an epoch, augmented, from the first one that is wanted."""
        return self._images.train_batches(
            self.config.batch_size,
            self.config.augment,
            seed=self.seed,
            epoch=epoch,
            first_batch=first,
            share=self.share,
        )

    def step(
        self,
        images: Tensor,
        labels: Tensor,
        learning_rate: float,
        strength: float | None = None,
        *,
        n_batches: int = 1,
    ) -> Tensor:
        """One step: a batch of the task, batches of the lesson, the gradients of all.

        Parameters
        ----------
        images : (batch, channels, height, width) uint8 Tensor
            On the training's device, augmented; of several processes this one's share.
        labels : (batch,) int64 Tensor
        learning_rate : float
        strength : float, optional
            Weight of the teacher's loss, or r; the configuration's by default.
        n_batches : int
            Of stimuli; 0 for a step in which the teacher has no say.

        Returns
        -------
        (3,) Tensor
            Task loss, teacher's loss summed over its batches (0 without), number of correct
            answers.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group.get("lr_factor", 1.0)
        drawn = []
        if self.lesson is not None:
            strength = self.lesson.config.alpha if strength is None else strength
            for _ in range(n_batches):
                drawn.append([self._on_device(part) for part in self.lesson.draw()])
        self.optimizer.zero_grad(set_to_none=True)
        total, losses = self._losses(to_float(images), labels, strength, drawn)
        total.backward()
        self.optimizer.step()
        return losses.detach()

    def run_epoch(self, after_step: Callable[[], None] | None = None) -> EpochRecord:
        """Train for one epoch, or for what is left of it, test, and append to the history.

        Parameters
        ----------
        after_step : callable, optional
            Called after each step.
        """
        start = time.perf_counter()
        config, n_epoch = self.config, len(self.history)
        self.network.train()
        reduced = self._reduced()
        n_steps = max(1, len(self._images) // config.batch_size)
        if self._epoch is None:
            self._epoch = _Epoch(torch.zeros(3, device=self.device))
        now = self._epoch
        start -= now.seconds
        # cuDNN's fastest algorithms may differ from run to run.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
        with exact, self._draws.own():
            batches = self.task_batches(n_epoch, now.step)
            for step, (images, labels) in enumerate(batches, now.step):
                time_of = n_epoch + (step + 0.5) / n_steps
                n_batches = 0
                if self.lesson is not None and self.lesson.config.teaches_at(time_of):
                    n_batches = self.lesson.config.batches_in(n_epoch * n_steps + step)
                rate = config.learning_rate_at(time_of, reduced)
                strength = config.alpha_at(time_of)
                now.totals += self.step(images, labels, rate, strength, n_batches=n_batches)
                now.step += 1
                now.n_seen += len(labels) * self.share.world
                now.n_batches += n_batches
                if step % STEPS_BETWEEN_CHECKS == 0:
                    self._check_finite(now.totals, n_epoch)
                if after_step is not None:
                    now.seconds = time.perf_counter() - start
                    after_step()
        totals = self.share.summed(now.totals)
        self._check_finite(totals, n_epoch)
        for parameter in self.network.parameters():
            self._check_finite(parameter, n_epoch)
        parallel.share_buffers(self.network)
        task_loss, similarity_loss, n_correct = totals.tolist()
        test_loss, test_accuracy = self._evaluate("test")
        validation_accuracy = None
        if self.has_validation:
            _, accuracy = self._evaluate("validation")
            # The same in all processes, since it may decide how they go on.
            said = torch.tensor(accuracy, dtype=torch.float64, device=self.device)
            validation_accuracy = float(parallel.averaged(said))
        n_losses = now.n_batches * self.share.world
        record = EpochRecord(
            epoch=n_epoch,
            task_loss=task_loss / n_steps / self.share.world,
            similarity_loss=similarity_loss / n_losses if n_losses else None,
            train_accuracy=n_correct / now.n_seen,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            learning_rate=config.learning_rate_at(n_epoch + (now.step - 0.5) / n_steps, reduced),
            layer_weights=() if self.lesson is None else self.lesson.layer_weights,
            seconds=time.perf_counter() - start,
            validation_accuracy=validation_accuracy,
            measures={} if self.lesson is None else self.lesson.measures(),
        )
        self.history.append(record)
        self._epoch = None
        if self.config.best_epoch:
            self._keep_best(go_on_from_it=self._reduced() > reduced)
        return record

    def _reduced(self) -> int:
        """How often the learning rate has been reduced because accuracy stalled."""
        config = self.config
        if config.schedule != "plateau":
            return 0
        return n_reductions(
            _validation_accuracies(self.history),
            patience=config.patience,
            threshold=config.threshold,
        )

    def _keep_best(self, *, go_on_from_it: bool) -> None:
        """Keep the weights, if they are the best so far; or, if asked to, go back to those."""
        if _kept_epoch(self.config, self.history) == len(self.history) - 1:
            self._best = {
                name: {key: value.detach().clone() for key, value in part.state_dict().items()}
                for name, part in self._parts().items()
            }
        elif go_on_from_it and self._best is not None:
            for name, part in self._parts().items():
                part.load_state_dict(self._best[name])

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lesson": None if self.lesson is None else self.lesson.module.state_dict(),
            "rngs": {name: rng.get_state() for name, rng in self._rngs.items()},
            "draws": self._draws.state(),
            "history": [asdict(record) for record in self.history],
            "best": self._best,
            "epoch": None if self._epoch is None else vars(self._epoch).copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.lesson is not None:  # by another name in checkpoints of earlier versions
            name = "lesson" if "lesson" in state else "regularizer"
            self.lesson.module.load_state_dict(state[name])
        for name, rng in self._rngs.items():
            rng.set_state(state["rngs"][name])
        if "draws" in state:  # checkpoints of earlier versions have none
            self._draws.restore(state["draws"])
        self.history = [EpochRecord(**record) for record in state["history"]]
        self._best = state.get("best")
        epoch = state.get("epoch")
        if epoch is not None:
            totals = epoch["totals"].to(self.device)
            self._epoch = _Epoch(**{**epoch, "totals": totals})

    def _evaluate(self, part: ImagePart) -> tuple[float, float]:
        """Cross-entropy and accuracy on a part."""
        return evaluated(self.network, self._images.part_batches(part, TEST_BATCH))

    def _parts(self) -> dict[str, nn.Module]:
        """What is learned: the network, and what a lesson has besides."""
        return {"network": self.network} | ({"lesson": self.lesson.module} if self.lesson else {})

    def result(self) -> TrainedNetwork:
        """The network as it is now, or as it was after its best epoch if that is kept."""
        kept = self._best or {name: part.state_dict() for name, part in self._parts().items()}
        return TrainedNetwork(
            state_dict=_on_cpu(kept["network"]),
            history=tuple(self.history),
            network_config=self.network_config,
            config=self.config,
            seed=self.seed,
            n_channels=self.n_channels,
            n_classes=self.n_classes,
            layers=self.layers,
            lesson_state=_on_cpu(kept.get("lesson", {})),
        )

    def _on_device(self, drawn: Tensor) -> Tensor:
        """What was drawn on the CPU, where the network is, without waiting for it."""
        device = self.device
        return drawn.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else drawn

    def _make_optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        parameters = list(self.network.parameters())
        groups: Any = [
            {
                "params": [p for p in parameters if p.ndim > 1],
                "weight_decay": config.weight_decay,
            },
            {
                "params": [p for p in parameters if p.ndim == 1],
                "weight_decay": config.weight_decay if config.weight_decay_of == "all" else 0.0,
            },
        ]
        for group in () if self.lesson is None else self.lesson.parameter_groups():
            alike = group["weight_decay"] == groups[1]["weight_decay"]
            if alike and group.keys() == groups[1].keys():
                groups[1]["params"] += group["params"]
            else:
                groups.append(group)
        if config.optimizer == "adam":
            return torch.optim.Adam(groups, lr=config.learning_rate)
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)

    def _check_finite(self, values: Tensor, epoch: int) -> None:
        if not torch.isfinite(values).all():
            lower = "learning_rate"
            if self.lesson is not None:
                lower += f" or regularizer.{self.lesson.config.strength}"
            raise TrainingError(
                f"epoch {epoch}: the loss or the weights are no longer finite; lower {lower} "
                f"(learning_rate is {self.config.learning_rate:g})"
            )


def initial_network(config: NetworkConfig, n_channels: int, n_classes: int, seed: int) -> nn.Module:
    """The network that a training with this seed begins with, in training mode, on the CPU."""
    return build_network(config, n_channels, n_classes, _streams(seed)[0])


def _validation_accuracies(history: Sequence[EpochRecord]) -> list[float]:
    found = [record.validation_accuracy for record in history]
    return [accuracy for accuracy in found if accuracy is not None]


def _kept_epoch(config: TrainingConfig, history: Sequence[EpochRecord]) -> int:
    """The epoch whose weights a training has to show, from 0."""
    return best_epoch(_validation_accuracies(history)) if config.best_epoch else len(history) - 1


def _streams(seed: int) -> list[int]:
    """Seeds of the weights, of order, augmentation and stimuli, and of what layers draw.

    Streams of their own, so that a teacher changes nothing about the task's images.
    """
    streams = np.random.SeedSequence(seed).generate_state(5, np.uint64)
    return [int(stream >> np.uint64(1)) for stream in streams]


class _Losses(nn.Module):
    """One loss of the task's and the teacher's; both, and the number of correct answers."""

    def __init__(
        self, network: nn.Module, n_classes: int, lesson: Lesson | None, precision: str
    ) -> None:
        super().__init__()
        self.network, self._n_classes = network, n_classes
        self._lesson, self._mixed = lesson, precision == "bfloat16"
        self.learned = None if lesson is None else lesson.module

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        strength: float | Tensor | None,
        drawn: Sequence[Sequence[Tensor]],
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._mixed):
            logits = self.network(images)
            _require_logits(logits, len(images), self._n_classes)
            losses = [] if self._lesson is None else [self._lesson.loss(*one) for one in drawn]
        task_loss = F.cross_entropy(logits.float(), labels)
        total, taught = task_loss, task_loss.new_zeros(())
        if self._lesson is not None and strength is not None:
            losses = [loss.float() for loss in losses]
            total = self._lesson.total(strength, task_loss, losses)
            if losses:
                taught = torch.stack(losses).sum()
        n_correct = (logits.detach().argmax(1) == labels).sum()
        return total, torch.stack([task_loss, taught, n_correct])


def _on_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors, contiguous."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state.items()
    }


def _require_logits(logits: object, n: int, n_classes: int) -> None:
    """Raise a TrainingError if a network, which may be anyone's, answers in another form."""
    if not isinstance(logits, Tensor) or logits.shape != (n, n_classes):
        shape = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else None
        found = shape or f"a {type(logits).__name__}"
        raise TrainingError(
            f"network: answered with {found}, expected logits of shape ({n}, {n_classes}), one for "
            "each class; have its builder keep to n_classes, and return logits alone"
        )


def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Cross-entropy in nats and accuracy of a network; leaves it in evaluation mode.

    Parameters
    ----------
    network : nn.Module
    images : (n, channels, height, width) uint8 Tensor
        On the network's device.
    labels : (n,) int64 Tensor
    """
    parts = zip(images.split(TEST_BATCH), labels.split(TEST_BATCH), strict=True)
    return evaluated(network, parts)


def evaluated(network: nn.Module, parts: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """The same of images and labels that come in batches."""
    network.eval()
    totals, n = torch.zeros(2, dtype=torch.float64, device=next(network.parameters()).device), 0
    with torch.inference_mode():
        for part, answers in parts:
            logits = network(to_float(part))
            loss = F.cross_entropy(logits, answers, reduction="sum")
            totals += torch.stack([loss.double(), (logits.argmax(1) == answers).sum().double()])
            n += len(answers)
    loss, accuracy = (totals / n).tolist()
    return loss, accuracy


def _fingerprint(
    task: ImageTask | PictureTask,
    network_config: NetworkConfig,
    config: TrainingConfig,
    seed: int,
    teacher: Teacher | None,
) -> str:
    """Hash of all that decides the outcome of a training."""
    # What was added to the record since can be missing in a checkpoint.
    recorded = [f.name for f in fields(EpochRecord) if f.default is f.default_factory is MISSING]
    return fingerprint(
        history=recorded,
        network=network_config.identity(),
        config=config.described(),
        seed=seed,
        task=_described(task),
        teacher=None if teacher is None else teacher.digest(),
    )


def _described(task: ImageTask | PictureTask) -> list[Any]:
    """What tells a task's images and labels from others'."""
    if isinstance(task, PictureTask):
        return [task.digest]
    arrays = [
        getattr(task, f"{part}_{what}") for part in task.splits for what in ("images", "labels")
    ]
    return [array_digest(*arrays), task.classes]
