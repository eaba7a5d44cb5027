"""Networks under corruptions: asked for in a file, computed, read, scored and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuroteach import results
from pipeline.database.opening import Database
from pipeline.evaluations.corruptions import CORRUPTIONS
from pipeline.evaluations.robustness import ROBUSTNESS
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.results.registry import NothingToShowError
from pipeline.workers import populate
from regularized_training.robustness.corruptions.accuracy import accuracy_under_corruptions
from regularized_training.robustness.corruptions.config import CorruptionConfig
from regularized_training.robustness.corruptions.corrupt import corrupt
from regularized_training.robustness.corruptions.stored import read_corrupted_sets
from schemas import training
from schemas.evaluation_set import EvaluationSet
from schemas.evaluations.corruptions import CorruptionAccuracy
from tests.tiny_experiment import few_digits, tiny_experiment

ASKED = {"kinds": ["impulse_noise", "contrast", "fog"], "severities": [1, 5], "n_images": 40}


def asked(**changes: object) -> ExperimentSettings:
    described = tiny_experiment().model_dump(mode="json", exclude_unset=True)
    described |= {"recordings": [], "network": {"width": 2}, "noise": [], "seeds": [0, 1]}
    # One that learned distorted images, and one that sees blurred ones, beside those that did not.
    described["teachers"] = [
        "none",
        {
            "kind": "none",
            "training": {"distorted": {"layer": "stage1", "by": {"fog": [1], "gaussian": [0.1]}}},
        },
        {"kind": "none", "network": {"low_pass": 1}},
    ]
    return ExperimentSettings.model_validate(described | {"corruptions": ASKED} | changes)


@pytest.mark.database
def test_networks_are_tested_with_corruptions_and_scored_beside_those_without_a_teacher(
    database: Database,
) -> None:
    training.ImageSet.add(few_digits(), source="test")
    assert add_experiment(asked(), name="corrupted", scale="smoke")
    with pytest.raises(NothingToShowError, match="nothing computed yet"):
        ROBUSTNESS.figures["robustness"](Selection("corrupted"))
    assert populate.populate(Selection("corrupted")).failures == []
    rows = CorruptionAccuracy.to_dicts()
    assert len(rows) == 6
    for row in rows[:2]:
        network, task = training.TrainedNetwork.load(row), few_digits()
        config = CorruptionConfig.model_validate(ASKED)
        expected = accuracy_under_corruptions(network, task.test_images, task.test_labels, config)
        assert (row["n_images"], row["clean_accuracy"]) == (40, expected.clean_accuracy)
        key = {name: row[name] for name in CorruptionAccuracy.primary_key}
        found = (CorruptionAccuracy.Severity & key).to_dicts()
        assert {(f["corruption"], f["severity"]): f["accuracy"] for f in found} == {
            (one.corruption, one.severity): one.accuracy for one in expected.severities
        }

    by_severity = results.corruptions_by_severity("corrupted")
    assert len(by_severity) == 6 * 3 * 2
    assert set(by_severity["category"]) == {"noise", "digital", "weather"}
    by_seed = results.corruptions_by_seed("corrupted")
    assert list(dict.fromkeys(by_seed["corruption"])) == ["impulse_noise", "fog", "contrast"]
    table = CORRUPTIONS.table(results.corruptions("corrupted"))  # type: ignore[misc]
    assert list(table["corruption"]) == ["impulse noise", "fog", "contrast"]
    named = ("none", "none, distorted images", "none, low-pass 1")
    assert list(table.columns)[2:] == [f"{name} (n = 2)" for name in named]

    scored = results.robustness_by_seed("corrupted").set_index(["distorted", "seed"])
    assert set(scored["to"]) == {"corruptions"}
    plain = by_seed[by_seed["distorted"] == ""]
    for distorted in ("distorted images", "low-pass 1"):
        other = by_seed[by_seed["distorted"] == distorted]
        ratios: dict[str, list[float]] = {"robustness": [], "mce": [], "relative_mce": []}
        for kind in ("impulse_noise", "fog", "contrast"):
            base = plain[plain["corruption"] == kind].mean(numeric_only=True)
            own = other[(other["corruption"] == kind) & (other["seed"] == 1)].iloc[0]
            ratios["robustness"].append(own["accuracy"] / base["accuracy"])
            ratios["mce"].append((1 - own["accuracy"]) / (1 - base["accuracy"]))
            lost, lost_by_base = (x["clean_accuracy"] - x["accuracy"] for x in (own, base))
            ratios["relative_mce"].append(lost / lost_by_base if lost_by_base > 0 else np.nan)
        for name, values in ratios.items():
            # A kind under which the baseline loses nothing has no relative error.
            assert scored.loc[(distorted, 1), name] == pytest.approx(np.nanmean(values))
    assert scored.loc[""]["mce"].mean() == pytest.approx(1)
    categories = results.robustness_by_category("corrupted")
    assert len(categories) == 6 * 3
    assert {"robustness to corruptions", "accuracy, fog"} <= set(
        results.differences("corrupted")["measure"]
    )
    for result, names in (
        (CORRUPTIONS, ("corruptions", "corruption-examples")),
        (ROBUSTNESS, ("robustness", "robustness-categories")),
    ):
        for name in names:
            result.figures[name](Selection("corrupted"))
    with pytest.raises(NothingToShowError, match="it takes four networks or more of a teacher"):
        ROBUSTNESS.figures["robustness-regression"](Selection("corrupted"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinds": ["rain"]}, "corruptions.kinds"),
        ({"part": "validation"}, "validation"),
    ],
)
def test_corruptions_that_cannot_be_asked_for_are_refused_in_the_file(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        asked(corruptions=settings)


@pytest.mark.database
def test_corrupted_images_that_others_made_are_used_instead(
    database: Database, tmp_path: Path
) -> None:
    task = few_digits()
    training.ImageSet.add(task, source="test")
    only = {"kinds": ["contrast"], "severities": [2, 4], "set": "others"}
    with pytest.raises(LookupError, match="corruptions.set: others-contrast-2 is not in the datab"):
        add_experiment(asked(corruptions=only, teachers=["none"]), name="others", scale="smoke")
    colour = np.repeat(task.test_images, 3, axis=1)
    made = [corrupt(colour, "contrast", s).permute(0, 2, 3, 1).numpy() for s in range(1, 6)]
    np.save(tmp_path / "contrast.npy", np.concatenate(made))
    np.save(tmp_path / "labels.npy", task.test_labels)
    for one in read_corrupted_sets(tmp_path, name="others", label_names=task.classes):
        assert EvaluationSet.add(one, source="test")
    own = {"kinds": ["contrast"], "severities": [2, 4]}
    for name, settings in (("others", only), ("own", own)):
        described = asked(corruptions=settings, teachers=["none"])
        assert add_experiment(described, name=name, scale="smoke")
        assert populate.populate(Selection(name)).failures == []
    assert len(CorruptionAccuracy.Images()) == 2 * 2  # seeds and severities
    found, expected = (results.corruptions_by_severity(name) for name in ("others", "own"))
    assert len(found) == 4
    # Grey digits corrupted as colour, and turned grey again.
    assert found["accuracy"].tolist() == pytest.approx(expected["accuracy"].tolist(), abs=0.03)
