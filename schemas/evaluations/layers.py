"""What teaching changed inside: similarity of each layer to a teacher, before and after."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import datajoint as dj

from regularized_training.networks.config import NetworkConfig as NetworkSettings
from schemas.base import Found
from schemas.configurations import read_config
from schemas.evaluations.base import Settings, Subject
from schemas.evaluations.judged import Judged
from schemas.teacher_plan import ScanGroup, TeacherConfig  # noqa: F401 - named in definitions
from schemas.teaching import Teacher  # noqa: F401 - likewise
from schemas.training import ImageSet, NetworkConfig


class LayerSimilarity(
    Judged,
    name="layers",
    plan="RepresentationPlan",
    settings=Settings(
        model="regularized_training.alignment.layers:RepresentationConfig",
        entry="representation",
        table="RepresentationConfig",
        key="representation_hash",
        columns={"most_stimuli": ("int32", lambda s: s.n_stimuli)},
    ),
):
    """Similarity of a network's layers to a teacher, over stimuli that the teacher holds out.

    A network without a teacher, or with a control as its teacher, is judged by the brain as well.
    Batch normalisation goes by what the network gathered of its task's images, as when it is
    tested, and then by the stimuli themselves.
    """

    judged_by = "neural_model"
    judges_what = "compares networks with"
    result = """
        n_compared : int32     # stimuli
    """

    class Layer(dj.Part):
        """One layer, before training or after it."""

        definition = """
            -> master
            layer_index : int16       # from the image on
            trained     : bool        # false: as the seed made it
            ---
            layer       : varchar(255)
            correlation : float64     # of cosines (Eq. 9) with the teacher, over pairs
            alignment   : float64     # centred kernel alignment, unbiased
            correlation_stimuli = null : float64  # by the stimuli's; null: no batch norm
            alignment_stimuli = null   : float64
        """

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Compare one network."""
        from regularized_training.alignment.layers import compare_layers
        from regularized_training.networks.compared import compared_layers
        from regularized_training.networks.normalisation import normalised_by_training
        from regularized_training.training import initial_network

        key = subject.key
        judge = self.judge(key)
        assert judge.says == "similarity", "only such are planned as judges"
        described = (NetworkConfig & key).fetch1("config", "needs")
        network = read_config(NetworkSettings, *described)
        channels, classes = (ImageSet & key).fetch1("channels", "classes")
        layers = compared_layers(network, built=subject.network)
        compared = {
            False: initial_network(network, channels, len(classes), key["seed"]),
            True: subject.network,
        }
        compare = partial(
            compare_layers,
            layers=layers,
            teacher=judge,
            config=settings,
            device=device,
            n_channels=channels,
        )
        rows = []
        for trained, one in compared.items():
            found = [asdict(layer) for layer in compare(one)]
            if normalised_by_training(one):
                for row, layer in zip(found, compare(one, statistics="stimuli"), strict=True):
                    row["correlation_stimuli"] = layer.correlation
                    row["alignment_stimuli"] = layer.alignment
            rows += [{"layer_index": i, "trained": trained, **row} for i, row in enumerate(found)]
        n = min(settings.n_stimuli, len(judge.held_out))
        return Found({"n_compared": n}, {"Layer": rows})


RepresentationConfig, RepresentationPlan = LayerSimilarity.Config, LayerSimilarity.Plan
