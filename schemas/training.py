"""Task networks: image sets, settings, and the trained networks with their history."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from predictive_model.digest import array_digest
from predictive_model.parts import Part
from regularized_training.networks.config import NetworkConfig as NetworkSettings
from regularized_training.tasks.config import ImagePart
from regularized_training.tasks.image_task import ImageTask, require_no_test_images
from regularized_training.tasks.labelled_task import TaskError
from regularized_training.tasks.validation import validation_indices
from regularized_training.training_config import TrainingConfig as TrainingSettings
from schemas.base import (
    PROVENANCE,
    Computed,
    Found,
    RunningState,
    computing,
    origin_recorded,
    schema,
    transaction,
)
from schemas.checkpoints import checkpoint_path
from schemas.configurations import config_row, read_config
from schemas.experiment import Experiment, Seed  # noqa: F401 - named in definitions
from schemas.stored import Attached, read_attached
from schemas.teacher_plan import ScanGroup, TeacherConfig  # noqa: F401 - likewise
from schemas.teaching import Teacher

if TYPE_CHECKING:
    from torch import nn

    from regularized_training.training import EpochRecord


@schema
class ImageSet(dj.Manual):
    """Labelled images of one size."""

    definition = """
        image_set    : varchar(64)
        ---
        n_train      : int32
        n_test       : int32
        channels     : int16
        height       : int16
        width        : int16
        classes      : json
        source       : varchar(255)
        digest       : char(64)      # of all arrays and the classes
        train_images : <npy@main>    # (n, channels, height, width) uint8
        train_labels : <npy@main>    # (n,)
        test_images  : <npy@main>
        test_labels  : <npy@main>
    """

    @classmethod
    def add(cls, task: ImageTask, *, source: str) -> bool:
        """Insert an image set and its superclasses; False if the very same is there already.

        Raises
        ------
        TaskError
            If another image set has this name, or this one other superclasses, or if an image
            stands in its training and in its test part.
        """
        arrays = (task.train_images, task.train_labels, task.test_images, task.test_labels)
        digest = array_digest(*arrays, np.array(task.classes))
        present = (cls & {"image_set": task.name}).to_arrays("digest")
        if len(present):
            if present[0] == digest:
                return Superclasses.add(task)
            raise TaskError(
                f"name: the database has another image set named {task.name!r}; choose another "
                "name, or delete it and all that was made of it: "
                f"(ImageSet & {{'image_set': {task.name!r}}}).delete()"
            )
        require_no_test_images(task)
        channels, height, width = task.image_shape
        with transaction(cls.connection):
            cls.insert1(
                dict(
                    image_set=task.name,
                    n_train=len(task.train_images),
                    n_test=len(task.test_images),
                    channels=channels,
                    height=height,
                    width=width,
                    classes=list(task.classes),
                    source=source[:255],
                    digest=digest,
                    train_images=task.train_images,
                    train_labels=task.train_labels,
                    test_images=task.test_images,
                    test_labels=task.test_labels,
                )
            )
            Superclasses.add(task)
        return True

    @classmethod
    def images_of(
        cls, key: Mapping[str, Any], part: ImagePart
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images of the test or the validation part, and their classes; no others are kept.

        Nothing is read for the test part but its own arrays. The validation part is among the
        training images, which have to be read to know it.
        """
        split = "test" if part == "test" else "train"
        row = cls & {"image_set": key["image_set"]}
        images, labels = map(np.asarray, row.fetch1(f"{split}_images", f"{split}_labels"))
        if part == "test":
            return images, labels
        chosen = validation_indices(images, labels)
        return images[chosen], labels[chosen]

    @classmethod
    def labels_of(cls, key: Mapping[str, Any], part: ImagePart) -> NDArray[np.int64]:
        """Their classes alone, for which no test image is read."""
        if part == "validation":
            return cls.images_of(key, part)[1]
        return np.asarray((cls & {"image_set": key["image_set"]}).fetch1("test_labels"))

    @classmethod
    def load(cls, key: dict[str, Any]) -> ImageTask:
        """The image set, in memory."""
        row = (cls & {"image_set": key["image_set"]}).fetch1()
        return ImageTask(
            name=row["image_set"],
            train_images=np.asarray(row["train_images"]),
            train_labels=np.asarray(row["train_labels"]),
            test_images=np.asarray(row["test_images"]),
            test_labels=np.asarray(row["test_labels"]),
            classes=tuple(row["classes"]),
            superclasses=Superclasses.of(key["image_set"]),
        )


@schema
class Superclasses(dj.Manual):
    """Superclasses of an image set: which of its errors are the smaller ones."""

    extends = "ImageSet"  # goes wherever its image set goes

    definition = """
        -> ImageSet
        ---
        superclasses : json    # of each class, in the order of the classes
    """

    @classmethod
    def add(cls, task: ImageTask) -> bool:
        """Insert those of a task; False if it has none, or the very same are there already.

        Raises
        ------
        TaskError
            If the image set has others.
        """
        if not task.superclasses:
            return False
        present = cls.of(task.name)
        if not present:
            cls.insert1({"image_set": task.name, "superclasses": list(task.superclasses)})
        elif present != task.superclasses:
            raise TaskError(
                f"superclasses: image set {task.name!r} has others in the database; choose another "
                "name, or delete them and all that was made of them: "
                f"(Superclasses & {{'image_set': {task.name!r}}}).delete()"
            )
        return not present

    @classmethod
    def of(cls, image_set: str) -> tuple[str, ...]:
        """Superclass of each class; empty where there are none."""
        found = (cls & {"image_set": image_set}).to_dicts()
        return tuple(found[0]["superclasses"]) if found else ()


@schema
class NetworkConfig(dj.Lookup):
    """Which network."""

    definition = """
        network_hash : char(16)
        ---
        architecture : varchar(128) # ours, torchvision:NAME, timm:NAME, module:function
        network_width : int32
        needs = ""   : varchar(16)  # first version that knows these settings; any if empty
        config       : json
    """

    @classmethod
    def row(cls, config: NetworkSettings) -> dict[str, Any]:
        """The row of a configuration."""
        return config_row(
            "network_hash",
            config,
            architecture=config.architecture,
            network_width=config.width,
        )


@schema
class TrainingConfig(dj.Lookup):
    """How a network is trained."""

    definition = """
        training_hash : char(16)
        ---
        alpha         : float64      # weight of the similarity loss, 0 without a teacher
        epochs        : int32
        batch_size    : int32
        schedule      : varchar(16)
        n_train_used  : int32        # 0: all
        compared      : varchar(1024) # layers that may be compared with a teacher; all if empty
        n_stimuli     : int32        # in a step, 0 without a teacher
        needs = ""    : varchar(16)  # first version that knows these settings; any if empty
        config        : json
    """

    @classmethod
    def row(cls, config: TrainingSettings) -> dict[str, Any]:
        """The row of a configuration."""
        return config_row(
            "training_hash",
            config,
            alpha=config.regularizer.alpha if config.regularizer else 0.0,
            compared=" ".join((config.regularizer and config.regularizer.layers) or ())[:1024],
            n_stimuli=config.regularizer.n_stimuli if config.regularizer else 0,
            epochs=config.epochs,
            batch_size=config.batch_size,
            schedule=config.schedule,
            n_train_used=config.n_train or 0,
        )


@schema
class TrainingPlan(dj.Manual):
    """Trainings that an experiment asks for."""

    definition = """
        -> Experiment
        -> ImageSet
        -> NetworkConfig
        -> TeacherConfig
        -> ScanGroup
        -> TrainingConfig
        -> Seed
    """


EPOCH = """
            epoch          : int32
            ---
            task_loss      : float64
            similarity_loss = null : float64
            train_accuracy : float64
            test_loss = null : float64   # minus task_loss: the generalisation gap
            test_accuracy  : float64
            learning_rate  : float64
            layer_weights  : json
            seconds        : float64
            validation_accuracy = null : float64  # of a network trained without that part
"""


@schema
class TrainingProgress(RunningState):
    """Epochs of trainings that are running, or were when their worker died."""

    definition = f"""
        -> ImageSet
        -> NetworkConfig
        -> Teacher
        -> TrainingConfig
        -> Seed
        {EPOCH}
    """

    @classmethod
    def recorder(cls, key: dict[str, Any], label: str) -> Callable[[EpochRecord], None]:
        """Inserts an epoch when it is over, and reports it."""

        def record(epoch: EpochRecord) -> None:
            # A resumed training may come to the same epoch again.
            cls.insert1({**key, **_epoch_row(epoch)}, skip_duplicates=True)
            # Who chooses by the validation part should not see the other on the way.
            part, accuracy = "validation", epoch.validation_accuracy
            if accuracy is None:
                part, accuracy = "test", epoch.test_accuracy
            computing().progress(
                f"{label}: epoch {epoch.epoch + 1}, accuracy {accuracy:.3f} ({part})"
            )

        return record


@schema
class TrainedNetwork(Computed):
    """A network, trained with a teacher or without one."""

    definition = f"""
        -> ImageSet
        -> NetworkConfig
        -> Teacher
        -> TrainingConfig
        -> Seed
        ---
        test_accuracy   : float64        # without noise, after the last epoch
        similarity_loss = null : float64 # Eq. 8 in the last epoch; none without a teacher
        layers          : json           # that the layer weights belong to
        weights         : <attach@main>  # safetensors with the settings in the header
        {PROVENANCE}
    """

    class Epoch(dj.Part):
        """What each epoch did."""

        definition = f"""
            -> master
            {EPOCH}
        """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as its teacher is there."""
        return self.keys_in(TrainingPlan) & Teacher.proj()

    @classmethod
    def planned(cls, experiments: Any) -> Any:
        """Trainings that experiments ask for."""
        return TrainingPlan & experiments

    def fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Settings of network and training."""
        return (
            *(NetworkConfig & key).fetch1("config", "needs"),
            *(TrainingConfig & key).fetch1("config", "needs"),
        )

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """Train."""
        from predictive_model.tensor_file import tensors_to_bytes
        from regularized_training import training
        from regularized_training.lessons.config import lesson_part
        from regularized_training.networks.registry import find_network
        from regularized_training.networks.saved import FORMAT

        network, network_needs, config, config_needs = settings
        teacher = Teacher.load(key)
        label = f"{key['image_set']}, {teacher.name if teacher else 'none'}, seed {key['seed']}"
        device = computing().device
        trained = training.train(
            ImageSet.load(key),
            read_config(NetworkSettings, network, network_needs),
            read_config(TrainingSettings, config, config_needs),
            key["seed"],
            teacher=teacher,
            device=device,
            checkpoint=checkpoint_path(TrainedNetwork, key),
            progress=TrainingProgress.recorder(key, label),
        )
        metadata = {
            "format": FORMAT,
            "network": trained.network_config.model_dump_json(),
            "training": trained.config.model_dump_json(),
            "about": json.dumps({"n_channels": trained.n_channels, "n_classes": trained.n_classes}),
        }
        last = trained.history[-1]
        parts = [find_network(trained.network_config.architecture)]
        if trained.config.regularizer is not None:
            parts.append(lesson_part(trained.config.regularizer))
        row = {
            "test_accuracy": last.test_accuracy,
            "similarity_loss": last.similarity_loss,
            "layers": list(trained.layers),
            "weights": Attached(
                "network.safetensors", tensors_to_bytes(trained.state_dict, metadata)
            ),
        }
        return Found(
            row,
            {"Epoch": [_epoch_row(record) for record in trained.history]},
            device=device,
            origins=parts,
            seconds=sum(record.seconds for record in trained.history),
        )

    def make_insert(self, key: dict[str, Any], found: Found, provenance: dict[str, Any]) -> None:
        """Insert the network and its history, which takes the place of its progress."""
        super().make_insert(key, found, provenance)
        (TrainingProgress & key).delete_quick()

    @classmethod
    def load(cls, key: dict[str, Any]) -> nn.Module:
        """The trained network, in evaluation mode."""
        import safetensors.torch

        from regularized_training.networks.architectures import load_network

        names = cls().primary_key
        row = {n: key[n] for n in names}
        image_set = (ImageSet & row).fetch1("channels", "classes")
        described = (NetworkConfig & row).fetch1("config", "needs")
        config = read_config(NetworkSettings, *described)
        cls.part(row)
        state = safetensors.torch.load(read_attached(cls & row, "weights"))
        return load_network(config, image_set[0], len(image_set[1]), state)

    @classmethod
    def part(cls, key: dict[str, Any]) -> Part:
        """The network's builder, and whose it is here; warns if that has changed since training.

        Raises
        ------
        PartError
            If there is no such network here.
        """
        from regularized_training.networks.registry import find_network, library_of

        row = {n: key[n] for n in cls().primary_key}
        name = (NetworkConfig & row).fetch1("architecture")
        recorded = origin_recorded((cls & row).fetch1("origins"), name)
        part = find_network(name, recorded)
        if recorded is None:
            return part
        # One version of a library has many builds, and new ones keep most of its networks.
        compared = ("digest",) if library_of(name) else ("digest", "version")
        if any(getattr(part.origin, n) != getattr(recorded, n) for n in compared):
            now, then = (f"{o} (digest {o.digest or 'unknown'})" for o in (part.origin, recorded))
            warnings.warn(
                f"network {name!r}: of {now}, but was trained with that of {then}; its weights may "
                "mean something else now: install the one it was trained with, or train it again",
                stacklevel=2,
            )
        return part


def _epoch_row(record: EpochRecord) -> dict[str, Any]:
    return {**vars(record), "layer_weights": list(record.layer_weights)}
