"""Test images of their own: what they hold, and which label a network's outputs mean."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regularized_training.tasks.evaluation_files import read_evaluation_set
from regularized_training.tasks.evaluation_set import EvaluationSet, OutputMeaning
from regularized_training.tasks.image_files import luma
from regularized_training.tasks.labelled_task import TaskError

OUTPUTS = {"boat": ["canoe", "speedboat"], "dog": ["beagle"]}


def few(**changes: Any) -> EvaluationSet:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8)).astype(np.uint8)
    given: dict[str, Any] = {
        "name": "few",
        "images": images,
        "labels": np.array([0, 0, 1, 1]),
        "label_names": ("boat", "dog"),
    }
    return EvaluationSet(**given | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in ("dog", "boat"):
        (tmp_path / "sketches" / label).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 256, (10, 12, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "sketches" / label / f"{i}.png")
    (tmp_path / "sketches" / "outputs.json").write_text(json.dumps(OUTPUTS))
    return tmp_path / "sketches"


# -- what outputs mean ---------------------------------------------------------------------


def test_a_labels_probability_is_the_mean_of_the_softmax_over_its_outputs() -> None:
    meaning = few(outputs=OUTPUTS).meaning(["beagle", "canoe", "tench", "speedboat"])
    assert meaning.label_of_output.tolist() == [1, 0, -1, 0]
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    softmax = logits.softmax(1)
    expected = torch.stack([(softmax[:, 1] + softmax[:, 3]) / 2, softmax[:, 0]], 1)
    torch.testing.assert_close(meaning.probabilities(logits), expected)
    assert meaning.answers(logits).tolist() == expected.argmax(1).tolist()


def test_an_output_without_a_label_is_never_the_answer() -> None:
    """Nor does a label gain by having many outputs, as it would by their sum."""
    meaning = OutputMeaning(("boat", "dog"), np.array([0, 0, 0, 1, -1]))
    logits = torch.tensor([[0.2, 0.2, 0.2, 0.3, 9.0]])
    assert meaning.answers(logits).tolist() == [1]


def test_without_outputs_classes_mean_the_labels_of_their_names() -> None:
    meaning = few().meaning(["dog", "cat", "boat"])
    assert meaning.label_of_output.tolist() == [1, -1, 0]


def test_a_label_that_no_class_means_is_refused() -> None:
    with pytest.raises(TaskError, match="few: 1 of 2 labels, such as 'dog', are meant by none of"):
        few(outputs=OUTPUTS).meaning(["canoe", "tench"])
    with pytest.raises(TaskError, match=r"logits: shape \(2, 5\), expected \(n, 3\)"):
        few().meaning(["dog", "cat", "boat"]).probabilities(torch.zeros(2, 5))


def test_images_are_grey_for_networks_that_see_grey() -> None:
    images = few()
    np.testing.assert_array_equal(images.with_channels(1), luma(images.images))
    assert images.with_channels(3) is not images.images
    np.testing.assert_array_equal(images.with_channels(3), images.images)
    grey = few(images=images.with_channels(1))
    assert grey.with_channels(3).shape == (4, 3, 8, 8)
    with pytest.raises(TaskError, match="n_channels: 2, expected 1 or 3"):
        images.with_channels(2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name: empty"),
        ({"label_names": ("boat", "boat")}, "label_names: 1 distinct names among 2"),
        ({"labels": np.array([0, 0, 1, 2])}, "labels: values from 0 to 2, expected 0 to 1"),
        ({"labels": np.array([0, 1])}, r"labels: shape \(2,\), expected \(4,\)"),
        ({"images": np.zeros((4, 3, 8, 8))}, "images: type float64, expected uint8"),
        ({"images": np.zeros((4, 8, 8), np.uint8)}, r"images: shape \(4, 8, 8\), expected"),
        ({"outputs": {"boat": ["canoe"]}}, "outputs: 'dog' is left out"),
        ({"outputs": {**OUTPUTS, "cat": ["lynx"]}}, "outputs: 'cat' is no label"),
        ({"outputs": {**OUTPUTS, "dog": []}}, r"outputs: \[\] for 'dog', expected names"),
        ({"outputs": {**OUTPUTS, "dog": ["canoe"]}}, "outputs: 'canoe' means 'boat' and 'dog'"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        few(**changes)


# -- from files ----------------------------------------------------------------------------


def test_labels_are_folders_and_images_stay_in_colour(folder: Path) -> None:
    found = read_evaluation_set(folder)
    assert (found.name, found.label_names) == ("sketches", ("boat", "dog"))
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.outputs == {label: tuple(classes) for label, classes in OUTPUTS.items()}
    expected = np.asarray(Image.open(folder / "dog" / "1.png"))
    np.testing.assert_array_equal(found.images[3].transpose(1, 2, 0), expected)
    assert read_evaluation_set(folder, size=8).images.shape == (4, 3, 8, 8)


def test_an_archive_equals_its_folder(folder: Path) -> None:
    with tarfile.open(folder.with_name("packed.tar.gz"), "w:gz") as tar:
        tar.add(folder, "above/test")
    packed = read_evaluation_set(folder.with_name("packed.tar.gz"))
    assert packed.digest == read_evaluation_set(folder).digest


def test_outputs_from_elsewhere_come_first(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"boat": ["ship"], "dog": ["hound"]}')
    assert read_evaluation_set(folder, outputs=other).outputs["dog"] == ("hound",)
    with pytest.raises(FileNotFoundError, match=r"gone\.json: no such file"):
        read_evaluation_set(folder, outputs=tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", r"outputs\.json: not JSON"),
        ('{"boat": "canoe"}', r"outputs\.json: expected lists of classes by label"),
        ('{"boat": [1], "dog": ["b"]}', r"outputs\.json: expected names of classes"),
        ('{"boat": ["canoe"]}', "outputs: 'dog' is left out"),
    ],
)
def test_outputs_that_mean_nothing_are_refused(folder: Path, content: str, message: str) -> None:
    (folder / "outputs.json").write_text(content)
    with pytest.raises(TaskError, match=message):
        read_evaluation_set(folder)


def test_folders_that_are_no_evaluation_set_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="empty: no images; expected LABEL/IMAGE in one folder"):
        (tmp_path / "empty").mkdir()
        read_evaluation_set(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        read_evaluation_set(tmp_path / "nowhere")
    Image.new("RGB", (5, 5)).save(folder / "dog" / "2.png")
    with pytest.raises(TaskError, match="sketches: images of 2 sizes"):
        read_evaluation_set(folder)
    (folder / "dog" / "2.png").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(TaskError, match=r"dog/2\.png: .* a web page"):
        read_evaluation_set(folder)
    (folder / "dog" / "2.png").unlink()
    (folder / "boat" / "far").mkdir()
    Image.new("RGB", (12, 10)).save(folder / "boat" / "far" / "2.png")
    with pytest.raises(TaskError, match=r"in 2 folders: \., boat; expected LABEL/IMAGE in one"):
        read_evaluation_set(folder)
