"""What teaching changed inside: similarity of each layer to a teacher, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import datajoint as dj

from regularized_training.networks.config import NetworkConfig as NetworkSettings
from schemas.base import Found
from schemas.configurations import read_config
from schemas.evaluations.base import Asked, Evaluation, Settings, Subject
from schemas.teacher_plan import ScanGroup, TeacherConfig  # noqa: F401 - named in definitions
from schemas.teaching import Teacher
from schemas.training import ImageSet, NetworkConfig, TrainedNetwork

JUDGE = "neural_model"  # the kind of teacher that networks are compared with


class LayerSimilarity(
    Evaluation,
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

    beside = ("Teacher.proj(judge_hash='teacher_hash', judge_group='scan_group')",)
    asked_beside = (
        "TeacherConfig.proj(judge_hash='teacher_hash')",
        "ScanGroup.proj(judge_group='scan_group')",
    )
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

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as network and judge are there."""
        judges = Teacher.proj(judge_hash="teacher_hash", judge_group="scan_group")
        return self.keys_in(self.Plan) & TrainedNetwork.proj() & judges

    @classmethod
    def check(cls, settings: Sequence[Any], experiment: Any) -> None:
        """Raise a ValueError if the experiment has no teacher to compare with."""
        if settings and JUDGE not in [entry.kind for entry in experiment.teachers]:
            raise ValueError(
                "representation: compares networks with neural_model teachers, of which there is "
                "none; add one, or leave out the table [representation]"
            )

    @classmethod
    def rows_asked(
        cls, settings: Sequence[Any], asked: Asked
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """All networks with each neural teacher.

        Networks see the stimuli at the size at which the teacher teaches, unless another is given.
        """
        assert cls.settings is not None
        rows: dict[str, dict[str, Any]] = {}
        judges: dict[tuple[str, ...], dict[str, Any]] = {}
        for entry in (e for e in asked.experiment.teachers if e.kind == JUDGE):
            for _, variant in asked.experiment.variations:
                size = entry.trainings(variant)[0].regularizer.stimulus_size
                for one in settings:
                    config = one
                    if config.stimulus_size is None:
                        config = config.model_copy(update={"stimulus_size": size})
                    row = cls.settings.row(config)
                    rows[row["representation_hash"]] = row
                    judge = {
                        "judge_hash": TeacherConfig.row(entry.teacher)["teacher_hash"],
                        "judge_group": asked.group_of(entry),
                        "representation_hash": row["representation_hash"],
                    }
                    judges[tuple(judge.values())] = judge
        plans = [{**training, **judge} for training in asked.trainings for judge in judges.values()]
        return list(rows.values()), plans

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Compare one network."""
        from regularized_training.alignment.layers import compare_layers
        from regularized_training.networks.compared import compared_layers
        from regularized_training.networks.normalisation import normalised_by_training
        from regularized_training.training import initial_network

        key = subject.key
        judge = Teacher.load({"teacher_hash": key["judge_hash"], "scan_group": key["judge_group"]})
        assert judge is not None and judge.says == "similarity", "only such are planned as judges"
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
