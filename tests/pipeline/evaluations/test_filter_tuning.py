"""Tuning of filters: asked for in a file, computed, read and drawn."""

from __future__ import annotations

import numpy as np
import pytest

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.filter_tuning import FILTER_TUNING
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.results.comparisons import compared
from pipeline.workers import populate
from regularized_training.analysis.filter_tuning import tuning_of
from schemas import training
from schemas.evaluations.filter_tuning import FilterTuning
from tests.tiny_experiment import few_digits, tiny_experiment


@pytest.mark.database
def test_tuning_of_filters_is_computed_read_and_drawn(database: Database) -> None:
    training.ImageSet.add(few_digits(), source="test")
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    described |= {"recordings": [], "network": {"width": 4}, "noise": [], "seeds": [0, 1]}
    described |= {"teachers": ["none"], "filter_tuning": [{}, {"convolution": 2}]}
    assert results.filter_tuning_by_filter().empty
    settings = ExperimentSettings.model_validate(described)
    assert add_experiment(settings, name="filters", scale="smoke")
    assert populate.populate(Selection("filters")).failures == []
    first = FilterTuning & (FilterTuning.Config & "convolution = 1")
    row = first.to_dicts()[0]
    weights = training.TrainedNetwork.load(row).stem[0].weight.detach().numpy()
    np.testing.assert_array_equal(np.asarray(row["weights"]), weights)
    expected = tuning_of(weights)
    assert (row["n_filters"], row["kernel_height"], row["n_silent"]) == (4, 3, 0)
    assert {name: row[name] for name in expected.summary()} == pytest.approx(expected.summary())
    key = {name: row[name] for name in FilterTuning.primary_key}
    filters = (FilterTuning.Filter & key).to_dicts(order_by="filter_index")
    np.testing.assert_allclose([one["frequency"] for one in filters], expected.frequency)
    assert [one["has_low_pass"] for one in filters] == expected.low_pass.tolist()

    frame = results.filter_tuning("filters")
    assert sorted(frame["name"]) == ["convolution 1", "convolution 2"]
    assert set(frame["n_seeds"]) == {2}
    by_filter = results.filter_tuning_by_filter("filters")
    assert len(by_filter) == 2 * 2 * 4
    table = FILTER_TUNING.table(frame)  # type: ignore[misc]
    assert set(table["size"]) == {"4 of 3 x 3"}
    drawn = FILTER_TUNING.figures["filter-tuning"](Selection("filters"))
    assert len(drawn.axes) == 8
    assert len(FILTER_TUNING.figures["first-filters"](Selection("filters")).axes) == 2
    by_seed = results.filter_tuning_by_seed("filters")
    for one in FILTER_TUNING.compared:
        assert compared(by_seed, one.column, one.measure(by_seed)).empty  # type: ignore[operator]
