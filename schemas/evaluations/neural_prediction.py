"""How well the brain's responses to held-out stimuli are predicted from a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.base import Found
from schemas.evaluations.base import Asked, Evaluation, Settings, Subject
from schemas.teacher_plan import ScanGroup, TeacherConfig  # noqa: F401 - named in definitions
from schemas.teaching import Teacher
from schemas.training import ImageSet, TrainedNetwork

JUDGE = "responses"  # the kind of teacher whose responses are predicted


class NeuralPrediction(
    Evaluation,
    name="neural_prediction",
    plan="NeuralPredictionPlan",
    settings=Settings(
        model="regularized_training.alignment.prediction:PredictionConfig",
        entry="neural_prediction",
        table="NeuralPredictionConfig",
        columns={"layer": ("varchar(255)", lambda s: s.layer)},
    ),
):
    """Correlation of a teacher's responses with what a layer's readout predicts of them.

    The readout is fitted to the trained network on the stimuli that the teacher does not hold out,
    and judged on the others, whatever the network was taught: so all are judged alike.
    """

    beside = ("Teacher.proj(judge_hash='teacher_hash', judge_group='scan_group')",)
    asked_beside = (
        "TeacherConfig.proj(judge_hash='teacher_hash')",
        "ScanGroup.proj(judge_group='scan_group')",
    )
    result = """
        correlation  : float64          # mean over neurons
        n_neurons    : int32
        n_compared   : int32            # stimuli
        correlations : <npy@main>       # (neuron,) float32
    """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as network and judge are there."""
        judges = Teacher.proj(judge_hash="teacher_hash", judge_group="scan_group")
        return self.keys_in(self.Plan) & TrainedNetwork.proj() & judges

    @classmethod
    def check(cls, settings: Sequence[Any], experiment: Any) -> None:
        """Raise a ValueError if there are no responses to predict, or a network lacks the layer."""
        from regularized_training.networks.compared import compared_layers

        if settings and JUDGE not in [entry.kind for entry in experiment.teachers]:
            raise ValueError(
                f"neural_prediction: predicts the responses of {JUDGE!r} teachers, of which there "
                "is none; add one, or leave out the table [neural_prediction]"
            )
        for network, _ in experiment.variations:
            for one in settings:
                compared_layers(network, (one.layer,))

    @classmethod
    def rows_asked(
        cls, settings: Sequence[Any], asked: Asked
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """All networks with each teacher of responses.

        Networks see the stimuli at the size at which the teacher teaches, unless another is given.
        """
        assert cls.settings is not None
        key = cls.settings.key
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
                    rows[row[key]] = row
                    judge = {
                        "judge_hash": TeacherConfig.row(entry.teacher)["teacher_hash"],
                        "judge_group": asked.group_of(entry),
                        key: row[key],
                    }
                    judges[tuple(judge.values())] = judge
        plans = [{**training, **judge} for training in asked.trainings for judge in judges.values()]
        return list(rows.values()), plans

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Predict from one network."""
        import numpy as np

        from regularized_training.alignment.prediction import neural_prediction

        key = subject.key
        judge = Teacher.load({"teacher_hash": key["judge_hash"], "scan_group": key["judge_group"]})
        assert judge is not None and judge.says == "responses", "only such are planned as judges"
        channels = (ImageSet & key).fetch1("channels")
        found = neural_prediction(
            subject.network, judge, settings, n_channels=channels, device=device
        ).single_trial
        return Found(
            {
                "correlation": float(found.mean()),
                "n_neurons": len(found),
                "n_compared": len(judge.held_out),
                "correlations": found.astype(np.float32),
            }
        )


NeuralPredictionConfig, NeuralPredictionPlan = NeuralPrediction.Config, NeuralPrediction.Plan
