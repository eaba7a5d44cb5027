"""Networks judged by recordings: of a brain that is a layer, and of one that is not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from predictive_model.recordings.recording import Recording
from regularized_training.alignment.scan_config import ScanPredictivityConfig
from regularized_training.alignment.scan_predictivity import bytes_needed, score_by_scan
from regularized_training.networks.architectures import build_network
from regularized_training.networks.config import NetworkConfig
from regularized_training.networks.layer_reader import LayerReader
from regularized_training.teachers.stimuli import prepare_stimuli

N, REPEATS, NEURONS, SIDE = 160, 8, 12, 16
SHAPE = (1, SIDE, SIDE)
LAYERS = ("stage1", "stage2", "stage3")


@cache
def the_network() -> nn.Module:
    return build_network(NetworkConfig(width=4), 1, 10, seed=0).eval()


@cache
def patches() -> NDArray[np.uint8]:
    small = np.random.default_rng(0).integers(0, 256, (N, 1, 4, 4)).astype(np.uint8)
    return small.repeat(4, 2).repeat(4, 3)


@cache
def brain(layer: str = "stage3", repeats: int = REPEATS) -> Recording:
    """Neurons that each read some maps of a layer, with noise in each trial."""
    with torch.inference_mode():
        (features,) = LayerReader(the_network(), (layer,))(prepare_stimuli(patches(), 1))
    flat = features.flatten(1).double().numpy()
    flat = flat[:, flat.std(0) > 0]
    rng = np.random.default_rng(1)
    # Directions with much variance, as partial least squares finds them of 160 images.
    axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    signal = (axes[0][:, :6] * axes[1][:6]) @ rng.normal(size=(6, NEURONS))
    signal /= signal.std(0)
    index = np.repeat(np.arange(N), repeats)
    values = signal[index] + rng.normal(size=(len(index), NEURONS))
    tier = np.where(index < 40, "test", np.where(index < 50, "validation", "train"))
    return Recording("it", patches(), index, values.astype(np.float32), tier=tier)


def judged(scan: Recording, *layers: str, **settings: Any) -> Any:
    config = ScanPredictivityConfig(scan="it", **{"n_resamples": 20} | settings)
    return score_by_scan(the_network(), layers or LAYERS, scan, config, SHAPE)


@pytest.mark.parametrize("metric", ["pls", "ridge"])
def test_a_layer_that_is_the_brain_is_chosen_and_reaches_its_ceiling(metric: str) -> None:
    found = judged(brain(), metric=metric, **({"n_components": 10} if metric == "pls" else {}))
    assert found.best.layer == "stage3" and found.n_images == N // 2
    assert 0.85 < found.best.score.ratio < 1.05
    low, high = found.interval
    assert low < found.best.score.score < high
    assert found.correlation.shape == (10, NEURONS) and found.reliability.shape == (NEURONS,)
    # Means of 8 trials of signal and noise of the same variance.
    assert np.median(found.reliability) == pytest.approx(8 / 9, abs=0.03)


@pytest.mark.parametrize("metric", ["rsa", "cka", "procrustes"])
def test_similarity_prefers_the_layer_that_the_brain_is(metric: str) -> None:
    found = judged(brain(), metric=metric)
    scores = {one.layer: one.score.score for one in found.layers}
    assert scores["stage3"] == max(scores.values()), scores
    assert found.reliability.shape == (1,) and found.correlation.shape == (0, NEURONS)
    assert found.interval[0] < found.best.score.score < found.interval[1]
    assert found.best.score.explained == pytest.approx(
        found.best.score.score**2 / found.reliability[0]
    )


def test_a_single_layer_is_scored_on_all_images() -> None:
    found = judged(brain(), "stage1", n_components=5)
    assert found.n_images == N and found.best.choosing is None
    assert found.best.layer == "stage1" and len(found.layers) == 1


def test_the_choosing_half_never_scores() -> None:
    """Responses to the scoring half are noise: whatever the choosing half says, nothing is left."""
    plain = judged(brain(), metric="ridge")
    from regularized_training.alignment.layer_choice import halves

    _, scoring = halves(N, seed=1)
    values = np.array(brain().responses)
    spoilt = np.isin(brain().image_index, scoring)
    values[spoilt] = np.random.default_rng(2).normal(size=values[spoilt].shape)
    found = judged(replace(brain(), responses=values), metric="ridge")
    assert found.best.choosing == pytest.approx(plain.best.choosing)
    assert abs(found.best.score.score) < 0.25


def test_averages_have_no_ceiling() -> None:
    found = judged(brain(repeats=1), "stage3", n_components=5)
    assert found.best.score.ratio is None and found.reliability is None
    assert found.best.score.missing == "no repeats: only mean responses are known"


def test_images_shown_once_have_not_the_ceiling_of_others() -> None:
    scan = brain()
    kept = (scan.image_index < 60) | (np.arange(scan.n_trials) % REPEATS == 0)
    tier = np.asarray(scan.tier)[kept]
    some = replace(
        scan, responses=scan.responses[kept], image_index=scan.image_index[kept], tier=tier
    )
    found = judged(some, "stage3", n_components=5)
    assert found.n_images == N and found.best.score.missing.startswith("100 of 160 images were")
    repeated = judged(some, "stage3", n_components=5, images="repeated")
    assert repeated.n_images == 60 and repeated.best.score.ratio is not None
    assert judged(some, "stage3", n_components=5, images="test").n_images == 40


def test_rsa_leaves_out_images_to_which_neurons_are_silent() -> None:
    values = np.array(brain().responses)
    values[brain().image_index == 7] = 0
    silent = replace(brain(), responses=values)
    assert judged(silent, "stage3", metric="rsa").n_images == N - 1
    few = (silent.image_index == 9) & (np.arange(len(values)) % REPEATS > 0)
    values[few] = 0
    found = judged(replace(brain(), responses=values), "stage3", metric="rsa")
    assert found.n_images == N - 1 and np.isfinite(found.interval).all()
    assert found.reliability is None and "halves of the repeats" in found.best.score.missing


def test_groups_are_in_every_split_by_their_share() -> None:
    groups = np.where(np.arange(N) < 20, "rare", "common")
    scan = replace(brain(), image_groups=groups)
    few = replace(scan, image_groups=np.where(np.arange(N) < 1, "rare", "common"))
    judged(scan, "stage3", n_components=5)
    with pytest.raises(ValueError, match="stratify by less"):
        judged(few, "stage3", n_components=5)
    judged(few, "stage3", n_components=5, stratify=False)


def test_images_are_as_large_as_they_were_shown() -> None:
    """A layer that sees images at half their size is another than the brain."""
    scan = replace(brain(), degrees=8.0)
    same = judged(scan, "stage3", metric="rsa", degrees=8.0).best.score.score
    assert same == pytest.approx(judged(scan, "stage3", metric="rsa").best.score.score)
    assert judged(scan, "stage3", metric="rsa", degrees=16.0).best.score.score < same - 0.1
    with pytest.raises(ValueError, match="import the scan with --degrees"):
        judged(brain(), "stage3", degrees=8.0)


def test_what_it_takes_is_known_beforehand() -> None:
    config = ScanPredictivityConfig(scan="it")
    memory, file = bytes_needed(the_network(), LAYERS, brain(), config, SHAPE)
    assert 1e6 < memory < 1e8 and file == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"metric": "rsa", "n_components": 5}, "n_components: 5, but the metric rsa has none"),
        ({"penalties": (1.0,)}, "penalties: .*, but the metric pls"),
        ({"layers": ("a", "a")}, "expected each once"),
    ],
)
def test_settings_that_would_change_nothing_are_refused(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        ScanPredictivityConfig(scan="it", **settings)
