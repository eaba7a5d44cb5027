"""A layer is chosen on other images than it is scored on."""

from __future__ import annotations

import numpy as np
import pytest

from regularized_training.alignment.gram import Gram
from regularized_training.alignment.layer_choice import choose_layer, committed_layer, halves
from regularized_training.alignment.predictivity import PredictivityConfig, predictivity

RNG = np.random.default_rng(0)
SIGNAL = RNG.normal(size=(120, 8))
RESPONSES = SIGNAL @ RNG.normal(size=(8, 15)) + RNG.normal(size=(120, 15))
LAYERS = {
    "early": SIGNAL[:, :2] @ RNG.normal(size=(2, 30)) + RNG.normal(size=(120, 30)),
    "middle": SIGNAL @ RNG.normal(size=(8, 30)) + 0.1 * RNG.normal(size=(120, 30)),
    "late": RNG.normal(size=(120, 30)),
}
OBJECTS = np.arange(120) % 4
CONFIG = PredictivityConfig(n_components=8, n_splits=4)


def test_the_layer_that_has_the_signal_is_chosen_and_scored_on_the_other_images() -> None:
    found = choose_layer(LAYERS, RESPONSES, CONFIG, stratify_by=OBJECTS)
    assert found.layer == max(found.scores, key=lambda name: found.scores[name]) == "middle"
    assert np.sort(np.r_[found.chosen_on, found.scored_on]).tolist() == list(range(120))
    part = found.scored_on
    alone = predictivity(LAYERS["middle"][part], RESPONSES[part], CONFIG, OBJECTS[part])
    assert found.found.score == pytest.approx(alone.score, abs=1e-9)


def test_the_seed_decides_the_halves_and_products_do_as_well_as_features() -> None:
    first = choose_layer(LAYERS, RESPONSES, CONFIG, seed=3)
    again = choose_layer({k: Gram.of(v) for k, v in LAYERS.items()}, RESPONSES, CONFIG, seed=3)
    np.testing.assert_array_equal(first.chosen_on, again.chosen_on)
    assert first.scores == pytest.approx(again.scores, abs=1e-9)
    other = choose_layer(LAYERS, RESPONSES, CONFIG, seed=4)
    assert first.chosen_on.tolist() != other.chosen_on.tolist()


def test_the_score_of_the_best_of_many_random_layers_is_not_too_good() -> None:
    """On the images that chose it, it is."""
    rng = np.random.default_rng(1)
    config = PredictivityConfig(method="linear", n_splits=2)
    chosen, scored = [], []
    for seed in range(10):
        layers = {str(k): rng.normal(size=(60, 3)) for k in range(10)}
        found = choose_layer(layers, rng.normal(size=(60, 3)), config, seed=seed)
        chosen.append(found.scores[found.layer])
        scored.append(found.found.score)
    assert np.mean(chosen) > 0.15
    assert abs(np.mean(scored)) < 0.15


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_halves_have_every_label_alike(n: int) -> None:
    labels = np.arange(n) % 3
    first, second = halves(n, stratify_by=labels, seed=0)
    assert len(first) + len(second) == n and not set(first) & set(second)
    counts = [np.bincount(labels[half], minlength=3) for half in (first, second)]
    assert np.abs(counts[0] - counts[1]).max() <= 1


def test_a_layer_can_be_committed_to_an_area_and_must_then_be_there() -> None:
    mapping = {"V4": "middle", "IT": "last"}
    assert committed_layer("V4", mapping, LAYERS) == "middle"
    with pytest.raises(ValueError, match="'V1' has no layer, expected one of V4, IT"):
        committed_layer("V1", mapping, LAYERS)
    with pytest.raises(ValueError, match="'last', committed to IT.*early, middle, late"):
        committed_layer("IT", mapping, LAYERS)


def test_what_cannot_be_chosen_from_is_refused() -> None:
    with pytest.raises(ValueError, match="layers: none"):
        choose_layer({}, RESPONSES)
    with pytest.raises(ValueError, match="responses of 120, early of 119"):
        choose_layer({"early": LAYERS["early"][1:]}, RESPONSES)
