"""Quantised MobileNets of ImageNet, imported, on the 50 classes of Tiny ImageNet that are here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.data import ImageNetInfo

from regularized_training.analysis.accuracy import evaluate
from regularized_training.networks.reading import read_classes, read_imported
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.image_files import read_image_folder


@pytest.mark.parametrize(
    ("name", "size", "accuracy"),
    [("mobilenet_v1_0.25_128_quant", 128, 0.488), ("mobilenet_v1_0.5_160_quant", 160, 0.580)],
)
def test_classes_are_found_among_1001_outputs_by_their_names(
    data_folder: Path, name: str, size: int, accuracy: float
) -> None:
    """Every fifth image, enlarged from 64 x 64; chance is .02, and the background is no class."""
    folder = data_folder / "imagenet_mobilenets"
    task = read_image_folder(
        data_folder / "tiny_imagenet/tiny_imagenet_50.tar", grey=False, size=size, test_only=True
    )
    assert len(task.train_labels) == 0
    labels = read_classes(folder / "labels_1001.txt")
    network = read_imported(str(folder / f"{name}.json"), classes=labels)
    assert (network.n_outputs, network.image_size) == (1001, size)
    info = ImageNetInfo()
    described = dict(zip(info.label_names(), info.label_descriptions(), strict=True))
    task = replace(task, classes=tuple(described[wordnet_id] for wordnet_id in task.classes))
    chosen = slice(None, None, 5)
    images = torch.from_numpy(task.test_images[chosen])
    truth = torch.from_numpy(task.test_labels[chosen])
    found = evaluate(network.for_task(task.classes, task.image_shape, "tiny"), images, truth)[1]
    assert found == pytest.approx(accuracy, abs=1e-3)
    # Among all outputs it is still far above chance, and the order is that of the names.
    whole = network.for_task(labels[1:], task.image_shape, "all")
    with torch.inference_mode():
        answers = whole(to_float(images[:50])).argmax(1).numpy()
    right = [
        labels[1:][answer] == task.classes[n] for answer, n in zip(answers, truth, strict=False)
    ]
    assert np.mean(right) > 0.1
