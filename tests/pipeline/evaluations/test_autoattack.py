"""Robust accuracy in given balls: asked for in a file, computed, read and drawn."""

from __future__ import annotations

import numpy as np
import pytest

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.autoattack import AUTOATTACK
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.workers import populate
from regularized_training.robustness.autoattack.config import AutoAttackConfig
from regularized_training.robustness.autoattack.ensemble import robust_accuracy
from schemas import training
from schemas.evaluations.autoattack import AutoAttackAccuracy
from tests.tiny_experiment import few_digits, tiny_experiment

ASKED = {
    "norm": "L2",
    "epsilons": [0.2, 2.0],
    "attacks": ["apgd_ce", "fab_t"],
    "n_images": 20,
    "steps": 5,
    "n_targets": 2,
}


def asked(*attacked: object) -> ExperimentSettings:
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    described |= {"recordings": [], "network": {"width": 2}, "noise": [], "seeds": [0, 1]}
    described |= {"teachers": ["none"], "autoattack": list(attacked)}
    return ExperimentSettings.model_validate(described)


@pytest.mark.database
def test_networks_are_attacked_in_balls_and_what_withstands_is_read_and_drawn(
    database: Database,
) -> None:
    training.ImageSet.add(few_digits(), source="test")
    assert add_experiment(asked(ASKED), name="balls", scale="smoke")
    assert populate.populate(Selection("balls")).failures == []
    row = AutoAttackAccuracy.to_dicts()[0]
    network, task = training.TrainedNetwork.load(row), few_digits()
    config = AutoAttackConfig.model_validate(ASKED)
    expected = robust_accuracy(network, task.test_images, task.test_labels, config)
    assert (row["n_images"], row["n_targets"]) == (20, 2)
    assert row["clean_accuracy"] == expected.clean_accuracy
    key = {name: row[name] for name in AutoAttackAccuracy.primary_key}
    for ball in (AutoAttackAccuracy.Ball & key).to_dicts():
        place = ball["ball_index"]
        assert ball["robust_accuracy"] == expected.accuracy(place)
        assert ball["n_apgd_ce"] == expected.first_fooled(place, "apgd_ce")
        assert ball["n_square"] is None, "was not asked for"
    by_seed = results.autoattack_by_seed("balls")
    fooled = by_seed["n_apgd_ce"] + by_seed["n_fab_t"]
    lost = 20 * (by_seed["clean_accuracy"] - by_seed["robust_accuracy"])
    np.testing.assert_allclose(fooled, lost, atol=1e-9)
    frame = results.autoattack("balls")
    assert frame["epsilon"].tolist() == [0.2, 2.0]
    assert frame["n_square"].isna().all()
    table = AUTOATTACK.table(frame)  # type: ignore[misc]
    assert table["norm"].tolist() == ["L2", "L2"]
    assert table["square"].tolist() == ["", ""]
    drawn = AUTOATTACK.figures["autoattack"](Selection("balls"))
    (line,) = drawn.axes[0].containers
    np.testing.assert_allclose(line.lines[0].get_xdata(orig=False), [0, 0.2, 2])
    heights = [frame["clean_accuracy"][0], *frame["robust_accuracy"]]
    np.testing.assert_allclose(line.lines[0].get_ydata(orig=False), heights)


def test_balls_that_cannot_be_are_refused_in_the_file() -> None:
    with pytest.raises(ValueError, match="autoattack.*epsilons: .8.0,., expected rising radii"):
        asked({"norm": "Linf", "epsilons": [8.0]})
