"""What teaching changed inside: similarity of each layer to a teacher, before and after."""

from __future__ import annotations

from typing import Any

import datajoint as dj

from regularized_training.alignment import layers as representation
from regularized_training.networks import architectures as networks
from regularized_training.training import initial_network
from schemas.base import PROVENANCE, Stopwatch, add_config, computing, schema
from schemas.teaching import ScanGroup, Teacher, TeacherConfig  # noqa: F401 - in definitions
from schemas.training import (
    ImageSet,
    NetworkConfig,
    TrainedNetwork,
    TrainingPlan,  # noqa: F401 - named in a definition
)


@schema
class RepresentationConfig(dj.Lookup):
    """How networks are compared with a teacher."""

    definition = """
        representation_hash : char(16)
        ---
        most_stimuli : int32
        config       : json
    """

    @classmethod
    def add(cls, config: representation.RepresentationConfig) -> str:
        """Insert a configuration if it is new; returns its hash."""
        return add_config(cls, "representation_hash", config, most_stimuli=config.n_stimuli)


@schema
class RepresentationPlan(dj.Manual):
    """Comparisons that an experiment asks for: a network, and the teacher that judges it.

    A network that was taught by nobody or by a control is judged by the brain all the same.
    """

    definition = """
        -> TrainingPlan
        -> TeacherConfig.proj(judge_hash='teacher_hash')
        -> ScanGroup.proj(judge_group='scan_group')
        -> RepresentationConfig
    """


@schema
class LayerSimilarity(dj.Computed):
    """Similarity of a network's layers to a teacher, over stimuli that the teacher holds out."""

    definition = f"""
        -> TrainedNetwork
        -> Teacher.proj(judge_hash='teacher_hash', judge_group='scan_group')
        -> RepresentationConfig
        ---
        n_compared : int32     # stimuli
        {PROVENANCE}
    """

    class Layer(dj.Part):
        """One layer, before training or after it."""

        definition = """
            -> master
            layer_index : int16       # from the image on
            trained     : bool        # false: as the seed made it
            ---
            layer       : varchar(64)
            correlation : float64     # of cosines (Eq. 9) with the teacher, over pairs
            alignment   : float64     # centred kernel alignment, unbiased
        """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as network and judge are there."""
        judges = Teacher.proj(judge_hash="teacher_hash", judge_group="scan_group")
        return (
            TrainedNetwork.proj() * judges * RepresentationConfig.proj() & RepresentationPlan.proj()
        )

    def make(self, key: dict[str, Any]) -> None:
        """Compare one network."""
        watch, device = Stopwatch(), computing().device
        config = representation.RepresentationConfig.model_validate(
            (RepresentationConfig & key).fetch1("config")
        )
        judge = Teacher.load({"teacher_hash": key["judge_hash"], "scan_group": key["judge_group"]})
        assert judge is not None, "only teachers with stimuli are planned as judges"
        described = networks.NetworkConfig.model_validate((NetworkConfig & key).fetch1("config"))
        channels, classes = (ImageSet & key).fetch1("channels", "classes")
        layers = networks.compared_layers(described.architecture)
        compared = {
            False: initial_network(described, channels, len(classes), key["seed"]),
            True: TrainedNetwork.load(key),
        }
        n = min(config.n_stimuli, len(judge.held_out))
        self.insert1({**key, "n_compared": n, **watch.provenance(device)})
        self.Layer.insert(
            [
                {**key, "layer_index": i, "trained": trained, **vars(found)}
                for trained, network in compared.items()
                for i, found in enumerate(
                    representation.compare_layers(network, layers, judge, config, device)
                )
            ]
        )
