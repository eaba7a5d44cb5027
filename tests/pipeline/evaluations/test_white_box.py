"""Accuracy under weak attacks: asked for in a file, computed, read and drawn."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.white_box import MEAN, WHITE_BOX
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.workers import populate
from regularized_training.robustness.white_box import white_box_accuracy
from regularized_training.robustness.white_box_config import WhiteBoxConfig
from schemas import training
from schemas.evaluations.white_box import WhiteBoxAccuracy
from tests.tiny_experiment import few_digits, tiny_experiment

ASKED = {"n_images": 20, "steps": 3, "strengths": [1, 40], "radii": {"L2": 0.15, "Linf": 0.001}}


def asked(attacked: object, **changes: object) -> ExperimentSettings:
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    described |= {"recordings": [], "network": {"width": 2}, "noise": [], "seeds": [0, 1]}
    described |= {"teachers": ["none"], "white_box": attacked}
    return ExperimentSettings.model_validate(described | changes)


@pytest.mark.database
def test_networks_are_attacked_weakly_and_what_withstands_is_read_and_drawn(
    database: Database,
) -> None:
    training.ImageSet.add(few_digits(), source="test")
    fixed = {**ASKED, "noise": "fixed", "eot": 2, "strengths": [1]}
    assert add_experiment(asked([ASKED, fixed]), name="weak", scale="smoke")
    assert populate.populate(Selection("weak")).failures == []
    row = (WhiteBoxAccuracy & (WhiteBoxAccuracy.Config & "eot = 1")).to_dicts()[0]
    network, task = training.TrainedNetwork.load(row), few_digits()
    config = WhiteBoxConfig.model_validate(ASKED)
    expected = white_box_accuracy(network, task.test_images, task.test_labels, config)
    assert (row["n_images"], row["clean_accuracy"]) == (20, expected.clean_accuracy)
    assert not row["varies"]
    key = {name: row[name] for name in WhiteBoxAccuracy.primary_key}
    for ball in (WhiteBoxAccuracy.Ball() & key).to_dicts():
        i, j = expected.norms.index(ball["norm"]), ball["strength_index"]
        assert ball["accuracy"] == expected.accuracy[i, j]
        assert ball["epsilon"] == pytest.approx(expected.radii[i, j])
    by_seed = results.white_box_by_seed("weak")
    of_one = by_seed[by_seed["attack"] == "PGD"].pivot_table(
        index=["seed", "attack_strength"], columns="norm", values="accuracy"
    )
    assert len(of_one) == 4
    np.testing.assert_allclose(of_one[MEAN], of_one[["L2", "Linf"]].mean(axis=1))
    frame = results.white_box("weak")
    assert frame["attack"].unique().tolist() == ["PGD", "PGD, noise fixed, mean of 2 passes"]
    assert frame["norm"][:6].tolist() == [*["Linf"] * 2, *["L2"] * 2, *[MEAN] * 2]
    table = WHITE_BOX.table(frame)  # type: ignore[misc]
    assert table["strength"][:2].tolist() == ["1 x", "40 x"]
    assert table["epsilon"][:2].tolist() == ["0.001", "0.04"]
    drawn = WHITE_BOX.figures["white-box"](Selection("weak"))
    (line,) = drawn.axes[0].containers
    assert isinstance(line, ErrorbarContainer)
    assert list(line.lines[0].get_xdata(orig=False)) == [0, 1, 40]  # type: ignore[arg-type]
    (compared,) = WHITE_BOX.compared
    measures = set(compared.measure(frame))  # type: ignore[operator]
    assert "accuracy under attack, PGD, mean of norms x 40" in measures


def test_balls_that_cannot_be_are_refused_in_the_file() -> None:
    with pytest.raises(ValueError, match="white_box.*L2: 0, expected a radius above 0"):
        asked({"radii": {"L2": 0}})
