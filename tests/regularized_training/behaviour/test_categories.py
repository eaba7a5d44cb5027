"""Which classes mean the 16 categories, by place, WordNet id and name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models import ResNet18_Weights

from regularized_training.behaviour.categories import (
    CATEGORIES,
    imagenet_classes,
    imagenet_meaning,
    outputs_among,
    synsets,
)
from regularized_training.tasks.evaluation_set import EvaluationSet


def test_there_are_207_classes_each_of_one_category() -> None:
    places = [place for name in CATEGORIES for place in imagenet_classes()[name]]
    ids = [one for name in CATEGORIES for one in synsets()[name]]
    assert len(places) == len(set(places)) == len(ids) == len(set(ids)) == 207
    assert tuple(sorted(CATEGORIES)) == CATEGORIES
    for name in CATEGORIES:
        assert len(synsets()[name]) == len(imagenet_classes()[name])
        assert list(synsets()[name]) == sorted(synsets()[name])


def test_places_and_wordnet_ids_name_the_same_classes() -> None:
    timm = pytest.importorskip("timm.data", reason="timm is in the extra `networks`")
    imagenet = timm.ImageNetInfo("imagenet-1k").label_names()
    for name in CATEGORIES:
        assert tuple(imagenet[i] for i in imagenet_classes()[name]) == synsets()[name]


@pytest.mark.parametrize(
    ("category", "named"),
    [
        ("bear", ["brown bear", "American black bear", "ice bear", "sloth bear"]),
        ("boat", ["canoe", "fireboat", "lifeboat", "speedboat", "yawl"]),
        ("clock", ["analog clock", "digital clock", "wall clock"]),
        ("oven", ["rotisserie"]),
        (
            "truck",
            ["fire engine", "garbage truck", "minivan", "moving van", "pickup"]
            + ["police van", "tow truck", "trailer truck"],
        ),
    ],
)
def test_classes_are_called_so_by_torchvision(category: str, named: list[str]) -> None:
    names = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    assert [names[i] for i in imagenet_classes()[category]] == named


def test_a_category_is_as_probable_as_its_classes_are_on_average() -> None:
    logits = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    found = imagenet_meaning().probabilities(logits)
    p = logits.softmax(1)
    torch.testing.assert_close(found[:, CATEGORIES.index("bear")], p[:, 294:298].mean(1))
    assert found.shape == (3, 16)
    background = torch.cat([torch.full((3, 1), 50.0), logits], 1)
    assert torch.equal(
        imagenet_meaning(1001).answers(background), imagenet_meaning().answers(logits)
    )
    with pytest.raises(ValueError, match="n_outputs: 10, expected 1000 of ImageNet"):
        imagenet_meaning(10)


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def test_networks_of_cifar10_answer_seven_of_the_categories() -> None:
    outputs = outputs_among(CIFAR10)
    assert outputs["boat"] == ("ship",) and outputs["car"] == ("automobile",)
    assert list(outputs) == ["airplane", "bird", "boat", "car", "cat", "dog", "truck"]
    images = np.zeros((7, 3, 4, 4), np.uint8)
    asked = EvaluationSet("seven", images, np.arange(7), tuple(outputs), outputs)
    assert asked.meaning(CIFAR10).label_of_output.tolist() == [0, 3, 1, 4, -1, 5, -1, -1, 2, 6]
    with pytest.raises(ValueError, match="of which 1 mean one of the 16 categories"):
        outputs_among(["cat", "tulip"])


def test_wordnet_ids_mean_their_categories() -> None:
    tiny = ("n02124075", "n02123394", "n02504458", "n01443537")  # two cats, an elephant, a fish
    assert outputs_among(tiny) == {"cat": tiny[:2], "elephant": tiny[2:3]}
