"""Errors under waves of each frequency: asked for in a file, computed, read and drawn."""

from __future__ import annotations

import numpy as np
import pytest

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.fourier_heat_map import FOURIER_HEAT_MAP
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.results.comparisons import compared
from pipeline.workers import populate
from regularized_training.robustness.fourier_heat_map import fourier_heat_map
from regularized_training.robustness.fourier_heat_map_config import FourierHeatMapConfig
from schemas import training
from schemas.evaluations.fourier_heat_map import FourierSensitivity
from schemas.experiment import Experiment
from tests.tiny_experiment import few_digits, tiny_experiment

ASKED = {"n_images": 20, "norm": 2.0, "step": 4}


def asked(**changes: object) -> ExperimentSettings:
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    described |= {"recordings": [], "network": {"width": 2}, "noise": [], "seeds": [0, 1]}
    few = {"n_images": 10, "norm": 2.0, "largest": 1}
    described |= {"teachers": ["none"], "fourier_heat_map": [ASKED, few]}
    return ExperimentSettings.model_validate(described | changes)


@pytest.mark.database
def test_errors_under_waves_are_computed_read_and_drawn(database: Database) -> None:
    training.ImageSet.add(few_digits(), source="test")
    with pytest.raises(ValueError, match=r"largest: 9 cycles .* at most 8"):
        add_experiment(asked(fourier_heat_map={**ASKED, "largest": 9}), name="waves", scale="smoke")
    assert not Experiment() and not FourierSensitivity.Config()
    assert results.fourier_heat_map_by_frequency().empty
    assert add_experiment(asked(), name="waves", scale="smoke")
    assert populate.populate(Selection("waves")).failures == []
    row = (FourierSensitivity & "n_images = 20").to_dicts()[0]
    network, task = training.TrainedNetwork.load(row), few_digits()
    config = FourierHeatMapConfig.model_validate(ASKED)
    expected = fourier_heat_map(network, task.test_images, task.test_labels, config)
    np.testing.assert_array_equal(np.asarray(row["error"]), expected.map)
    assert row["down"] == row["across"] == [-8, -4, 0, 4, 8]
    assert row["clean_error"] == expected.clean_error
    assert {band: row[band] for band in expected.bands} == expected.bands

    cells = results.fourier_heat_map_by_frequency("waves")
    assert len(cells) == 2 * 5 * 5 + 2 * 3 * 3
    one = cells[(cells["seed"] == row["seed"]) & (cells["n_images"] == 20)]
    shown = one.pivot(index="down", columns="across", values="error")
    np.testing.assert_array_equal(shown, expected.map)
    frame = results.fourier_heat_map("waves")
    assert sorted(frame["name"]) == ["norm 2", "norm 2 (2)"] and set(frame["n_seeds"]) == {2}
    assert frame["high"].isna().sum() == 1  # of the map that ends at one cycle per image
    table = FOURIER_HEAT_MAP.table(frame)  # type: ignore[misc]
    assert sorted(table["n_images"]) == [10, 20] and "undefined" in set(table["high"])
    drawn = FOURIER_HEAT_MAP.figures["fourier-heat-map"](Selection("waves"))
    images = [image for part in drawn.subfigs for ax in part.subfigs[1].axes for image in ax.images]
    assert {image.get_array().shape for image in images} == {(5, 5), (3, 3)}  # type: ignore[union-attr]
    by_seed = results.fourier_heat_map_by_seed("waves")
    for one in FOURIER_HEAT_MAP.compared:
        assert compared(by_seed, one.column, one.measure(by_seed)).empty  # type: ignore[operator]
    names = [one.measure(by_seed).iloc[0] for one in FOURIER_HEAT_MAP.compared]  # type: ignore[operator]
    assert [name.split(",")[1] for name in names] == [f" {b} frequencies" for b in expected.bands]
