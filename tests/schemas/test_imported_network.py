"""Networks that others trained as rows: planned, evaluated, passed on, refused, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroteach import results
from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings
from pipeline.experiments.selection import Selection
from pipeline.query import deletion
from pipeline.query.provenance import provenance
from pipeline.results.conditions import OF_OTHERS, conditions, settings
from pipeline.transfer import operations
from pipeline.workers import populate, status
from regularized_training.networks.imported import ImportedNetwork as Network
from regularized_training.networks.reading import read_imported
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.image_task import ImageTask
from regularized_training.training import train
from regularized_training.training_config import TrainingConfig
from schemas import training
from schemas.experiment import Experiment
from schemas.imported_network import ImportedNetwork
from tests.stored_graphs import tiny_graph, write_graph
from tests.tiny_experiment import few_digits

pytestmark = [pytest.mark.database, pytest.mark.xdist_group("imported_networks")]

OUTPUTS = ("background", *(f"class {n}" for n in range(9)))
CLASSES = ("class 4", "class 0", "class 7")  # of the image set, in its order
PGD = {"method": "pgd", "norm": "Linf", "step_sizes": [0.02], "steps": [2], "n_images": 8}


def few_images() -> ImageTask:
    """Test images alone."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 3, 16, 16), np.uint8)
    return ImageTask("few", images[:0], np.empty(0, np.int64), images, np.arange(24) % 3, CLASSES)


def network(folder: Path, name: str, seed: int) -> Network:
    graph, tensors = tiny_graph()
    rng = torch.Generator().manual_seed(seed)
    tensors["last.w"] = torch.randn(10, 4, generator=rng)
    return read_imported(str(write_graph(folder, name, graph, tensors)), classes=OUTPUTS)


def experiment(**changes: Any) -> ExperimentSettings:
    return ExperimentSettings.model_validate(
        {
            "title": "networks of others",
            "images": "few",
            "imported_networks": ["a", "b"],
            "noise": [{"levels": [0.0, 0.3]}],
            "corruptions": {"kinds": ["contrast"], "severities": [5], "n_images": 8},
            "attacks": [PGD],
            "activations": {"layer": "relu1", "n_shown": 0},
        }
        | changes
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def opened(
    new_tables: Callable[[Path], Settings],
    folder: Path,
) -> Iterator[Database]:
    with open_database(new_tables(folder)) as database:
        training.ImageSet.add(few_images(), source="test")
        for seed, name in enumerate("ab"):
            added = ImportedNetwork.add(
                name,
                network(folder, name, seed),
                trained_on="CIFAR-10",
                licence="MIT",
                source="somewhere",
            )
            assert added
        assert add_experiment(experiment(), name="others", scale="smoke")
        done = populate.populate(Selection("others"))
        assert done.failures == []
        yield database


@pytest.fixture(scope="module")
def archive(opened: Database, folder: Path) -> Path:
    """The experiment for another laboratory."""
    operations.export_experiment(opened, "others", folder / "others.zip")
    return folder / "others.zip"


@pytest.fixture(autouse=True)
def _finished(archive: Path) -> None:
    """Every test reads the finished experiment."""


def test_what_is_asked_of_ours_is_answered_by_theirs() -> None:
    computed = {p.table: (p.done, p.total) for p in populate.progress(Selection("others"))}
    assert {table for table, (_, total) in computed.items() if total} == {
        *("Teacher", "TrainedNetwork", "LayerActivations", "CorruptionAccuracy"),
        *("NoiseAccuracy", "AdversarialDistance"),
    }
    assert all(done == total for done, total in computed.values())
    for frame in (results.noise(), results.corruptions(), results.adversarial()):
        assert set(conditions(frame)) == {"a", "b"}


def test_accuracy_is_that_of_the_outputs_that_are_the_classes(folder: Path) -> None:
    task = few_images()
    found = results.accuracy_by_seed("others").set_index("imported_network")
    for seed, name in enumerate("ab"):
        whole = network(folder, name, seed).for_task(OUTPUTS, (3, 16, 16), "all")
        with torch.inference_mode():
            logits = whole(to_float(torch.from_numpy(task.test_images)))
        chosen = logits[:, [OUTPUTS.index(one) for one in CLASSES]]
        accuracy = (chosen.argmax(1).numpy() == task.test_labels).mean()
        assert found.loc[name, "test_accuracy"] == pytest.approx(accuracy)
        (key,) = (training.TrainedNetwork.Imported & name_of(name)).keys()
        loaded = training.TrainedNetwork.load(key)
        with torch.inference_mode():
            again = loaded(to_float(torch.from_numpy(task.test_images)))
        torch.testing.assert_close(again, chosen)
    assert found[["test_loss", "train_accuracy", "gap"]].isna().all(axis=None)


def name_of(name: str) -> Any:
    return (ImportedNetwork & {"imported_network": name}).proj()


def test_a_row_says_where_it_is_from() -> None:
    (key,) = (training.TrainedNetwork.Imported & name_of("a")).keys()
    sources = {node.table: node for node in provenance("TrainedNetwork", key).sources}
    said = sources["ImportedNetwork"].values
    assert (said["trained_on"], said["licence"], said["source"]) == ("CIFAR-10", "MIT", "somewhere")
    assert sources["ImportedNetwork"].documents["classes"] == list(OUTPUTS)
    assert sources["ImportedNetwork"].made["git_commit"] is not None
    assert status._Names([key]).of(key) == "few, graph, none, a, seed 0"


def test_they_are_no_baseline_and_stand_in_a_panel_of_their_own() -> None:
    frame = results.robustness_by_seed("others")
    assert len(frame) == 4  # noise and corruptions, of two networks
    assert frame["robustness"].isna().all()
    assert results.differences("others").empty
    both = results.accuracy_by_seed("others")
    ours = both.iloc[:1].assign(imported_network="", architecture="resnet18", epochs=5)
    mixed = ours.merge(both, how="outer")
    assert set(settings(mixed)) == {"", OF_OTHERS}


def test_importing_again_changes_nothing_and_another_is_refused(folder: Path) -> None:
    same = network(folder, "a", 0)
    assert not ImportedNetwork.add("a", same, trained_on="CIFAR-10")
    with pytest.raises(ValueError, match="licence: .*'a' the database has 'MIT', found 'GPL'"):
        ImportedNetwork.add("a", same, licence="GPL")
    with pytest.raises(ValueError, match="another imported network 'a'.*delete imported-network a"):
        ImportedNetwork.add("a", network(folder, "c", 3))
    with pytest.raises(ValueError, match="trained_on: 300 characters"):
        ImportedNetwork.add("c", network(folder, "c", 3), trained_on="x" * 300)
    assert len(ImportedNetwork()) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imported_networks": ["a", "z"]}, "imported_networks: z not in the database, which has"),
        ({"images": "digits"}, "imported_networks: a: image set 'digits': 10 of its 10 classes"),
        ({"images": "grey"}, "imported_networks: a: image set 'grey': grey images, but"),
        (
            {"activations": {"layer": "stage4", "n_shown": 0}},
            "imported_networks: a: layers: stage4 are not",
        ),
        (
            {"activations": None, "predictivity": [{"scan": "v4", "layers": ["stage4"]}]},
            "imported_networks: a: layers: stage4 are not",
        ),
        (
            {"teachers": ["none"], "training": {}, "seeds": [0], "activations": None},
            "'few' has test images alone",
        ),
    ],
)
def test_what_cannot_be_had_is_not_planned(changes: dict[str, Any], message: str) -> None:
    training.ImageSet.add(few_digits(), source="test")
    grey = few_images()
    training.ImageSet.add(
        replace(
            grey,
            name="grey",
            train_images=grey.train_images[:, :1],
            test_images=grey.test_images[:, :1],
        ),
        source="test",
    )
    with pytest.raises(ExperimentError, match=message):
        add_experiment(experiment(**changes), name="other", scale="smoke")
    assert not Experiment & {"experiment": "other"}


def test_settings_that_make_no_sense_for_them_are_refused() -> None:
    with pytest.raises(ValueError, match="images: missing, but imported networks are to be tested"):
        experiment(images=None)
    with pytest.raises(ValueError, match="noise.part: validation, but imported networks may have"):
        experiment(noise=[{"part": "validation"}])
    with pytest.raises(ValueError, match="'few' has test images alone, for networks that others"):
        train(few_images(), training.NetworkSettings(), TrainingConfig(), 0)


def test_a_deleted_network_is_taken_anew_and_never_trained() -> None:
    key = (training.TrainedNetwork & name_of("a")).keys()[0]
    before = training.TrainedNetwork.load(key).state_dict()
    deletion.Deletion((training.TrainedNetwork & key,)).execute()
    populate.compute(key, training.TrainedNetwork)
    after = training.TrainedNetwork.load(key).state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    deletion.Deletion((ImportedNetwork & name_of("a"),)).execute()  # as nobody should
    with pytest.raises(RuntimeError, match="'a' was deleted, and nobody can train it here"):
        populate.compute(key, training.TrainedNetwork)
    taken = {one.table for one in deletion.of_imported_network("b").affected()}
    assert {"TrainedNetwork", "NoiseAccuracy", "TrainingPlan", "ImportedNetwork"} <= taken
    deletion.of_imported_network("b").execute()
    assert not ImportedNetwork()
    assert not training.TrainedNetwork()


def test_another_laboratory_gets_them(
    new_tables: Callable[[Path], Settings],
    opened: Database,
    archive: Path,
    tmp_path: Path,
) -> None:
    opened.close()  # the last to use it
    with open_database(new_tables(tmp_path)) as other:
        operations.import_archive(other, archive)
        assert set(conditions(results.noise("others"))) == {"a", "b"}
        assert operations.check_database(other).problems == []
        assert set(ImportedNetwork.to_arrays("imported_network")) == {"a", "b"}
        assert set(populate.populate().computed.values()) == {0}
        for key in training.TrainedNetwork.keys():  # noqa: SIM118 - a query
            assert training.TrainedNetwork.load(key) is not None
