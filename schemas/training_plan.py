"""Which networks are wanted: their settings, how they are trained, and who asks for them."""

from __future__ import annotations

from typing import Any

import datajoint as dj

from regularized_training.networks.config import NetworkConfig as NetworkSettings
from regularized_training.training_config import TrainingConfig as TrainingSettings
from schemas.base import schema
from schemas.configurations import config_hash, config_row
from schemas.experiment import Experiment, Seed  # noqa: F401 - named in definitions
from schemas.images import ImageSet  # noqa: F401 - likewise
from schemas.teacher_plan import ScanGroup, TeacherConfig  # noqa: F401 - likewise

IMPORTED = "imported"  # kind of a training that happened elsewhere


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
    """How a network is trained, or that it was trained elsewhere and imported."""

    definition = """
        training_hash : char(16)
        ---
        alpha         : float64      # weight of the similarity loss, 0 without a teacher
        epochs        : int32        # 0 of a network that was imported
        batch_size    : int32        # likewise
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

    @classmethod
    def imported_row(cls, name: str, digest: str) -> dict[str, Any]:
        """The row that says that a network was trained elsewhere, and imported.

        Parameters
        ----------
        name : str
            Of the network.
        digest : str
            Of all that decides what it answers.
        """
        described = {"kind": IMPORTED, "name": name, "digest": digest}
        row = dict(alpha=0.0, epochs=0, batch_size=0, schedule="", n_train_used=0)
        row |= dict(compared="", n_stimuli=0)
        return {"training_hash": config_hash(described), **row, "config": described}


@schema
class TrainingPlan(dj.Manual):
    """Trained networks that an experiment asks for."""

    definition = """
        -> Experiment
        -> ImageSet
        -> NetworkConfig
        -> TeacherConfig
        -> ScanGroup
        -> TrainingConfig
        -> Seed
    """
