"""Shape bias counts decisions for one of two cues, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from regularized_training.behaviour.shape_bias import shape_bias
from regularized_training.behaviour.trials import Trials, TrialsError


def test_decisions_for_neither_cue_and_images_without_conflict_do_not_count() -> None:
    def rows(who: str, *answers: str) -> list[tuple[str, str, str, str, str]]:
        images = ("cat1-dog2", "cat2-car1", "dog1-bear3", "dog3-dog1")
        shown = zip(images, answers, strict=True)
        return [(who, "0", image, image[:3], answer) for image, answer in shown]

    asked = rows("subject-01", "cat", "cat", "bear", "dog")
    asked += rows("subject-02", "oven", "cat", "na", "dog") + rows(
        "vgg", "oven", "oven", "na", "na"
    )
    found = shape_bias(Trials.of("cue-conflict", asked)).set_index("observer")
    assert found.loc["subject-01", ["n_images", "n_shape", "n_texture"]].tolist() == [3, 2, 1]
    np.testing.assert_allclose(found["shape_bias"], [2 / 3, 1, np.nan, 3 / 4])
    assert list(found.index) == ["subject-01", "subject-02", "vgg", "people"]
    assert found["person"].tolist() == [True, True, False, True]
    by_shape = shape_bias(Trials.of("cue-conflict", asked), by_shape=True)
    cats = by_shape[(by_shape["observer"] == "people") & (by_shape["shape"] == "cat")]
    assert cats["shape_bias"].tolist() == [1]


@pytest.mark.parametrize(
    ("image", "message"),
    [("airplane4", "expected a name of shape and texture"), ("cat1-cat2", "no image has a shape")],
)
def test_images_without_two_cues_are_refused(image: str, message: str) -> None:
    with pytest.raises(TrialsError, match=message):
        shape_bias(Trials.of("edge", [("vgg", "0", image, "cat", "cat")]))
