"""Networks beside people on the very same images: consistency, shape bias, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroteach import results
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.evaluations.consistency import CONSISTENCY
from pipeline.evaluations.shape_bias import SHAPE_BIAS
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.results.registry import NothingToShowError
from pipeline.workers import populate
from regularized_training.behaviour.consistency import error_consistency
from regularized_training.behaviour.trials import Trials, TrialsError
from regularized_training.tasks.evaluation_set import EvaluationSet as Images
from regularized_training.tasks.labelled_task import TaskError
from schemas import training
from schemas.evaluation_set import EvaluationSet, ImageNames, ShownImages
from schemas.evaluations.other_images import OtherImagesAccuracy
from schemas.psychophysics import Psychophysics
from tests.tiny_experiment import few_digits, tiny_experiment

# What all of them read is computed once.
pytestmark = [pytest.mark.database, pytest.mark.xdist_group("consistency")]

N = 48
CUES = ("cat", "dog")
OUTPUTS = {"cat": tuple("02468"), "dog": tuple("13579")}


def conflicts(name: str = "conflict", names: tuple[str, ...] | None = None) -> Images:
    """Digits named and labelled as if their parity were a shape, with a texture of their own."""
    task = few_digits()
    labels = task.test_labels[:N] % 2
    if names is None:
        texture = [("cat", "dog", "bear")[i % 3] for i in range(N)]
        names = tuple(f"{CUES[labels[i]]}{i}-{texture[i]}{i}" for i in range(N))
    images = np.repeat(task.test_images[:N], 3, axis=1)
    return Images(name, images, labels, CUES, OUTPUTS, names)


def seen(images: Images, experiment: str = "cue-conflict") -> Trials:
    """Two people and a network: one always right, one of whom nothing came at every fourth."""
    shapes = [CUES[i] for i in images.labels]
    rows = [("subject-01", "0", n, c, c) for n, c in zip(images.image_names, shapes, strict=True)]
    rows += [
        ("subject-02", "0", n, c, "na" if i % 4 == 0 else c)
        for i, (n, c) in enumerate(zip(images.image_names, shapes, strict=True))
    ]
    rows += [("vgg", "0", n, c, "cat") for n, c in zip(images.image_names, shapes, strict=True)]
    return Trials.of(experiment, rows)


def asked(*sets: str) -> ExperimentSettings:
    described = tiny_experiment(seeds=(0, 1)).model_dump(mode="json", exclude_unset=True)
    described |= {"recordings": [], "network": {"width": 2}, "noise": []}
    described |= {"variants": [{}, {"training": {"epochs": 2}}]}
    described |= {"other_images": [{"set": name} for name in sets]}
    return ExperimentSettings.model_validate(described)


@pytest.fixture(scope="module")
def opened(
    new_tables: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with open_database(new_tables(tmp_path_factory.mktemp("consistency"))) as database:
        training.ImageSet.add(few_digits(), source="test")
        images = conflicts()
        EvaluationSet.add(images, source="test")
        EvaluationSet.add(conflicts("alone", names=()), source="test")
        Psychophysics.add(seen(images), name="people", source="test")
        assert ShownImages.add("conflict", "people")
        assert not ShownImages.add("conflict", "people", "0")
        add_experiment(asked("conflict", "alone"), name="beside", scale="smoke")
        assert populate.populate(Selection("beside")).failures == []
        yield database


@pytest.fixture(autouse=True)
def _finished(opened: Database) -> None:
    """Every test reads the finished experiment."""


def right_of(seed: int, epochs: int) -> Any:
    query = OtherImagesAccuracy * training.TrainingConfig.proj("epochs")
    query = query & {"evaluation_set": "conflict", "seed": seed, "epochs": epochs}
    return np.asarray(query.fetch1("answers")) == conflicts().labels


def test_every_two_networks_are_compared_also_where_nobody_knows_the_names() -> None:
    pairs = results.consistency_by_pair("beside")
    alone = pairs[(pairs["evaluation_set"] == "alone")]
    assert len(alone) == 4 * 3 / 2 and set(alone["trials"]) == {""}
    shared = ["first", "first_seed", "second", "second_seed", "kappa"]
    same = pairs[(pairs["evaluation_set"] == "conflict") & (pairs["trials"] == "")]
    np.testing.assert_array_equal(alone[shared].astype(str), same[shared].astype(str))
    one = same[(same["first"] == same["second"])].iloc[0]
    found = error_consistency(right_of(0, 1), right_of(1, 1))
    assert (one["observed"], one["n_images"]) == (pytest.approx(found.observed), N)
    assert one["kappa"] == pytest.approx(found.kappa, nan_ok=True)


def test_means_tell_networks_of_a_condition_of_two_and_people_apart() -> None:
    frame = results.consistency("beside").set_index(["evaluation_set", "trials"])
    networks = frame.loc[("alone", "")]
    assert sorted(zip(networks["seeds"], networks["n_pairs"], strict=True)) == [
        ("different", 1),
        ("different", 1),
        ("different", 2),
        ("same", 2),
    ]
    people = frame.loc[("conflict", "people")]
    assert len(people) == 2 + 2 + 2  # with people and vgg; people with each other and with vgg
    assert people["n_pairs"].sum() == 4 * 3 + 3
    between = people[(people["first"] == "people") & (people["second"] == "people")].iloc[0]
    # Of one who is always right, agreement is the other's accuracy, as chance has it.
    assert between["observed"] == pytest.approx(0.75) and between["kappa"] == pytest.approx(0)
    table = CONSISTENCY.table(results.consistency("beside"))  # type: ignore[misc]
    assert len(table) == len(frame) and "kappa" in table


def test_each_network_is_beside_people_by_seed_and_by_condition() -> None:
    by_seed = results.consistency_by_seed("beside")
    assert set(by_seed["evaluation_set"]) == {"conflict"} and len(by_seed) == 4
    assert by_seed["people_accuracy"].tolist() == pytest.approx([(1 + 0.75) / 2] * 4)
    of_one = by_seed[(by_seed["seed"] == 1) & (by_seed["epochs"] == 2)].iloc[0]
    right = right_of(1, 2)
    na = np.arange(N) % 4 == 0
    expected = [error_consistency(right, ok).observed for ok in (np.ones(N, bool), ~na)]
    assert of_one["observed"] == pytest.approx(np.mean(expected))
    assert of_one["accuracy"] == pytest.approx(right.mean())
    averaged = results.consistency_with_people("beside")
    assert averaged["n_conditions"].tolist() == [1, 1] and averaged["n_seeds"].tolist() == [2, 2]
    CONSISTENCY.figures["consistency"](Selection("beside"))
    with pytest.raises(LookupError, match="nothing here is not in the database"):
        CONSISTENCY.figures["consistency"](Selection("nothing here"))


def test_shape_bias_is_of_cues_that_can_be_answered() -> None:
    frame = results.shape_bias_by_seed("beside")
    images = conflicts()
    cues = [name.partition("-")[2] for name in images.image_names]
    differ = np.array([c.rstrip("0123456789") for c in cues])
    shape = np.array([CUES[i] for i in images.labels])
    conflict = np.isin(differ, CUES) & (differ != shape)
    assert set(frame["n_images"]) == {conflict.sum()} and len(frame) == 4
    one = frame[(frame["seed"] == 0) & (frame["epochs"] == 1)].iloc[0]
    # Of two answers, what is not the shape is the texture.
    assert one["shape_bias"] == pytest.approx(right_of(0, 1)[conflict].mean())
    assert one["people_shape_bias"] == 1.0
    summary = results.shape_bias("beside")
    assert len(SHAPE_BIAS.table(summary)) == 2  # type: ignore[misc]
    SHAPE_BIAS.figures["shape-bias"](Selection("beside"))
    assert results.other_images("beside")["evaluation_set"].nunique() == 2


def test_a_set_without_names_gets_them_when_it_is_imported_again() -> None:
    nameless = conflicts("later", names=())
    assert EvaluationSet.add(nameless, source="test")
    assert EvaluationSet.load({"evaluation_set": "later"}).image_names == ()
    with pytest.raises(TrialsError, match="have no names.* import the set again"):
        ShownImages.add("later", "people")
    named = conflicts("later")
    assert named.digest == nameless.digest
    assert EvaluationSet.add(named, source="test") and not EvaluationSet.add(named, source="test")
    assert EvaluationSet.load({"evaluation_set": "later"}).image_names == named.image_names
    others = replace(named, image_names=tuple(reversed(named.image_names)))
    with pytest.raises(TaskError, match="'later' have other names in the database"):
        EvaluationSet.add(others, source="test")
    (EvaluationSet & {"evaluation_set": "later"}).delete(prompt=False)
    assert not len(ImageNames & {"evaluation_set": "later"})


def test_images_that_nobody_saw_or_that_show_something_else_are_refused() -> None:
    with pytest.raises(LookupError, match="trials: nobody is not in the database, which has peop"):
        ShownImages.add("conflict", "nobody")
    with pytest.raises(TrialsError, match="condition: '1', expected one of 0 of cue-conflict"):
        ShownImages.add("conflict", "people", "1")
    images = conflicts()
    turned = [CUES[1 - i] for i in images.labels]
    with pytest.raises(TrialsError, match="is labelled 'dog', but shows 'cat' by the trials"):
        ShownImages.condition_of(images.image_names, turned, "people")
    with pytest.raises(TrialsError, match="1 of 48, such as 'oven1', were shown to nobody"):
        ShownImages.condition_of(("oven1", *images.image_names[1:]), turned, "people")


def test_no_figure_where_people_saw_nothing(
    opened: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.evaluations.consistency.shown_to_people", lambda name: [])
    with pytest.raises(NothingToShowError, match="no images that people saw; say whose trials"):
        CONSISTENCY.figures["consistency"](Selection("beside"))
