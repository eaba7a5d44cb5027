"""Task networks: image sets, settings, and the trained networks with their history."""

from __future__ import annotations

import json
from typing import Any

import datajoint as dj
import numpy as np
import safetensors.torch
from torch import nn

from predictive_model.checkpoint import array_digest
from predictive_model.tensor_file import tensors_to_bytes
from regularized_training import training
from regularized_training.networks import architectures as networks
from regularized_training.tasks.image_task import ImageTask, TaskError
from schemas.base import (
    PROVENANCE,
    Stopwatch,
    add_config,
    checkpoint_path,
    computing,
    file_to_attach,
    read_attached,
    schema,
    transaction,
)
from schemas.experiment import Experiment, Seed  # noqa: F401 - named in definitions
from schemas.teaching import ScanGroup, Teacher, TeacherConfig  # noqa: F401 - likewise


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
            If another image set has this name, or this one other superclasses.
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
        architecture : varchar(32)
        network_width : int32
        config       : json
    """

    @classmethod
    def add(cls, config: networks.NetworkConfig) -> str:
        """Insert a configuration if it is new; returns its hash."""
        return add_config(
            cls,
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
        compared      : varchar(128) # layers that may be compared with a teacher; all if empty
        n_stimuli     : int32        # in a step, 0 without a teacher
        config        : json
    """

    @classmethod
    def add(cls, config: training.TrainingConfig) -> str:
        """Insert a configuration if it is new; returns its hash."""
        return add_config(
            cls,
            "training_hash",
            config,
            alpha=config.regularizer.alpha if config.regularizer else 0.0,
            compared=" ".join((config.regularizer and config.regularizer.layers) or ()),
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


@schema
class TrainedNetwork(dj.Computed):
    """A network, taught or not."""

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

        definition = """
            -> master
            epoch          : int32
            ---
            task_loss      : float64
            similarity_loss = null : float64
            train_accuracy : float64
            test_loss = null : float64   # less task_loss: the generalisation gap
            test_accuracy  : float64
            learning_rate  : float64
            layer_weights  : json
            seconds        : float64
        """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as its teacher is there."""
        parents = ImageSet.proj() * NetworkConfig.proj() * Teacher.proj()
        return parents * TrainingConfig.proj() * Seed.proj() & TrainingPlan

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Settings only: whatever is fetched here is hashed, and arrays hash slowly."""
        return (
            (NetworkConfig & key).fetch1("config"),
            (TrainingConfig & key).fetch1("config"),
        )

    def make_compute(
        self, key: dict[str, Any], network_config: dict[str, Any], training_config: dict[str, Any]
    ) -> tuple[Any, ...]:
        """Train, outside of any transaction."""
        watch = Stopwatch()
        teacher = Teacher.load(key)
        label = f"{key['image_set']}, {teacher.name if teacher else 'none'}, seed {key['seed']}"
        trained = training.train(
            ImageSet.load(key),
            networks.NetworkConfig.model_validate(network_config),
            training.TrainingConfig.model_validate(training_config),
            key["seed"],
            teacher=teacher,
            device=computing().device,
            checkpoint=checkpoint_path(TrainedNetwork, key),
            progress=lambda e: computing().progress(
                f"{label}: epoch {e.epoch + 1}, accuracy {e.test_accuracy:.3f}"
            ),
        )
        spent = sum(record.seconds for record in trained.history)
        return trained, watch.provenance(computing().device, at_least=spent)

    def make_insert(
        self, key: dict[str, Any], trained: training.TrainedNetwork, provenance: dict[str, Any]
    ) -> None:
        """Insert the network and its history."""
        last = trained.history[-1]
        metadata = {
            "format": "neuroteach network 1",
            "network": trained.network_config.model_dump_json(),
            "training": trained.config.model_dump_json(),
            "about": json.dumps({"n_channels": trained.n_channels, "n_classes": trained.n_classes}),
        }
        content = tensors_to_bytes(trained.state_dict, metadata)
        with file_to_attach("network.safetensors", content) as path:
            self.insert1(
                {
                    **key,
                    "test_accuracy": last.test_accuracy,
                    "similarity_loss": last.similarity_loss,
                    "layers": list(trained.layers),
                    "weights": path,
                    **provenance,
                }
            )
        self.Epoch.insert(
            [
                {**key, **vars(record), "layer_weights": list(record.layer_weights)}
                for record in trained.history
            ]
        )

    @classmethod
    def load(cls, key: dict[str, Any]) -> nn.Module:
        """The trained network, in evaluation mode."""
        names = cls().primary_key
        row = {n: key[n] for n in names}
        image_set = (ImageSet & row).fetch1("channels", "classes")
        config = networks.NetworkConfig.model_validate((NetworkConfig & row).fetch1("config"))
        state = safetensors.torch.load(read_attached(cls & row, "weights"))
        return networks.load_network(config, image_set[0], len(image_set[1]), state)
