"""Trials of people and networks give the numbers that were published of them."""

from __future__ import annotations

import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regularized_training.behaviour.categories import CATEGORIES, outputs_among, synsets
from regularized_training.behaviour.consistency import by_pair, ceiling, left_out
from regularized_training.behaviour.shape_bias import shape_bias
from regularized_training.behaviour.soft_labels import (
    NoisyKind,
    accuracy_by_entropy,
    clean_labels,
    error_rate,
    noisy_labels,
    read_soft_labels,
)
from regularized_training.behaviour.summary import by_observer, over_people
from regularized_training.behaviour.trial_files import read_trials
from regularized_training.behaviour.trials import Trials, TrialsError, is_person

# Of each experiment of Geirhos et al. 2018: trials, people, and the published file of accuracies.
EXPERIMENTS = {
    "colour": (3840, 3, "colour"),
    "contrast": (6400, 5, "contrast"),
    "contrast-png": (3840, 3, "contrast-png"),
    "eidolon": (19200, 5, ""),
    "false-colour": (6720, 6, "false-colour"),
    "highpass": (7680, 6, "highpass"),
    "lowpass": (7680, 6, "lowpass"),
    "noise": (6400, 5, "noise"),
    "phase-scrambling": (6720, 6, "phase-scrambling"),
    "power-equalisation": (6720, 6, "power-equalisation"),
    "rotation": (7680, 6, "rotation"),
}


@cache
def of_2018(data_folder: Path, name: str) -> Trials:
    return read_trials(data_folder / "human_geirhos2018/raw-data/humans" / f"{name}-experiment")


@cache
def published(data_folder: Path, name: str) -> Trials:
    return read_trials(data_folder / "geirhos_trials_stimuli" / "trials.csv.xz", experiment=name)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_people_are_as_accurate_as_published(data_folder: Path, name: str) -> None:
    trials = of_2018(data_folder, name)
    n_trials, n_people, file = EXPERIMENTS[name]
    assert (trials.experiment, len(trials), len(trials.people)) == (name, n_trials, n_people)
    found = over_people(by_observer(trials)).set_index("condition")
    assert (found["n_people"] == n_people).all()
    folder = data_folder / "human_geirhos2018" / "raw-accuracies" / "TF"
    files = [f"eidolon_accuracies_coh_{c}_sums_TF.csv" for c in (0, 3, 10)]
    tables = [
        pd.read_csv(folder / f) for f in ([f"{file}_accuracies_sums_TF.csv"] if file else files)
    ]
    said = np.concatenate([table["humans"] for table in tables])
    # Conditions have other names there, and other orders.
    np.testing.assert_allclose(sorted(found["accuracy"]), sorted(said), atol=1e-9)


def test_entropy_falls_with_the_signal_and_one_person_pressed_one_key(data_folder: Path) -> None:
    found = over_people(by_observer(of_2018(data_folder, "highpass"))).set_index("condition")
    assert list(found.index) == ["0.4", "0.45", "0.55", "0.7", "1", "1.5", "3", "inf"]
    assert found["entropy"].is_monotonic_increasing
    pinned = {"0.4": (2.674, 0.453, 3.768), "inf": (3.970, 3.930, 3.988)}
    for condition, values in pinned.items():
        row = found.loc[condition, ["entropy", "entropy_low", "entropy_high"]]
        assert row.tolist() == pytest.approx(values, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "pinned"), [("colour", 0.41543), ("edge", 0.31844), ("cue-conflict", 0.33105)]
)
def test_ceilings_between_people_are_those_of_brain_score(
    data_folder: Path, name: str, pinned: float
) -> None:
    assert ceiling(published(data_folder, name)) == pytest.approx(pinned, abs=2e-5)


def test_of_colour_the_images_in_colour_are_left_out(data_folder: Path) -> None:
    trials = published(data_folder, "colour")
    assert ceiling(trials, leave_out=()) == pytest.approx(0.44847, abs=2e-5)


def test_people_agree_with_people_and_networks_with_networks(data_folder: Path) -> None:
    pairs = by_pair(published(data_folder, "cue-conflict"))
    assert (pairs["n_images"] == 1280).all() and len(pairs) == 13 * 12 / 2
    assert ((pairs["kappa_low"] <= pairs["kappa"]) & (pairs["kappa"] <= pairs["kappa_high"])).all()
    n_people = pairs[["first", "second"]].map(is_person).sum(axis=1)
    means = pairs["kappa"].groupby(n_people).mean()
    # Of two networks, of a network and a person, of two people.
    assert means.tolist() == pytest.approx([0.5420, 0.0869, 0.3311], abs=1e-4)


CONTROLS = {"cr", "true", "c100", "inf", "0", "0.00", "1-10-10", "1-3-10", "1-0-10"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_ceilings_leave_out_holds_all_that_people_cannot_see(
    data_folder: Path, name: str
) -> None:
    trials = of_2018(data_folder, name)
    accuracy = over_people(by_observer(trials)).set_index("condition")["accuracy"]
    written = {f"{float(c):g}" if c[0].isdigit() and "-" not in c else c: c for c in accuracy.index}
    dropped = {written[c] for c in left_out(name)}
    unseen = set(accuracy.index[accuracy < 0.2])
    assert unseen <= dropped
    others = {"c03", "0.55"} & set(accuracy.index)
    assert dropped <= unseen | CONTROLS | others
    assert (accuracy[sorted(others)] < 0.35).all()


def test_people_who_saw_different_images_have_no_consistency(data_folder: Path) -> None:
    with pytest.raises(TrialsError, match="no two people, sometimes wrong, saw 20 of the same"):
        ceiling(of_2018(data_folder, "noise"))


@pytest.mark.parametrize(
    ("observer", "pinned"),
    [("alexnet", 0.429), ("googlenet", 0.312), ("vgg", 0.172), ("people", 0.959)],
)
def test_shape_bias_is_as_published(data_folder: Path, observer: str, pinned: float) -> None:
    found = shape_bias(published(data_folder, "cue-conflict")).set_index("observer")
    assert round(found.loc[observer, "shape_bias"], 3) == pinned
    assert found.loc["subject-01", "n_images"] == 1200


def test_people_saw_images_of_the_classes_that_mean_their_category(data_folder: Path) -> None:
    shown: dict[str, set[str]] = {name: set() for name in CATEGORIES}
    for name in EXPERIMENTS:
        trials = of_2018(data_folder, name)
        for category, image in zip(trials.category.tolist(), trials.image.tolist(), strict=True):
            shown[category].add(image.partition("_")[0])
    trucks = shown.pop("truck")
    assert {name: set(synsets()[name]) for name in shown} == shown
    assert trucks == {"n03417042", "n03796401", "n04467665"} < set(synsets()["truck"])


def test_classes_of_tiny_imagenet_mean_categories(data_folder: Path) -> None:
    with tarfile.open(data_folder / "tiny_imagenet" / "tiny_imagenet_50.tar") as archive:
        parts = [member.name.split("/") for member in archive.getmembers()]
    classes = sorted({p[2] for p in parts if len(p) > 2 and p[1] == "train"})
    assert len(classes) == 50
    assert outputs_among(classes) == {
        "bird": ("n02002724",),
        "bottle": ("n04560804",),
        "cat": ("n02124075",),
        "dog": ("n02106662",),
        "keyboard": ("n03085013",),
    }


def test_people_answers_to_cifar10(data_folder: Path) -> None:
    people = read_soft_labels(data_folder / "cifar10h" / "cifar10h.npz")
    assert people.counts.sum() == 511_000
    assert people.accuracy == pytest.approx(0.95235, abs=1e-5)
    majority = people.counts.argmax(1) == people.labels
    assert majority.mean() == pytest.approx(0.9921, abs=1e-6)
    assert people.entropy.mean() == pytest.approx(0.22284, abs=1e-5)
    by_entropy = accuracy_by_entropy(majority, people.entropy)
    assert by_entropy["n_images"].iloc[0] == (people.entropy == 0).sum() == 4393
    assert by_entropy["accuracy"].iloc[-1] < 0.97 < 0.999 < by_entropy["accuracy"].iloc[:-1].min()


@pytest.mark.parametrize(
    ("kind", "rate"),
    [
        ("aggregate", 0.0901),
        ("random1", 0.17234),
        ("random2", 0.18122),
        ("random3", 0.1764),
        ("worst", 0.40208),
    ],
)
def test_so_many_labels_of_people_are_wrong(
    data_folder: Path, kind: NoisyKind, rate: float
) -> None:
    file = data_folder / "cifar10n" / "cifar10n.npz"
    assert error_rate(noisy_labels(file, kind), clean_labels(file)) == pytest.approx(rate, abs=1e-9)


def test_people_confuse_classes_that_look_alike(data_folder: Path) -> None:
    file = data_folder / "cifar10n" / "cifar10n.npz"
    clean, worst = clean_labels(file), noisy_labels(file, "worst")
    wrong = clean != worst
    counts = np.bincount(clean[wrong] * 10 + worst[wrong], minlength=100).reshape(10, 10)
    assert counts[9].argmax() == 1  # trucks are called automobiles
    assert counts[3].argmax() == 5 and counts[5].argmax() == 3  # cats dogs, and dogs cats
