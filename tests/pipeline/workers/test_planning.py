"""What an experiment plans, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.database.opening import Database
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import ALL
from pipeline.results.encoders import experiments
from pipeline.workers import populate
from schemas import encoding, recording, teacher_plan
from schemas import training as trainings
from schemas.evaluations import noise as noise_tables
from tests.tiny_experiment import (
    TEACHERS,
    few_digits,
    plan,
    tiny_experiment,
    tiny_recording,
)

pytestmark = pytest.mark.database


def test_an_experiment_is_planned_whole_or_not_at_all(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.Scan.add(tiny_recording(), source="test")
    trainings.ImageSet.add(few_digits(), source="test")

    def refuse(*args: Any, **options: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        # By then scans, teachers and trainings are planned.
        patched.setattr(noise_tables.NoiseConfig, "insert", refuse)
        with pytest.raises(OSError, match="disk full"):
            add_experiment(tiny_experiment(teachers=TEACHERS), name="tiny", scale="smoke")
    tables = (
        encoding.FitPlan,
        teacher_plan.TeacherPlan,
        trainings.TrainingPlan,
        noise_tables.NoisePlan,
    )
    assert [len(table()) for table in tables] == [0, 0, 0, 0]
    assert experiments(ALL).empty
    assert set(populate.populate().computed.values()) == {0, 1}  # the scan's reliability alone


def test_an_experiment_may_be_added_again_but_not_changed_under_its_name(
    database: Database,
) -> None:
    settings = plan(teachers=("none", "shuffle"))
    assert not add_experiment(settings, name="tiny", scale="smoke")
    with pytest.raises(ValueError, match="other settings; give this one another name"):
        add_experiment(tiny_experiment(seeds=(1,)), name="tiny", scale="smoke")
    assert len(trainings.TrainingPlan()) == 2
    assert add_experiment(tiny_experiment(seeds=(1,)), name="other", scale="smoke")
    assert sorted(experiments(ALL)["experiment"]) == ["other", "tiny"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"recordings": ["sim", "nobody"]}, "scan: nobody not in the database, which has sim"),
        ({"images": "cifar"}, "image_set: cifar not in the database, which has digits"),
    ],
)
def test_an_experiment_without_its_inputs_is_refused(
    database: Database, change: dict[str, Any], message: str
) -> None:
    recording.Scan.add(tiny_recording(), source="test")
    trainings.ImageSet.add(few_digits(), source="test")
    settings = tiny_experiment().model_dump() | change
    with pytest.raises(ValueError, match=message):
        add_experiment(ExperimentSettings.model_validate(settings), name="tiny", scale="smoke")
