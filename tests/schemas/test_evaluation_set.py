"""Evaluation sets come back as they went in, once for each name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.database.opening import Database
from regularized_training.tasks.evaluation_set import EvaluationSet as Images
from regularized_training.tasks.labelled_task import TaskError
from schemas.evaluation_set import EvaluationSet

pytestmark = pytest.mark.database


@pytest.mark.parametrize("outputs", [{}, {"a": ("x", "y"), "b": ("z",)}])
def test_an_evaluation_set_comes_back_as_it_went_in_and_is_added_once(
    database: Database, outputs: dict[str, tuple[str, ...]]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 9)).astype(np.uint8)
    before = Images("sketches", images, np.array([0, 1, 1, 0]), ("a", "b"), outputs)
    assert EvaluationSet.add(before, source="sketches.zip")
    assert not EvaluationSet.add(before, source="elsewhere")
    after = EvaluationSet.load({"evaluation_set": "sketches"})
    assert after.digest == before.digest
    assert (after.name, after.outputs, after.label_names) == ("sketches", outputs, ("a", "b"))
    np.testing.assert_array_equal(after.images, before.images)
    other = replace(before, labels=1 - before.labels)
    with pytest.raises(TaskError, match="another evaluation set named 'sketches'; choose"):
        EvaluationSet.add(other, source="sketches.zip")
    assert len(EvaluationSet()) == 1
