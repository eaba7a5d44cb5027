"""Quantised MobileNets of ImageNet, imported, on the 50 classes of Tiny ImageNet that are here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from timm.data import ImageNetInfo

from regularized_training.networks.reading import read_classes, read_imported
from regularized_training.tasks.batches import to_float
from regularized_training.tasks.image_files import read_image_folder


@pytest.mark.parametrize(
    ("name", "size", "accuracy"),
    [
        ("mobilenet_v1_0.25_128_quant", 128, (0.512, 0.128)),
        ("mobilenet_v1_0.5_160_quant", 160, (0.580, 0.188)),
    ],
)
def test_classes_are_found_among_1001_outputs_by_their_names(
    data_folder: Path, name: str, size: int, accuracy: tuple[float, float]
) -> None:
    """Every fifth image, enlarged from 64 x 64; accuracy among the 50 classes and among all."""
    folder = data_folder / "imagenet_mobilenets"
    task = read_image_folder(
        data_folder / "tiny_imagenet/tiny_imagenet_50.tar", grey=False, size=size, test_only=True
    )
    assert len(task.train_labels) == 0
    info = ImageNetInfo()
    labels = read_classes(folder / "labels_1001.txt")
    assert labels == ("background", *info.label_descriptions())
    names = info.label_names()  # WordNet ids, as the folders of the classes are called
    network = read_imported(str(folder / f"{name}.json"), classes=("background", *names))
    assert (network.n_outputs, network.image_size) == (1001, size)
    shape = task.image_shape
    images = to_float(torch.from_numpy(task.test_images[::5]))
    truth = task.test_labels[::5]
    with torch.inference_mode():
        logits = network.for_task(names, shape, "all")(images)
        chosen = network.for_task(task.classes, shape, "tiny")(images[:20])
    outputs = [names.index(one) for one in task.classes]
    torch.testing.assert_close(chosen, logits[:20, outputs])
    among_50 = (logits[:, outputs].argmax(1).numpy() == truth).mean()
    among_all = (logits.argmax(1).numpy() == np.array(outputs)[truth]).mean()
    assert (among_50, among_all) == pytest.approx(accuracy, abs=1e-3)
