"""What networks do with the test images: which errors they make, and what a layer does."""

from __future__ import annotations

from typing import Any

import datajoint as dj
import numpy as np

from regularized_training.analysis import activations, errors
from regularized_training.tasks.chosen_images import chosen_images
from schemas.base import PROVENANCE, Stopwatch, add_config, computing, schema
from schemas.training import (
    ImageSet,
    Superclasses,  # noqa: F401 - named in a definition
    TrainedNetwork,
    TrainingPlan,  # noqa: F401 - likewise
)


@schema
class SuperclassErrors(dj.Computed):
    """Errors of one network on all test images, and how many stay within the right superclass.

    Of image sets that have superclasses.
    """

    definition = f"""
        -> TrainedNetwork
        -> Superclasses
        ---
        n_images  : int32
        n_errors  : int32
        within_superclass = null : float64  # share of the errors; none without errors
        confusion : <npy@main>              # (class, class) int64, class by answer
        {PROVENANCE}
    """

    def make(self, key: dict[str, Any]) -> None:
        """Test one network."""
        from sklearn.metrics import confusion_matrix  # a second to import

        watch, device = Stopwatch(), computing().device
        task = ImageSet.load(key)
        answers = errors.answers_of(TrainedNetwork.load(key), task.test_images, device)
        _, group = np.unique(task.superclasses, return_inverse=True)
        share, n = errors.superclass_share(answers, task.test_labels, group)
        self.insert1(
            {
                **key,
                "n_images": len(answers),
                "n_errors": n,
                "within_superclass": share if n else None,
                "confusion": confusion_matrix(
                    task.test_labels, answers, labels=np.arange(len(task.classes))
                ),
                **watch.provenance(device),
            }
        )


@schema
class ActivationConfig(dj.Lookup):
    """Which layer's activations, and how they are shown."""

    definition = """
        activation_hash : char(16)
        ---
        layer   : varchar(64)
        n_shown : int32
        config  : json
    """

    @classmethod
    def add(cls, config: activations.ActivationConfig) -> str:
        """Insert a configuration if it is new; returns its hash."""
        return add_config(
            cls, "activation_hash", config, layer=config.layer, n_shown=config.n_shown
        )


@schema
class ActivationPlan(dj.Manual):
    """Layers that an experiment asks for."""

    definition = """
        -> TrainingPlan
        -> ActivationConfig
    """


@schema
class LayerActivations(dj.Computed):
    """Activations of one layer over the test images: their variance, and some in a plane."""

    definition = f"""
        -> TrainedNetwork
        -> ActivationConfig
        ---
        n_images  : int32
        variance  : float64               # over images, mean over units
        shown = null    : <npy@main>      # (shown,) test images that were embedded
        embedding = null : <npy@main>     # (shown, 2) float32, by t-SNE
        {PROVENANCE}
    """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as its network is there."""
        return TrainedNetwork.proj() * ActivationConfig.proj() & ActivationPlan

    def make(self, key: dict[str, Any]) -> None:
        """Look at one network."""
        watch, device = Stopwatch(), computing().device
        config = activations.ActivationConfig.model_validate(
            (ActivationConfig & key).fetch1("config")
        )
        task, network = ImageSet.load(key), TrainedNetwork.load(key)
        images = task.test_images
        row: dict[str, Any] = dict(
            n_images=len(images),
            variance=activations.activation_variance(network, config.layer, images, device),
        )
        if config.n_shown:
            shown = chosen_images(images, task.test_labels, config.n_shown, config.seed)
            row["shown"] = shown
            row["embedding"] = activations.embed_activations(network, images[shown], config, device)
        self.insert1({**key, **row, **watch.provenance(device)})
