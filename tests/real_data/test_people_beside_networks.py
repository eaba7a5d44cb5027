"""Networks beside people on published images: names that match, orders that hold, numbers."""

from __future__ import annotations

import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from regularized_training.analysis.soft_labels import SoftLabelsConfig, score_beside_people
from regularized_training.behaviour.categories import CATEGORIES, outputs_among
from regularized_training.behaviour.consistency import by_pair, of_every_two
from regularized_training.behaviour.network_trials import (
    as_trials,
    condition_shown,
    on_images,
    right_on_images,
)
from regularized_training.behaviour.published_labels import (
    CIFAR10,
    label_sets_of_set,
    soft_labels_of_set,
)
from regularized_training.behaviour.shape_bias import cues_of, shape_bias
from regularized_training.behaviour.soft_labels import SoftLabels, clean_labels
from regularized_training.behaviour.trial_files import read_trials
from regularized_training.behaviour.trials import Trials
from regularized_training.tasks.evaluation_files import read_evaluation_set
from regularized_training.tasks.evaluation_set import EvaluationSet
from tests.real_data.cifar10 import cifar10_network, cifar10_test_images

FIRST = 2000


@cache
def shown(data_folder: Path, experiment: str, folder: Path) -> tuple[Trials, EvaluationSet]:
    """Trials of an experiment, and its pictures."""
    inside = {"cue-conflict": "cue-conflict-128px"}.get(experiment, experiment)
    with tarfile.open(data_folder / "geirhos_trials_stimuli" / "stimuli.tar") as archive:
        members = [m for m in archive.getmembers() if m.name.startswith(f"{inside}/")]
        archive.extractall(folder, members, filter="data")
    trials = read_trials(
        data_folder / "geirhos_trials_stimuli" / "trials.csv.xz", experiment=experiment
    )
    return trials, read_evaluation_set(folder / inside, name=experiment, size=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stimuli")


@pytest.mark.parametrize(
    ("name", "n"), [("edge", 160), ("silhouette", 160), ("cue-conflict", 1280)]
)
def test_pictures_have_the_names_and_categories_of_the_trials(
    data_folder: Path, folder: Path, name: str, n: int
) -> None:
    trials, images = shown(data_folder, name, folder)
    assert len(images.image_names) == n == len(set(trials.image.tolist()))
    shows = [images.label_names[i] for i in images.labels]
    assert condition_shown(trials, images.image_names, shows) == "0"
    assert images.label_names == CATEGORIES


def answered(trials: Trials, observer: str, images: EvaluationSet) -> np.ndarray:
    of_it = trials.where(trials.observer == observer)
    given = dict(zip(of_it.image.tolist(), of_it.answer.tolist(), strict=True))
    return np.array([images.label_names.index(given[name]) for name in images.image_names])


def test_answers_by_name_are_as_consistent_as_the_trials_say(
    data_folder: Path, folder: Path
) -> None:
    trials, images = shown(data_folder, "edge", folder)
    shows = [images.label_names[i] for i in images.labels]
    answers = {"ours": answered(trials, "alexnet", images)}
    ours = as_trials("edge", answers, images.image_names, shows, images.label_names)
    people = trials.where(np.char.startswith(trials.observer, "subject"))
    theirs = right_on_images(on_images(people, "0", images.image_names), images.image_names)
    right = np.concatenate([right_on_images(ours, images.image_names), theirs])
    pairs = of_every_two(right)
    found = pairs.loc[pairs["first"] == 0, "kappa"]
    published = by_pair(trials)
    published = published[published["second"] == "alexnet"]
    of_people = published["first"].str.startswith("subject")
    np.testing.assert_allclose(found, published.loc[of_people, "kappa"], atol=1e-12)
    assert found.mean() == pytest.approx(0.1104, abs=1e-4)
    assert pairs.loc[pairs["first"] > 0, "kappa"].mean() == pytest.approx(0.31844, abs=2e-5)


def test_networks_of_cifar10_are_asked_of_seven_categories(data_folder: Path, folder: Path) -> None:
    trials, images = shown(data_folder, "cue-conflict", folder)
    few = images.answerable(outputs_among(CIFAR10))
    assert few.label_names == ("airplane", "bird", "boat", "car", "cat", "dog", "truck")
    shows = [few.label_names[i] for i in few.labels]
    assert len(shows) == 7 * 80
    chosen = cues_of(few.image_names, shows, few.label_names)
    assert len(chosen) == 7 * 7 * 5
    names = [few.image_names[i] for i in chosen]
    found = shape_bias(on_images(trials, "0", names)).set_index("observer")
    assert set(found["n_images"]) == {210, 2100}
    assert found.loc["people", "shape_bias"] == pytest.approx(0.9489, abs=1e-4)
    assert found.loc["alexnet", "shape_bias"] == pytest.approx(0.48, abs=1e-4)


@cache
def people_of_cifar10(data_folder: Path) -> SoftLabels:
    labels = np.load(data_folder / "cifar10_test_lossless" / "labels.npy").astype(np.int64)
    return soft_labels_of_set(data_folder / "cifar10h" / "cifar10h.npz", labels, CIFAR10)


@pytest.mark.parametrize(
    ("name", "cross_entropy", "label_loss", "accuracy"),
    [("resnet8_mlperf_std", 0.61094, 0.40252, 0.879), ("convsmall_pgd", 1.20036, 1.11977, 0.6245)],
)
def test_cross_entropy_to_people(
    data_folder: Path, name: str, cross_entropy: float, label_loss: float, accuracy: float
) -> None:
    images, _ = cifar10_test_images(data_folder / "cifar10_test_lossless", FIRST)
    people = people_of_cifar10(data_folder)
    people = SoftLabels(people.counts[:FIRST], people.labels[:FIRST])
    network = cifar10_network(data_folder, name)
    scores = score_beside_people(network, images, people, SoftLabelsConfig())
    assert scores.people_entropy == pytest.approx(0.150217, abs=1e-6)
    found = (scores.cross_entropy, scores.label_loss, scores.accuracy)
    assert found == pytest.approx((cross_entropy, label_loss, accuracy), abs=1e-4)
    assert scores.bins[0].accuracy > scores.bins[-1].accuracy
    assert scores.bins[0].people_accuracy > 0.99


def test_labels_of_people_stay_as_wrong_within_classes(data_folder: Path) -> None:
    file = data_folder / "cifar10n" / "cifar10n.npz"
    right = np.sort(clean_labels(file))
    found = label_sets_of_set(file, right, CIFAR10, by_class=True)
    assert sorted(found) == ["aggregate", "random1", "random2", "random3", "worst"]
    assert (found["worst"] != right).mean() == pytest.approx(0.40208, abs=1e-9)
    # The first airplane of the official order is image 29.
    first = [values[0] for values in found.values()]
    with np.load(file) as there:
        i = int(np.flatnonzero(there["clean_label"] == 0)[0])
        columns = ("aggre_label", "worse_label", "random_label1", "random_label2", "random_label3")
        assert sorted(first) == sorted(int(there[c][i]) for c in columns)
