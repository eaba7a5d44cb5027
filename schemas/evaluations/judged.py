"""A base of evaluations that ask a teacher what is true: each network beside each judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from schemas.evaluations.base import Asked, Evaluation
from schemas.teacher_plan import TeacherConfig
from schemas.teaching import Teacher
from schemas.training import TrainedNetwork

if TYPE_CHECKING:
    from regularized_training.teachers.any_teacher import Teacher as Teachers


class Judged(Evaluation):
    """A base of evaluations with a row for each network and each teacher of one kind.

    Networks are judged alike, whatever taught them. A subclass has in its module the tables
    ``Teacher``, ``TeacherConfig`` and ``ScanGroup``, to which its definition refers.

    Attributes
    ----------
    judged_by : str
        The kind of teacher.
    judges_what : str
        What is asked of it, as a message says.
    """

    judged_by: ClassVar[str]
    judges_what: ClassVar[str]
    beside = ("Teacher.proj(judge_hash='teacher_hash', judge_group='scan_group')",)
    asked_beside = (
        "TeacherConfig.proj(judge_hash='teacher_hash')",
        "ScanGroup.proj(judge_group='scan_group')",
    )

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as network and judge are there."""
        judges = Teacher.proj(judge_hash="teacher_hash", judge_group="scan_group")
        return self.keys_in(self.Plan) & TrainedNetwork.proj() & judges

    @classmethod
    def check(cls, settings: Sequence[Any], experiment: Any) -> None:
        """Raise a ValueError if the experiment has no such teacher, or a network lacks a layer."""
        if settings and cls.judged_by not in [entry.kind for entry in experiment.teachers]:
            raise ValueError(
                f"{cls.entry()}: {cls.judges_what} {cls.judged_by} teachers, of which there is "
                f"none; add one, or leave out the table [{cls.entry()}]"
            )
        super().check(settings, experiment)

    @classmethod
    def rows_asked(
        cls, settings: Sequence[Any], asked: Asked
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """All networks with each judge.

        Networks see the stimuli at the size at which the judge teaches, unless another is given.
        """
        assert cls.settings is not None
        key = cls.settings.key
        rows: dict[str, dict[str, Any]] = {}
        judges: dict[tuple[str, ...], dict[str, Any]] = {}
        for entry in (e for e in asked.experiment.teachers if e.kind == cls.judged_by):
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

    @staticmethod
    def judge(key: Mapping[str, Any]) -> Teachers:
        """The teacher of a row's key."""
        found = Teacher.load({"teacher_hash": key["judge_hash"], "scan_group": key["judge_group"]})
        assert found is not None, "what teaches nothing is not planned as a judge"
        return found
