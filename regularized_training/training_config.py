"""How a task network is trained, as a configuration."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from predictive_model.config import Config, added
from regularized_training.hardening_config import Hardened
from regularized_training.lessons.config import AnyLesson
from regularized_training.robustness.corruptions.config import (
    Corruption,
    is_corruption,
    require_severities,
)
from regularized_training.robustness.noise_levels import NoiseKind, require_levels
from regularized_training.tasks.config import AugmentConfig


class DistortedConfig(Config):
    """Distorted images in training: the oracle of Safarani et al. 2021, after Chen et al. 2020.

    Each batch is shown twice, as it is and distorted, so that half of what the network learns is
    clean; each image has a distortion and a level of its own, drawn at random. A second loss pulls
    the features of the same image together at the end of the trunk: here those of the clean and
    the distorted one, in the paper those of two different corruptions. Then, if `retrained`, the
    trunk is frozen and all that comes after it is trained anew, by the same settings and on clean
    images alone: such a network is as robust as a shared trunk can make it.

    Attributes
    ----------
    by : dict of str to tuple of float
        Kinds of noise and their levels, as of
        :class:`~regularized_training.robustness.noise.NoiseConfig`, and corruptions and their
        severities, as of
        :class:`~regularized_training.robustness.corruptions.config.CorruptionConfig`; all are as
        likely.
    layer : str
        The end of the trunk: ``features.16``, conv3-1 after its nonlinearity, of ``vgg19_bn``.
    distance : float
        Weight of the second loss, the squared Euclidean distance between the features of the clean
        and of the distorted image over the number of features. The paper gives neither.
    retrained : bool
    """

    by: dict[NoiseKind | Corruption, tuple[float, ...]]
    layer: str
    distance: float = Field(default=1.0, ge=0)
    retrained: bool = True

    @model_validator(mode="after")
    def _check(self) -> DistortedConfig:
        if not self.by:
            raise ValueError(
                "by: no kind of distortion, expected at least one with its levels, as "
                "gaussian = [0.1, 0.2]"
            )
        for kind, levels in self.by.items():
            try:
                if is_corruption(kind):
                    require_severities(levels)
                else:
                    require_levels(levels, kind)
            except ValueError as error:
                raise ValueError(f"by.{kind}: {error}") from error
        return self


class TrainingConfig(Config):
    """How to train, with the schedule of Li et al. 2019 by default.

    Attributes
    ----------
    epochs, batch_size : int
        40 and 64 in the paper.
    schedule : {"restart", "one_cycle", "constant", "plateau"}
        ``restart``: multiply the learning rate by `decay` every `decay_every` epochs and start
        over at each multiple of `restart_epoch`. ``one_cycle``: rise linearly during the fraction
        `warmup` of the training, then fall to zero along a cosine, which gets by with few epochs.
        ``plateau``: multiply by `decay` when accuracy on the validation part stalls, and stop
        after `reductions`, or after `epochs` if they come first; as Safarani et al. 2021.
    learning_rate : float
        The highest of the schedule.
    decay : float
        Of ``restart`` and ``plateau``: what the learning rate is multiplied by.
    decay_every, restart_epoch
        Of ``restart``.
    patience : int
        Of ``plateau``: epochs in a row without improvement after which the learning rate is
        reduced. The released code of Safarani et al., whose paper has 5, waits one more.
    threshold : float
        Of ``plateau``: an improvement is more than this above the best so far; of accuracy, which
        is at most 1.
    reductions : int
        Of ``plateau``: the training stops when the learning rate would be reduced the last of so
        many times.
    best_epoch : bool
        Keep the weights of the epoch with the highest accuracy on the validation part, the first
        of several, rather than those of the last one. With ``plateau`` the training also goes on
        from these weights whenever the learning rate is reduced, as in the released code of
        Safarani et al. Both need `hold_out_validation`.
    warmup : float
        Of ``one_cycle``.
    optimizer : {"sgd", "adam"}
    momentum : float
        Of stochastic gradient descent.
    weight_decay : float
    weight_decay_of : {"weights", "all"}
        What it acts on: the weights of convolutions and linear layers of the network; or its biases
        and batch normalisation as well, as with Safarani et al. 2021. A lesson says for itself what
        of its own decays.
    augment : AugmentConfig
        Random crops, mirror images and rotations.
    n_train, n_test : int, optional
        Number of images to use, evenly over the classes and the same ones for every seed.
    hold_out_validation : bool
        Train without the validation part of the task, a tenth of its training images, and measure
        accuracy on it after each epoch. By default the network learns all of them, as published.
    shuffled_labels : float
        Fraction of the training images whose labels are shuffled among them, which keeps the
        number of each class; the seed chooses them.
    labels : str, optional
        Learn these labels of the training images in place of the right ones: a label set of the
        image set, as ``worst`` of CIFAR-10N, labels that people gave. Images are chosen by the
        right labels, which are also those of the test and the validation part.
    labels_digest : str, optional
        Which labels these were when the training was planned; whoever plans it fills it in.
    precision : {"float32", "bfloat16"}
        Of the network's passes, by torch's automatic mixed precision. The losses are float32 in
        either case. ``bfloat16`` is for GPUs and processors with instructions for it; others are
        far slower with it.
    regularizer : LessonConfig, optional
        How to learn from a teacher: as Li et al. 2019, as Federer et al. 2020, or by another
        lesson; None to train on the task alone.
    devices : int
        Of a machine, each of which has an equal part of every batch; its own part is what a device
        normalises by, and whose stimuli it compares. The processors count as any number of devices.
    distorted : DistortedConfig, optional
        Learn distorted images as well, which no teacher is needed for.
    hardened : PgdConfig or NoiseConfig, optional
        Learn adversarial or noisy images instead, beside a teacher or without one:
        ``{ method = "pgd", epsilon = 0.03 }``, ``{ method = "noise", deviation = 0.1 }``.
    graph : bool
        Record a step as a CUDA graph, which saves launching each of its operators anew, most of the
        time that a small network takes; of one device. Not for the lesson ``cca``, in which the
        host waits for matrices to be decomposed. Results are the same up to rounding.
    """

    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=64, ge=2)
    schedule: Literal["restart", "one_cycle", "constant", "plateau"] = "restart"
    learning_rate: float = Field(default=0.1, gt=0)
    decay_every: int = Field(default=4, ge=1)
    decay: float = Field(default=0.3, gt=0, le=1)
    restart_epoch: int = Field(default=20, ge=1)
    warmup: float = Field(default=0.2, ge=0, lt=1)
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    augment: AugmentConfig = AugmentConfig()
    n_train: int | None = Field(default=None, ge=2)
    n_test: int | None = Field(default=None, ge=1)
    shuffled_labels: float = Field(default=0.0, ge=0, le=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    regularizer: AnyLesson | None = None
    hold_out_validation: bool = added(False, since="0.2.0")
    patience: int = added(5, since="0.2.0", ge=1)
    threshold: float = added(1e-4, since="0.2.0", ge=0, lt=1)
    reductions: int = added(5, since="0.2.0", ge=1)
    best_epoch: bool = added(False, since="0.2.0")
    weight_decay_of: Literal["weights", "all"] = added("weights", since="0.2.0")
    devices: int = added(1, since="0.2.0", ge=1, le=64)
    distorted: DistortedConfig | None = added(None, since="0.2.0")
    graph: bool = added(False, since="0.2.0")
    hardened: Hardened | None = added(None, since="0.2.0")
    labels: str | None = added(None, since="0.2.0", min_length=1, max_length=32)
    labels_digest: str | None = added(None, since="0.2.0", pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _check(self) -> TrainingConfig:
        if self.n_train is not None and self.n_train < self.batch_size:
            raise ValueError(
                f"batch_size: {self.batch_size}, expected 2 to {self.n_train}, the value of n_train"
            )
        for asking, asked in (
            ("schedule = 'plateau'", self.schedule == "plateau"),
            ("best_epoch = true", self.best_epoch),
        ):
            if asked and not self.hold_out_validation:
                raise ValueError(
                    f"hold_out_validation: false, expected true with {asking}, which goes by "
                    "accuracy on the validation part"
                )
        if self.labels is not None and self.shuffled_labels:
            raise ValueError(
                f"labels: {self.labels!r} beside shuffled_labels, both of which say which wrong "
                "labels are learned; leave out one of the two"
            )
        if self.labels is None and self.labels_digest is not None:
            raise ValueError("labels_digest: given without labels; leave it out")
        if self.batch_size % self.devices or self.batch_size < 2 * self.devices:
            raise ValueError(
                f"devices: {self.devices}, expected a divisor of batch_size, which is "
                f"{self.batch_size}, with at least 2 images for each"
            )
        stimuli = self.devices if self.regularizer is None else self.regularizer.n_stimuli
        if stimuli % self.devices:
            raise ValueError(
                f"devices: {self.devices}, expected a divisor of regularizer.n_stimuli, which is "
                f"{stimuli}"
            )
        if self.graph and self.devices > 1:
            raise ValueError(
                f"graph: true with devices = {self.devices}, expected one device; leave out one of "
                "the two"
            )
        if self.graph and self.distorted is not None and any(map(is_corruption, self.distorted.by)):
            raise ValueError(
                "graph: true with corruptions in distorted.by, which are drawn and chosen on the "
                "host; leave out graph, or distort by kinds of noise"
            )
        if self.hardened is not None and self.distorted is not None:
            raise ValueError(
                "hardened: given beside distorted, both of which say what is learned in place of "
                "images; leave out one of the two"
            )
        if self.graph and self.hardened is not None and self.hardened.method == "pgd":
            raise ValueError(
                "graph: true with hardened.method = 'pgd', which takes gradients within a step; "
                "leave out graph"
            )
        if self.graph and self.regularizer is not None and self.regularizer.waits:
            lesson = getattr(self.regularizer, "method", "li")
            raise ValueError(
                f"graph: true with the lesson {lesson}, expected one whose loss does not make the "
                "host wait for a GPU; leave out graph"
            )
        if self.distorted is not None and self.regularizer is not None:
            raise ValueError(
                "distorted: given beside a regularizer, but what is learned from distorted images "
                "is the measure of what a teacher brings; leave one of them out, or give it to a "
                "teacher of the kind none in an experiment file"
            )
        if self.schedule == "plateau" and self.decay == 1:
            raise ValueError("decay: 1, expected less than 1 with schedule = 'plateau'")
        return self

    def learning_rate_at(self, epoch: float, reduced: int = 0) -> float:
        """Learning rate at an epoch, which need not be a whole number.

        Parameters
        ----------
        epoch : float
        reduced : int
            How often it has been reduced before, of ``plateau``.
        """
        if self.schedule == "plateau":
            return self.learning_rate * self.decay**reduced
        if self.schedule == "restart":
            return self.learning_rate * self.decay ** (
                int(epoch) % self.restart_epoch // self.decay_every
            )
        if self.schedule == "constant":
            return self.learning_rate
        done = epoch / self.epochs
        if done < self.warmup:
            return self.learning_rate * done / self.warmup
        return (
            self.learning_rate
            * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))
            / 2
        )

    def alpha_at(self, epoch: float) -> float:
        """Weight of the teacher's loss at an epoch; 0 without a regulariser."""
        if self.regularizer is None:
            return 0.0
        return self.regularizer.alpha_at(epoch, self.epochs)
