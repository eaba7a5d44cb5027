"""Train a task network, alone or with a teacher: one loop, deterministic and resumable."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from predictive_model.checkpoint import load_checkpoint
from predictive_model.randomness import Draws
from regularized_training import parallel
from regularized_training.analysis.accuracy import TEST_BATCH, evaluated
from regularized_training.distortions import Distorting
from regularized_training.graph import step_of
from regularized_training.hardening import hardening
from regularized_training.joint_loss import JointLoss, TrainingError, make_optimizer
from regularized_training.lessons.lesson import Lesson
from regularized_training.networks.architectures import build_network
from regularized_training.networks.compared import compared_layers
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.trunk import FrozenTrunk
from regularized_training.plateau import n_reductions
from regularized_training.streams import seeds_of
from regularized_training.tasks.config import ImagePart
from regularized_training.tasks.image_task import ImageTask
from regularized_training.tasks.labelled_task import TaskError
from regularized_training.tasks.picture_task import PictureTask
from regularized_training.tasks.source import Batches, image_source
from regularized_training.trained_network import (
    Before,
    EpochRecord,
    TrainedNetwork,
    kept_epoch,
    on_cpu,
    validation_accuracies,
)
from regularized_training.training_checkpoint import Saving, training_fingerprint
from regularized_training.training_config import TrainingConfig

if TYPE_CHECKING:
    from regularized_training.teachers.any_teacher import Teacher

STEPS_BETWEEN_CHECKS = 50  # of the loss being finite, since each makes a GPU wait


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

    With ``config.devices`` above 1, a process for each of them is started here. Each of several
    processes, also of those that ``torchrun`` starts and that call this after
    ``torch.distributed.init_process_group``, takes an equal part of every batch of images and of
    stimuli, and all end with the same network; see ``regularized_training.parallel``.

    Seed, config and data decide the result: on the processors of one machine, with a given number
    of threads, it is the same to the bit, also if the training was killed and resumed from its
    checkpoint. On GPUs so it is without a readout of responses, whose gradients are added up in any
    order. With the
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
    TaskError
        If the task has no such labels as ``config.labels`` asks for.
    TrainingError
        If the loss stops being finite, there is a teacher without a regulariser or a regulariser
        without a teacher, or fewer GPUs than devices are asked for.
    CheckpointError
        If the checkpoint cannot be read or is that of another training.
    TaskError
        If the task has no training images.
    """
    task = task.knowing(config.labels, config.labels_digest)
    if config.devices > 1 and parallel.world_size() not in (1, config.devices):
        raise TrainingError(
            f"devices: {config.devices}, but {parallel.world_size()} processes train together; "
            "start as many, or leave it at 1"
        )
    if config.devices > 1 and parallel.world_size() == 1:
        from regularized_training.several_processes import train_on_devices

        return train_on_devices(
            train,
            config.devices,
            (task, network_config, config, seed),
            teacher=teacher,
            device=device,
            reading_processes=reading_processes,
            checkpoint=checkpoint,
            progress=progress,
        )
    if not len(task.train_labels):
        raise TaskError(
            f"{task.name!r} has test images alone, for networks that others trained; import it "
            "with its training images to train on it"
        )
    if config.hold_out_validation:
        task = task.with_validation()
    task = task.subset(config.n_train, config.n_test).with_labels(config.labels)
    if config.shuffled_labels:
        task = task.with_shuffled_labels(config.shuffled_labels, seed)

    def part(before: Before | None) -> Training:
        return Training(
            task,
            network_config,
            config,
            seed,
            teacher=teacher,
            device=device,
            reading_processes=reading_processes,
            before=before,
        )

    state = None
    if checkpoint is not None:
        parallel.wait_for_all()  # one of them may be about to write it
        belongs_to = training_fingerprint(task, network_config, config, seed, teacher)
        state = load_checkpoint(checkpoint, belongs_to=belongs_to)
    before = state.get("before") if state is not None else None
    training = part(None if before is None else Before.of_state(before))
    if state is not None:
        training.load_state_dict(state)
    if checkpoint is not None:
        parallel.require_alike(len(training.history), "epochs in the checkpoint")
    while True:
        saving = None
        if checkpoint is not None and parallel.is_first():
            saving = Saving(training.state_dict, checkpoint, belongs_to)
        _run(training, saving, progress)
        if not training.is_first_part:
            return training.result()
        training = part(Before.of_result(training.result()))


def _run(
    training: Training, saving: Saving | None, progress: Callable[[EpochRecord], None] | None
) -> None:
    """Train to the end, of the first part of a training in two or of the whole."""
    n_before = 0 if training.before is None else len(training.before.history)
    while not training.finished:
        # Several processes have to stop at the same step, so that they resume from whole epochs.
        alone = parallel.world_size() == 1
        record = training.run_epoch(saving.if_due if saving is not None and alone else None)
        if saving is not None:
            saving.if_due(at_last=training.finished)
        if progress is not None:
            progress(replace(record, epoch=n_before + record.epoch))


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
    before : Before, optional
        The part in which the trunk was learned, where ``config.distorted`` asks for two; without
        it this is that part.
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
        before: Before | None = None,
    ) -> None:
        self.before = before
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
        seeds = seeds_of(seed)
        self._rngs = {"stimuli": torch.Generator().manual_seed(seeds.stimuli)}
        # Of dropout, and of whatever layers draw; the same in processes that share a checkpoint.
        self._draws = Draws(seeds.layers, device)
        network = build_network(network_config, self.n_channels, self.n_classes, seeds.weights)
        self.network = network.to(device)
        distorting, self._trunk = None, None
        if config.distorted is not None and before is None:
            distorting = Distorting(self.network, config.distorted)
        elif config.distorted is not None and before is not None:
            self._trunk = FrozenTrunk(self.network, config.distorted.layer, before.weights)
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
        change = None if config.hardened is None else hardening(self.network, config.hardened)
        # One module for all losses, so that gradients are exchanged once a step. A lesson may rest.
        self._losses = parallel.replicated(
            JointLoss(
                self.network, self.n_classes, self.lesson, config.precision, distorting, change
            ),
            some_unused=self.lesson is not None,
        )
        self.optimizer = make_optimizer(self.network, self.lesson, config)
        recorded = config.graph and self.share.world == 1
        self._step = step_of(self._losses, self.optimizer, recorded=recorded)

    @property
    def finished(self) -> bool:
        """Whether there is no epoch left to train."""
        done = len(self.history) >= self.config.epochs
        return done or self._reduced() >= self.config.reductions

    @property
    def is_first_part(self) -> bool:
        """Whether another training goes on from this one's trunk."""
        distorted = self.config.distorted
        return distorted is not None and distorted.retrained and self.before is None

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
        drawn = []
        if self.lesson is not None:
            strength = self.lesson.config.alpha if strength is None else strength
            for _ in range(n_batches):
                drawn.append([self._on_device(part) for part in self.lesson.draw()])
        return self._step(images, labels, learning_rate, strength, drawn)

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
        if self._trunk is not None:
            self._trunk.hold()
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
            validation_accuracies(self.history),
            patience=config.patience,
            threshold=config.threshold,
        )

    def _keep_best(self, *, go_on_from_it: bool) -> None:
        """Keep the weights, if they are the best so far; or, if asked to, go back to those."""
        if kept_epoch(self.config, self.history) == len(self.history) - 1:
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
            "before": None if self.before is None else self.before.state(),
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
            state_dict=on_cpu(kept["network"]),
            history=tuple(self.history),
            network_config=self.network_config,
            config=self.config,
            seed=self.seed,
            n_channels=self.n_channels,
            n_classes=self.n_classes,
            layers=self.layers,
            lesson_state=on_cpu(kept.get("lesson", {})),
            earlier=() if self.before is None else self.before.history,
        )

    def _on_device(self, drawn: Tensor) -> Tensor:
        """What was drawn on the CPU, where the network is, without waiting for it."""
        device = self.device
        return drawn.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else drawn

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
    return build_network(config, n_channels, n_classes, seeds_of(seed).weights)
