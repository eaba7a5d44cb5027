"""Learned weights of layers, which only a network with a teacher has."""

from __future__ import annotations

import pytest

from pipeline.database.opening import Database
from pipeline.evaluations.layer_weights import LAYER_WEIGHTS
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.selection import ALL, Selection
from schemas import recording, training
from tests.tiny_experiment import few_digits, tiny_experiment, tiny_recording


@pytest.mark.database
def test_networks_without_a_teacher_have_no_weights_to_wait_for(database: Database) -> None:
    recording.Scan.add(tiny_recording(), source="test")
    training.ImageSet.add(few_digits(), source="test")
    assert add_experiment(tiny_experiment(), name="alone", scale="smoke")
    said = "teaches no network; give it another teacher than none"
    assert LAYER_WEIGHTS.why_nothing(Selection("alone")) == f"experiment alone {said}"
    taught = tiny_experiment(teachers=("none", "neural_data"))
    assert add_experiment(taught, name="taught", scale="smoke")
    for selection in (Selection("taught"), ALL):
        assert "run `neuroteach populate`" in LAYER_WEIGHTS.why_nothing(selection)
