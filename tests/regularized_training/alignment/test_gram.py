"""Inner products of images stand for a layer, however its features come."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from regularized_training.alignment import gram as module
from regularized_training.alignment.gram import (
    Gram,
    gram_of_batches,
    gram_of_columns,
    plan_grams,
)
from regularized_training.alignment.layer_grams import gram_of_layers, plan_of_layers
from regularized_training.networks.layer_reader import LayerError

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(30, 50)) @ RNG.normal(size=(50, 50)) + 100 * RNG.normal(size=50)


def same(a: Gram, b: Gram) -> None:
    assert a.n_features == b.n_features
    for name in ("products", "sums", "on_mean", "squared_mean"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-6, atol=1e-6)


def test_products_are_of_centred_features_and_give_back_those_of_features_as_they_are() -> None:
    found = Gram.of(FEATURES)
    centred = FEATURES - FEATURES.mean(0)
    np.testing.assert_allclose(found.products, centred @ centred.T, atol=1e-8)
    np.testing.assert_allclose(found.uncentred(), FEATURES @ FEATURES.T, rtol=1e-12)
    np.testing.assert_allclose(found.sums, FEATURES.sum(1))


@pytest.mark.parametrize("cuts", [[], [1], [7, 8, 40]])
def test_columns_may_come_in_any_blocks(cuts: list[int]) -> None:
    same(gram_of_columns(np.split(FEATURES, cuts, axis=1)), Gram.of(FEATURES))


@pytest.mark.parametrize("feature_bytes", [2**30, 0])
def test_images_may_come_in_any_batches_in_memory_or_through_a_file(
    feature_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COLUMNS", 16)
    single = FEATURES.astype(np.float32)
    found = gram_of_batches(
        np.split(single, [1, 11, 20]), 30, feature_bytes=feature_bytes, folder=tmp_path
    )
    same(found, Gram.of(single))
    assert list(tmp_path.iterdir()) == []


def test_some_of_the_images_are_as_if_the_others_had_never_been() -> None:
    chosen = np.array([3, 4, 9, 17, 29])
    same(Gram.of(FEATURES).of_images(chosen), Gram.of(FEATURES[chosen]))


def test_the_factor_has_the_same_inner_products() -> None:
    found = Gram.of(FEATURES)
    np.testing.assert_allclose(found.factor @ found.factor.T, found.products, atol=1e-6)
    assert found.factor.shape == (30, 29)


def test_projection_is_on_the_components_of_other_images() -> None:
    others = np.arange(18, 30)
    expected = PCA(5).fit(FEATURES[others]).transform(FEATURES)
    found = Gram.of(FEATURES).projected(others, 5)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-7)
    with pytest.raises(ValueError, match="n_components: 12, expected 1 to 11"):
        Gram.of(FEATURES).projected(others, 12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    broken = FEATURES.copy()
    broken[3, 31] = bad
    with pytest.raises(ValueError, match="1 are NaN or infinite.*feature 31"):
        Gram.of(broken)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(29, 50\), expected \(30, feature\)"):
        gram_of_columns([FEATURES, FEATURES[1:]])
    with pytest.raises(ValueError, match="none, expected at least one"):
        gram_of_columns([])
    with pytest.raises(ValueError, match="of 20 images, expected n_images, 30"):
        gram_of_batches([FEATURES[:20]], 30)
    with pytest.raises(ValueError, match="all images need one size"):
        gram_of_batches([FEATURES[:20], FEATURES[20:, :40]], 30)


def test_what_is_held_is_known_beforehand_and_the_largest_layers_go_to_a_file() -> None:
    sizes = {"V1": 100_000, "V4": 50_000, "IT": 25_000}
    plan = plan_grams(sizes, 2560)
    assert plan.in_file == ("V1",)
    assert plan.file_bytes == pytest.approx(4 * 2560 * 100_000, rel=0.02)
    assert plan.memory_bytes < 2**30 + 2**28 + 4 * 8 * 2560**2
    huge = plan_grams({"V1": 10**9}, 2560)
    assert huge.memory_bytes < 2**29, "memory must not grow with a layer"


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            V1=nn.Conv2d(1, 3, 3, stride=2),
            norm=nn.BatchNorm2d(3),
            V4=nn.Conv2d(3, 4, 3),
            flat=nn.Flatten(),
            classes=nn.LazyLinear(5),
        )
    )


@pytest.mark.parametrize("feature_bytes", [2**30, 4 * 20 * 2048, 0])
def test_layers_of_a_network_are_read_in_one_pass(feature_bytes: int, tmp_path: Path) -> None:
    net, images = network(), torch.rand(20, 1, 12, 12)
    net.eval()(images[:1])
    net.train()
    passes = []
    net.V1.register_forward_hook(lambda *args: passes.append(len(args[1][0])))  # type: ignore[union-attr,operator]
    found = gram_of_layers(
        net, ("V1", "V4"), images.split(7), 20, feature_bytes=feature_bytes, folder=tmp_path
    )
    assert sum(passes) == 20 and net.training
    net.eval()
    with torch.no_grad():
        first = net.V1(images)  # type: ignore[operator]
        then = net.V4(net.norm(first))  # type: ignore[operator]
    for layer, features in (("V1", first), ("V4", then)):
        same(found[layer], Gram.of(features.flatten(1).double().numpy()))
    assert list(tmp_path.iterdir()) == []
    plan = plan_of_layers(net, ("V1", "V4"), images[:1], 20, feature_bytes=feature_bytes)
    assert (plan.file_bytes > 0) == (feature_bytes < 2 * 4 * 20 * 2048)


def test_layers_that_are_not_there_and_images_that_are_missing_are_refused() -> None:
    net, images = network(), torch.rand(4, 1, 12, 12)
    net.eval()(images[:1])
    with pytest.raises(LayerError, match="V2"):
        gram_of_layers(net, ("V2",), [images], 4)
    with pytest.raises(ValueError, match="of 4 images, expected n_images, 5"):
        gram_of_layers(net, ("V1",), [images], 5)
