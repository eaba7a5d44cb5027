"""Networks on manipulated images: asked for in a file, computed, read, and drawn beside people."""

from __future__ import annotations

import pytest

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.manipulations import MANIPULATIONS
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.results.people import people_by_level
from pipeline.workers import populate
from regularized_training.behaviour.trials import Trials
from regularized_training.robustness.manipulations.accuracy import accuracy_under_manipulations
from regularized_training.robustness.manipulations.config import ManipulationConfig
from schemas import training
from schemas.evaluations.manipulations import ManipulationAccuracy
from schemas.psychophysics import Psychophysics
from tests.tiny_experiment import few_digits, tiny_experiment

ASKED = {"levels": {"contrast": [0.5, 0.05], "phase_noise": [90.0]}, "n_images": 40}


def asked(**changes: object) -> ExperimentSettings:
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    described |= {"recordings": [], "network": {"width": 2}, "noise": [], "seeds": [0, 1]}
    described |= {"teachers": ["none"], "manipulations": ASKED}
    return ExperimentSettings.model_validate(described | changes)


@pytest.mark.database
def test_networks_answer_to_manipulated_images_and_people_stand_beside_them(
    database: Database,
) -> None:
    training.ImageSet.add(few_digits(), source="test")
    assert add_experiment(asked(), name="manipulated", scale="smoke")
    assert populate.populate(Selection("manipulated")).failures == []
    row = ManipulationAccuracy.to_dicts()[0]
    network, task = training.TrainedNetwork.load(row), few_digits()
    config = ManipulationConfig.model_validate(ASKED)
    expected = accuracy_under_manipulations(network, task.test_images, task.test_labels, config, 10)
    assert (row["n_images"], row["n_classes"]) == (40, 10)
    assert row["clean_entropy"] == pytest.approx(expected.clean_entropy)
    key = {name: row[name] for name in ManipulationAccuracy.primary_key}
    found = (ManipulationAccuracy.Level & key).to_dicts()
    assert {(f["manipulation"], f["level"]): (f["accuracy"], f["entropy"]) for f in found} == {
        (one.manipulation, one.level): (one.accuracy, pytest.approx(one.entropy))
        for one in expected.levels
    }
    frame = results.manipulations("manipulated")
    shown = frame[["manipulation", "level", "n_seeds"]].to_numpy().tolist()
    assert shown == [["contrast", 0.05, 2], ["contrast", 0.5, 2], ["phase_noise", 90.0, 2]]
    table = MANIPULATIONS.table(frame)  # type: ignore[misc]
    assert list(table.columns) == ["manipulation", "level", "none (n = 2)"]
    figure = MANIPULATIONS.figures["manipulations"]
    figure(Selection("manipulated"))  # nobody beside them yet
    assert people_by_level().empty
    sheet = MANIPULATIONS.figures["manipulation-examples"](Selection("manipulated"))
    assert [ax.get_title() for ax in sheet.axes] == ["digits: contrast", "digits: phase noise"]
    said = [[label.get_text() for label in ax.get_xticklabels()] for ax in sheet.axes]
    assert said == [["0.5", "0.05"], ["90"]]

    trials = [
        (who, condition, image, "cat", answer)
        for who, answers in (("subject-01", "cat dog"), ("subject-02", "cat cat"))
        for condition in ("c50", "c05")
        for image, answer in zip("ab", answers.split(), strict=True)
    ]
    seen = Trials.of("contrast-experiment", trials)
    assert Psychophysics.add(seen, name="contrast", source="test")
    beside = people_by_level().set_index(["manipulation", "level"])
    assert beside.loc[("contrast", 0.05), "accuracy"] == 0.75
    assert beside.loc[("contrast", 0.5), ["accuracy_low", "accuracy_high"]].tolist() == [0.5, 1]
    drawn = figure(Selection("manipulated"))
    assert "people" in [text.get_text() for text in drawn.legends[0].get_texts()]


def test_manipulations_that_cannot_be_are_refused_in_the_file() -> None:
    with pytest.raises(ValueError, match="manipulations.*levels.contrast: levels"):
        asked(manipulations={"levels": {"contrast": [3]}})
