"""Sources of encoders that are in the database already: refused where they cannot teach."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.database.opening import Database
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.selection import ALL
from pipeline.results.encoders import experiments
from predictive_model.recordings.stimuli import natural_stimuli
from schemas import recording, teacher_plan, training
from schemas.recording import StimulusSet
from tests.schemas.test_teaching import PGD, import_encoders, settings_of
from tests.tiny_experiment import tiny_recording

pytestmark = pytest.mark.database


def add(**changes: Any) -> bool:
    settings = settings_of(changes.pop("stimuli"), **changes)
    return add_experiment(settings, name="refused", scale="smoke")


def test_a_source_that_cannot_speak_is_refused_and_nothing_is_planned(database: Database) -> None:
    stimuli = import_encoders()
    other = StimulusSet.add(natural_stimuli(20, (20, 20)))
    recording.Scan.add(tiny_recording(), source="test")
    with pytest.raises(ExperimentError, match="'unknown' is not in the database, .*; add images"):
        add(stimuli="unknown")
    with pytest.raises(ExperimentError, match=r"images of \(1, 20, 20\), but the encoder of 'a'"):
        add(stimuli=other)
    sources = {"lab": {"encoders": ["a", "sim"], "stimuli": stimuli}}
    with pytest.raises(ExperimentError, match="scan 'sim' has 0 encoders, expected one"):
        add(stimuli=stimuli, sources=sources)
    with pytest.raises(ExperimentError, match="attacks.n_images: 500, but image set 'digits'"):
        add(stimuli=stimuli, attacks=[PGD | {"n_images": 500}])
    assert experiments(ALL).empty
    assert len(teacher_plan.TeacherPlan()) == len(training.TrainingPlan()) == 0
