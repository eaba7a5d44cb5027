"""Corrupted images that others made: arrays and folders, and networks that are shown them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from regularized_training.robustness.corruptions.accuracy import (
    accuracy_on_corrupted_sets,
    accuracy_under_corruptions,
)
from regularized_training.robustness.corruptions.config import CorruptionConfig
from regularized_training.robustness.corruptions.corrupt import corrupt
from regularized_training.robustness.corruptions.stored import read_corrupted_sets
from regularized_training.tasks.labelled_task import TaskError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 3, 32, 32)).astype(np.uint8)
LABELS = np.arange(20) % 10


def arrays(folder: Path, kinds: tuple[str, ...] = ("fog", "contrast")) -> Path:
    """As CIFAR-10-C: all images of severity 1, then of 2, and so on."""
    folder.mkdir()
    for kind in kinds:
        made = [corrupt(IMAGES, kind, s).permute(0, 2, 3, 1).numpy() for s in range(1, 6)]  # type: ignore[arg-type]
        np.save(folder / f"{kind}.npy", np.concatenate(made))
    np.save(folder / "labels.npy", np.tile(LABELS, 5).astype(np.uint8))
    return folder


class Random(nn.Module):
    """Ten answers, of no account."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.weights = torch.randn(3 * 32 * 32, 10, generator=rng) / 10

    def forward(self, images: Tensor) -> Tensor:
        return (images - 0.5).flatten(1) @ self.weights


def test_sets_of_arrays_are_what_was_stored_and_score_as_what_is_made(tmp_path: Path) -> None:
    found = {s.name: s for s in read_corrupted_sets(arrays(tmp_path / "c"), name="c")}
    assert len(found) == 2 * 5
    one = found["c-contrast-4"]
    assert torch.equal(torch.from_numpy(one.images), corrupt(IMAGES, "contrast", 4))
    assert one.labels.tolist() == LABELS.tolist() and one.label_names[1] == "automobile"
    config = CorruptionConfig(kinds=("fog", "contrast"), severities=(2, 5), batch_size=7)
    made = accuracy_under_corruptions(Random(), IMAGES, LABELS, config).severities
    read = accuracy_on_corrupted_sets(
        Random(),
        IMAGES,
        LABELS,
        one.label_names,
        lambda kind, severity: found[f"c-{kind}-{severity}"],
        config,
    ).severities
    for a, b in zip(made, read, strict=True):
        assert (a.corruption, a.severity, a.accuracy) == (b.corruption, b.severity, b.accuracy)
        assert a.confidence == pytest.approx(b.confidence, abs=1e-6)
    classes = tuple(reversed(one.label_names))  # another order, another meaning
    other = accuracy_on_corrupted_sets(
        Random(), IMAGES, LABELS, classes, lambda k, s: found[f"c-{k}-{s}"], config
    ).severities
    assert [o.accuracy for o in other] != [r.accuracy for r in read]
    with pytest.raises(TaskError, match="images of 32 x 32, expected 16 x 16"):
        found["c-fog-2"].for_network((3, 16, 16))


def test_folders_have_a_set_for_each_severity_that_is_there(tmp_path: Path) -> None:
    for severity in (1, 3):
        for label in ("bee", "ant"):
            place = tmp_path / "jpeg_compression" / str(severity) / label
            place.mkdir(parents=True)
            pixels = np.full((20, 24, 3), 40 * severity, np.uint8)
            Image.fromarray(pixels).save(place / "0.png")
    found = list(read_corrupted_sets(tmp_path, name="insects", size=16))
    assert [s.name for s in found] == [
        "insects-jpeg_compression-1",
        "insects-jpeg_compression-3",
    ]
    assert found[1].label_names == ("ant", "bee") and (found[1].images == 120).all()
    assert found[1].images.shape == (2, 3, 16, 16)


def test_what_is_no_such_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="unpack archives first"):
        next(read_corrupted_sets(tmp_path / "c.tar", name="c"))
    with pytest.raises(TaskError, match="no corruption, expected files such as gaussian_noise.npy"):
        next(read_corrupted_sets(tmp_path, name="c"))
    folder = arrays(tmp_path / "c", ("fog",))
    (folder / "labels.npy").unlink()
    with pytest.raises(FileNotFoundError, match="labels.npy: no such file"):
        next(read_corrupted_sets(folder, name="c"))
    np.save(folder / "labels.npy", LABELS[:7])
    with pytest.raises(TaskError, match=r"100 images and labels of shape \(7,\)"):
        next(read_corrupted_sets(folder, name="c"))
    np.save(folder / "labels.npy", LABELS)  # the same for each severity
    assert len(list(read_corrupted_sets(folder, name="c"))) == 5
    whole = (folder / "fog.npy").read_bytes()
    (folder / "fog.npy").write_bytes(whole[:5000])
    with pytest.raises(TaskError, match=r"fog.npy: not a whole .npy file"):
        next(read_corrupted_sets(folder, name="c"))
    np.save(folder / "fog.npy", IMAGES)  # channels first
    with pytest.raises(TaskError, match="expected \\(n, height, width, 3\\)"):
        next(read_corrupted_sets(folder, name="c"))
