"""Learning from clean and distorted images: what is drawn, the second loss, both parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from predictive_model.randomness import seeded
from regularized_training.distortions import Distorting, distorted
from regularized_training.joint_loss import JointLoss
from regularized_training.lessons.config import RegularizerConfig
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.layer_reader import LayerError, LayerReader
from regularized_training.tasks.image_task import ImageTask
from regularized_training.training import train
from regularized_training.training_config import DistortedConfig, TrainingConfig
from tests.regularized_training.short_trainings import (
    PLAIN,
    Killed,
    assert_same_weights,
    without_time,
)

NETWORK = NetworkConfig(width=2)
ORACLE = DistortedConfig(by={"gaussian": (0.1, 0.3), "salt_and_pepper": (0.2,)}, layer="stage1")
CONFIG = PLAIN.model_copy(update={"distorted": ORACLE, "n_train": 160, "n_test": 40})
IMAGES = torch.rand(600, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4


def test_each_image_has_one_distortion_and_all_settings_are_as_likely() -> None:
    with seeded(0):
        made = distorted(IMAGES, ORACLE.by)
    assert made.min() == 0 and made.max() == 1
    changed = made != IMAGES
    extreme = ((made == 0) | (made == 1)) & changed
    salted = changed.float().mean((1, 2, 3)) < 0.5
    # A third of the images each: salt and pepper in a fifth of the pixels, in all channels alike,
    # and Gaussian noise of two levels.
    assert 0.28 < salted.float().mean() < 0.39
    assert 0.19 < extreme[salted].float().mean() < 0.21
    assert torch.equal(extreme[salted][:, 0], extreme[salted][:, 2])
    spread = (made - IMAGES)[~salted].flatten(1).std(1)
    weak = spread < 0.2
    assert 0.4 < weak.float().mean() < 0.6
    torch.testing.assert_close(spread[weak].mean(), torch.tensor(0.1), atol=0.003, rtol=0)


def test_corruptions_distort_as_well_and_are_new_every_time() -> None:
    by = {"gaussian": (0.3,), "contrast": (5,), "impulse_noise": (3, 5)}
    with seeded(0):
        made, again = distorted(IMAGES, by), distorted(IMAGES, by)  # type: ignore[arg-type]
    with seeded(0):
        assert torch.equal(distorted(IMAGES, by), made)  # type: ignore[arg-type]
    assert not torch.equal(made, again)
    flat = made.flatten(1).std(1) < 0.3 * IMAGES.flatten(1).std(1)  # little contrast is left
    extreme = ((made == 0) | (made == 1)).flatten(1).float().mean(1)
    noisy = (made - IMAGES).flatten(1).abs().median(1).values > 0.05
    assert flat.float().mean().item() == pytest.approx(1 / 4, abs=0.05)
    assert noisy.float().mean().item() == pytest.approx(1 / 4, abs=0.05)
    impulses = extreme[~flat & ~noisy]
    assert impulses.mean().item() == pytest.approx((0.03 + 0.07) / 2, abs=0.006)
    # What was not distorted keeps its pixels, as one of 256 levels.
    rest = (made - IMAGES).abs()[~flat & ~noisy]
    assert (rest < 0.5 / 255 + 1e-6).float().mean() > 0.9


def test_the_loss_is_that_of_both_halves_and_of_what_lies_between_them() -> None:
    """Literally: two passes would be normalised apart, so the two halves are one batch."""
    network = build_network(NETWORK, n_channels=1, n_classes=5, seed=0).train()
    images, labels = torch.rand(6, 1, 16, 16), torch.tensor([0, 1, 2, 3, 4, 0])
    config = ORACLE.model_copy(update={"distance": 0.7})
    loss = JointLoss(network, 5, None, "float32", Distorting(network, config))
    with seeded(3):
        total, parts = loss(images, labels, None, [])
    with seeded(3):
        other = distorted(images, config.by)
    both = torch.cat([images, other])
    logits = network(both)
    (features,) = LayerReader(network, ("stage1",))(both)
    apart = 0.0
    for one, two in zip(features[:6], features[6:], strict=True):
        apart += ((one - two) ** 2).sum().item() / one.numel() / 6
    answers = torch.cat([labels, labels])
    task = F.cross_entropy(logits, answers)
    torch.testing.assert_close(total, task + 0.7 * apart)
    torch.testing.assert_close(parts[0], task)
    assert parts[2] == (logits.argmax(1) == answers).sum() / 2


def test_the_second_part_leaves_the_trunk_as_it_was_and_learns_the_rest(
    small_digits: ImageTask,
) -> None:
    whole = train(small_digits, NETWORK, CONFIG, seed=1)
    first = train(
        small_digits,
        NETWORK,
        CONFIG.model_copy(update={"distorted": ORACLE.model_copy(update={"retrained": False})}),
        seed=1,
    )
    assert without_time(whole.earlier) == without_time(first.history)
    assert len(whole.history) == CONFIG.epochs and not first.earlier
    assert whole.seconds == sum(r.seconds for r in (*whole.earlier, *whole.history))
    trunk = LayerReader(whole.network(), ("stage1",)).up_to.state_dict()
    assert any("running_mean" in name for name in trunk)
    for name, value in whole.state_dict.items():
        same = torch.equal(value, first.state_dict[name])
        assert same == (name in trunk) or "num_batches_tracked" in name, name


def test_a_trunk_that_saw_noise_is_less_moved_by_it(small_digits: ImageTask) -> None:
    noise = DistortedConfig(by={"gaussian": (0.3,)}, layer="stage1", distance=3, retrained=False)
    moved = {}
    for name, setting in (("clean", None), ("noise", noise)):
        config = PLAIN.model_copy(update={"distorted": setting, "epochs": 8})
        network = train(small_digits, NetworkConfig(width=4), config, seed=0).network()
        images = torch.from_numpy(small_digits.test_images[:100]).float() / 255
        with seeded(1), torch.no_grad():
            read = LayerReader(network, ("stage1",))
            (clean,), (noisy,) = read(images), read(distorted(images, noise.by))
        moved[name] = float((clean - noisy).norm() / clean.norm())
    assert moved["noise"] < 0.8 * moved["clean"]


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_killed_in_either_part_and_resumed_it_is_the_same(
    small_digits: ImageTask, tmp_path: Path, killed_after: int
) -> None:
    def kill(record: object) -> None:
        seen.append(record)
        if len(seen) == killed_after:
            raise Killed

    seen: list[object] = []
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        train(small_digits, NETWORK, CONFIG, seed=0, checkpoint=path, progress=kill)
    epochs: list[int] = []
    resumed = train(
        small_digits,
        NETWORK,
        CONFIG,
        seed=0,
        checkpoint=path,
        progress=lambda record: epochs.append(record.epoch),
    )
    # From the last checkpoint, which may be of an epoch before.
    assert epochs == list(range(epochs[0], 2 * CONFIG.epochs)) and epochs[0] <= killed_after
    whole = train(small_digits, NETWORK, CONFIG, seed=0)
    assert_same_weights(resumed, whole)
    assert without_time(resumed.history) == without_time(whole.history)
    assert without_time(resumed.earlier) == without_time(whole.earlier)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"by": {}}, "by: no kind of distortion, expected at least one with its levels"),
        ({"by": {"gaussian": (0.1, 0.1)}}, "by.gaussian: levels: .* expected every level once"),
        ({"by": {"gaussian": (20,)}}, "by.gaussian: levels: .* expected 0 to 2"),
        ({"by": {"rain": (1,)}}, "gaussian"),
        ({"by": {"fog": (0,)}}, "by.fog: severities: .* of 1 to 5"),
        ({"by": {"fog": (1, 1)}}, "by.fog: severities: .* expected every severity once"),
    ],
)
def test_distortions_that_cannot_be_are_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        DistortedConfig.model_validate({**ORACLE.model_dump(), **change})


def test_a_teacher_beside_distorted_images_is_refused() -> None:
    with pytest.raises(ValidationError, match="distorted: given beside a regularizer"):
        TrainingConfig(distorted=ORACLE, regularizer=RegularizerConfig())


def test_a_trunk_that_is_not_there_is_named(small_digits: ImageTask) -> None:
    config = replace_layer("stage9")
    with pytest.raises(LayerError, match="stage9 are not among"):
        train(small_digits, NETWORK, config, seed=0)


def replace_layer(layer: str) -> TrainingConfig:
    return CONFIG.model_copy(update={"distorted": ORACLE.model_copy(update={"layer": layer})})
