"""Searches of networks: ranked on the validation part, which they never learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.database.opening import Database
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.entries import TeacherEntry
from pipeline.experiments.file import read_experiment
from pipeline.experiments.selection import Selection
from pipeline.results.encoders import caveat
from pipeline.search import running as search
from pipeline.search.file import (
    NetworkSearchSettings,
    SearchError,
    experiment_file,
    read_search,
)
from pipeline.search.proposals import Trial
from regularized_training import training as loop
from regularized_training.joint_loss import TrainingError
from regularized_training.robustness.noise import NoiseConfig, accuracy_under_noise
from schemas import training
from schemas.search import NetworkTrial
from schemas.teaching import Rsm
from tests.schemas.test_rsm import v1
from tests.tiny_experiment import few_digits

FILE = """
title = "How strong should the teacher be?"
images = "digits"
teachers = [{ kind = "rsm", rsm = "v1" }]
seeds = [0, 1]
random_trials = 2
sampler_seed = 4
objective = "noise"

[network]
architecture = "cornet_z"

[training]
epochs = 1
schedule = "constant"
learning_rate = 0.01
augment = { padding = 0, flip = false }
regularizer = { method = "rsm", layer = "V2", n_pairs = 10 }

[[noise]]
levels = [0, 0.2]

[space]
"network.width" = { choices = [4, 5] }
"training.regularizer.ratio" = { low = 0.01, high = 10.0, log = true }
"training.regularizer.taught_epochs" = { choices = ["all", 10] }
"""
NOISE = "[[noise]]\nlevels = [0, 0.2]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ratio.toml"
    path.write_text(FILE)
    return path


def told(trials: list[Trial]) -> list[Any]:
    return [(t.number, t.state, t.parameters, t.score, t.n_epochs) for t in trials]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("regularizer.ratio", "regularizer.alpha", "regularizer.alpha: no such setting"),
        ("network.width", "network.wdth", "did you mean network.width?"),
        ("low = 0.01", "low = -1", "low is -1, expected more than 0"),
        ("[training]", "[training]\nhold_out_validation = false", "hold_out_validation = true in"),
        ("levels =", 'part = "test"\nlevels =', "noise.part: test, but a search leaves"),
        ("epochs = 1", "epochs = 0", "training.epochs: Input should be greater"),
        ('"noise"', '"accuracy"', "noise: given, but the objective is 'accuracy'"),
        (
            '"noise"',
            '"speed"',
            "objective: 'speed', expected one of accuracy, autoattack, corru",
        ),
        ("seeds = [0, 1]", "seeds = [0, 1]\nnoise = []", "noise: an empty list, but it is the"),
        (NOISE, NOISE + '[activations]\nlayer = "V1"\n', "activations: given, but the objective"),
        ('kind = "rsm",', 'kind = "rsm", alphas = [1], ', "search alpha by training.regularizer"),
        ("teachers = [", 'teachers = ["none", ', "teachers: 2, expected one"),
        ('{ choices = ["all", 10] }', "{ choices = [10, 0.5] }", "taught_epochs = 0.5"),
    ],
)
def test_a_mistake_in_a_search_of_networks_is_named(
    file: Path, old: str, new: str, message: str
) -> None:
    changed = FILE.replace(old, new, 1)
    file.write_text(changed if "noise = []" not in new else changed.replace(NOISE, ""))
    with pytest.raises(SearchError) as refused:
        read_search(file)
    assert message in str(refused.value)


def test_networks_of_a_search_are_trained_without_the_part_that_ranks_them(file: Path) -> None:
    settings = read_search(file)
    assert isinstance(settings, NetworkSearchSettings)
    planned = settings.experiment_at({"network.width": 5, "training.regularizer.ratio": 0.5})
    assert planned.training is not None and planned.training.hold_out_validation
    assert planned.network.width == 5
    assert [one.part for one in planned.evaluations["noise"]] == ["validation"]
    assert NetworkSearchSettings.model_validate(settings.model_dump(mode="json")) == settings
    file.write_text(FILE.replace(NOISE, "").replace('objective = "noise"', ""))
    plain = read_search(file)
    assert isinstance(plain, NetworkSearchSettings) and not plain.experiment.evaluations


def test_teachers_of_every_kind_are_as_an_experiment_has_them(file: Path, tmp_path: Path) -> None:
    """Of kinds that weigh neurons, experiments choose how; others have nothing to choose."""
    rsm, own = 'teachers = [{ kind = "rsm", rsm = "v1" }]', 'recordings = ["a"]\nteachers = ["{}"]'
    kinds = "\"teacher.kind\" = { choices = ['neural_model', 'pixels'] }\n"
    for first in ("neural_model", "pixels"):
        text = FILE.replace(rsm, own.format(first)).replace('method = "rsm", layer = "V2", ', "")
        text = text.replace("n_pairs", "n_stimuli").partition('"training.regularizer.ratio"')[0]
        file.write_text(text + kinds)
        settings = read_search(file)
        for kind in ("neural_model", "pixels"):
            planned = settings.experiment_at({"network.width": 4, "teacher.kind": kind})
            assert planned.teachers == (TeacherEntry(kind=kind),)
            written = tmp_path / "written.toml"
            written.write_text(experiment_file(planned, "found"), encoding="utf-8")
            assert read_experiment(written, "small") == planned


@pytest.mark.database
def test_a_search_of_networks_goes_on_where_it_was_and_finds_what_it_says(
    database: Database, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.ImageSet.add(few_digits(), source="test")
    Rsm.add("v1", v1(), source="test")
    settings = read_search(file)
    for name in ("whole", "parts"):
        assert search.add_search(settings, name=name)
    assert not search.add_search(settings, name="whole")
    train, diverged = loop.train, []

    def sometimes(task: Any, network: Any, config: Any, *args: Any, **options: Any) -> Any:
        if config.regularizer.taught_epochs == "all":
            diverged.append(config)
            raise TrainingError("epoch 0: the loss or the weights are no longer finite")
        return train(task, network, config, *args, **options)

    monkeypatch.setattr(loop, "train", sometimes)
    reported: list[int] = []
    search.run_search("whole", 3, on_trial=lambda trial: reported.append(trial.number))
    assert reported == [0, 1, 2]
    search.run_search("parts", 1)
    search.run_search("parts", 1)  # it is there
    search.run_search("parts", 3)
    trials = search.trials_of("whole")
    assert told(trials) == told(search.trials_of("parts"))
    for trial in trials:
        failed = trial.parameters["training.regularizer.taught_epochs"] == "all"
        assert trial.state == ("failed" if failed else "complete")
        assert trial.message.startswith("TrainingError" if failed else "")
    assert len(diverged) == 2, "of each seed once: what diverged is not tried again"
    assert {trial.state for trial in trials} == {"complete", "failed"}

    # What ranks a trial is the accuracy of its networks on images that none of them learned.
    best = search.best_trial("whole")
    task = few_digits().with_validation()
    assert task.validation_images is not None and task.validation_labels is not None
    scale = (NetworkTrial & {"search": "whole", "number": best.number}).fetch1("scale")
    its = training.TrainingPlan & {"experiment": "whole", "scale": scale}
    scores = [
        accuracy_under_noise(
            training.TrainedNetwork.load(key),
            task.validation_images,
            task.validation_labels,
            NoiseConfig(levels=(0, 0.2)),
        ).accuracy
        for key in (training.TrainedNetwork & its).keys()  # noqa: SIM118 - of a table
    ]
    assert np.shape(scores) == (2, 2)
    assert best.score == pytest.approx(np.mean(scores))
    assert best.score == max(t.score for t in trials if t.score is not None)
    assert search.trials("whole")["validation_accuracy"][0] == best.score
    assert caveat(Selection("whole")) == "3 trials of a search"

    # The winner is trained on all images, and tested on those that decided nothing.
    found = tmp_path / "best.toml"
    found.write_text(search.best_experiment("whole"), encoding="utf-8")
    experiment = read_experiment(found, "small")
    assert experiment.training is not None and experiment.training.regularizer is not None
    assert experiment.training.regularizer.alpha == best.parameters["training.regularizer.ratio"]
    assert not experiment.training.hold_out_validation
    assert [one.part for one in experiment.evaluations["noise"]] == ["test"]
    assert add_experiment(experiment, name="best", scale="paper")
    said = "ratio, taught_epochs and width were chosen on the validation images"
    assert caveat(Selection("best")) == said


@pytest.mark.database
def test_no_further_trial_is_proposed_while_all_wait_for_the_same(
    database: Database, file: Path
) -> None:
    """Two workers of a search whose teacher is being made are not to plan it blindly to its end."""
    training.ImageSet.add(few_digits(), source="test")
    Rsm.add("v1", v1(), source="test")
    search.add_search(read_search(file), name="whole")
    trials = search._trials("whole")
    assert search._propose_next(trials, 4)
    assert not search._propose_next(trials, 4)
    with pytest.raises(SearchError, match="give the search another name"):
        search._trials("whole").check()
