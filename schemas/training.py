"""Trained networks, with their history; also those that others trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import datajoint as dj

from predictive_model.parts import Part
from regularized_training.networks.config import NetworkConfig as NetworkSettings
from regularized_training.training_config import TrainingConfig as TrainingSettings
from schemas.base import (
    PROVENANCE,
    Computed,
    Found,
    RunningState,
    computing,
    origin_recorded,
    schema,
)
from schemas.checkpoints import checkpoint_path
from schemas.configurations import read_config
from schemas.experiment import Seed  # noqa: F401 - named in definitions
from schemas.images import ImageSet, LabelSet, Superclasses  # noqa: F401 - likewise
from schemas.imported_network import ImportedNetwork
from schemas.stored import Attached, read_attached
from schemas.teaching import Teacher
from schemas.training_plan import IMPORTED, NetworkConfig, TrainingConfig, TrainingPlan

if TYPE_CHECKING:
    from torch import nn

    from regularized_training.trained_network import EpochRecord


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
            measures = null : json       # what else its lesson has learned, by name
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
    """A network, trained with a teacher or without one, or by others before it was imported."""

    definition = f"""
        -> ImageSet
        -> NetworkConfig
        -> Teacher
        -> TrainingConfig
        -> Seed
        ---
        test_accuracy   : float64        # without noise
        similarity_loss = null : float64 # Eq. 8 in its epoch; none without a teacher
        weights_epoch = null : int32     # of the weights, from 0; that of the last if empty
        layers          : json           # that the layer weights belong to
        weights         : <attach@main>  # safetensors with the settings in the header
        lesson = null   : <attach@main>  # safetensors: what the lesson has learned, as a readout
        {PROVENANCE}
    """

    class Epoch(dj.Part):
        """What each epoch did."""

        definition = f"""
            -> master
            {EPOCH}
        """

    class Labels(dj.Part):
        """Labels that were learned in place of the right ones."""

        definition = """
            -> master
            -> LabelSet
        """

    class Imported(dj.Part):
        """What others trained, of a network that was not trained here."""

        definition = """
            -> master
            -> ImportedNetwork
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
        """Train, or take what others have trained."""
        if settings[2].get("kind") == IMPORTED:
            return self._imported(key)
        from regularized_training import training
        from regularized_training.lessons.config import lesson_part
        from regularized_training.networks.registry import find_network

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
        kept = trained.history[trained.epoch]
        parts = [find_network(trained.network_config.architecture)]
        if trained.config.regularizer is not None:
            parts.append(lesson_part(trained.config.regularizer))
        row = {
            "test_accuracy": kept.test_accuracy,
            "similarity_loss": kept.similarity_loss,
            "weights_epoch": kept.epoch,
            "layers": list(trained.layers),
            "weights": Attached("network.safetensors", trained.to_bytes()),
        }
        if trained.lesson_state:
            row["lesson"] = Attached("lesson.safetensors", trained.lesson_to_bytes())
        labels = trained.config.labels
        return Found(
            row,
            {
                "Epoch": [_epoch_row(record) for record in trained.history],
                "Labels": [{"label_set": labels}] if labels else [],
            },
            device=device,
            origins=parts,
            seconds=trained.seconds,
        )

    @staticmethod
    def _imported(key: dict[str, Any]) -> Found:
        """A network that others trained, as one for the classes of the image set, tested."""
        import torch

        from regularized_training.analysis.accuracy import TEST_BATCH, evaluated
        from regularized_training.networks.registry import find_network
        from regularized_training.networks.saved import network_to_bytes
        from regularized_training.trained_network import on_cpu

        imported = ImportedNetwork.load(key)
        row = (ImageSet & key).fetch1("channels", "height", "width", "classes", "image_set")
        *shape, classes, name = row
        network = imported.for_task(classes, tuple(shape), name)
        state = on_cpu(network.state_dict())
        device = computing().device
        arrays = (torch.from_numpy(part) for part in ImageSet.images_of(key, "test"))
        batches = zip(*(part.split(TEST_BATCH) for part in arrays), strict=True)
        on_device = ((images.to(device), labels.to(device)) for images, labels in batches)
        _, accuracy = evaluated(network.to(device), on_device)
        content = network_to_bytes(state, imported.config, shape[0], len(classes))
        return Found(
            {
                "test_accuracy": accuracy,
                "layers": [],
                "weights": Attached("network.safetensors", content),
            },
            {"Imported": [{}]},
            device=device,
            origins=[find_network(imported.config.architecture)],
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
    return {
        **vars(record),
        "layer_weights": list(record.layer_weights),
        "measures": record.measures or None,
    }
