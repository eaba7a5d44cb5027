"""Composite scores of simulated networks, whose order is known."""

from __future__ import annotations

import numpy as np
import pytest

from regularized_training.alignment.composite import Part, composite

N = 60  # neurons


def part(levels: tuple[float, ...], noise: float = 0.1, seed: int = 0) -> Part:
    rng = np.random.default_rng(seed)
    of_neuron = rng.normal(0, noise, N)  # the same for all networks
    of_split = rng.normal(0, 0.01, (len(levels), 5, N))
    correlations = np.array(levels)[:, None, None] + of_neuron + of_split
    return Part(correlations, np.full(N, 0.8))


def test_the_composite_is_the_mean_of_ceiled_scores() -> None:
    parts = {"v1": part((0.3, 0.6)), "it": part((0.5, 0.4), seed=1)}
    found = composite(parts)
    for name, one in parts.items():
        score = np.median(one.correlations, axis=2).mean(1)
        np.testing.assert_allclose(found.parts[name], score**2 / 0.8)
    np.testing.assert_allclose(found.score, (found.parts["v1"] + found.parts["it"]) / 2)
    assert (found.low < found.score).all() and (found.score < found.high).all()


def test_networks_are_ranked_in_pairs_so_that_what_all_share_does_not_count() -> None:
    # Neurons differ by far more than networks, but by the same for all of them.
    found = composite({"v1": part((0.40, 0.44, 0.42), noise=0.2)})
    assert found.rank.tolist() == [3, 1, 2]
    assert found.rank_low.tolist() == found.rank_high.tolist() == [3, 1, 2]
    assert found.first.tolist() == [0, 1, 0]
    assert found.low[1] < found.score[0], "their intervals overlap all the same"


def test_networks_that_are_alike_have_no_certain_rank() -> None:
    rng = np.random.default_rng(3)
    correlations = rng.normal(0.4, 0.2, (3, 5, N))
    found = composite({"v1": Part(correlations, np.full(N, 0.8))})
    assert (found.rank_high - found.rank_low).max() == 2
    assert 0 < found.first.max() < 1


def test_neurons_without_a_correlation_do_not_count_and_bad_parts_are_refused() -> None:
    whole = part((0.3, 0.6))
    holes = whole.correlations.copy()
    holes[1, :, :10] = np.nan
    found = composite({"v1": Part(holes, whole.reliability)})
    without = Part(whole.correlations[..., 10:], whole.reliability[10:])
    np.testing.assert_allclose(found.score, composite({"v1": without}).score)
    with pytest.raises(ValueError, match="parts: none"):
        composite({})
    with pytest.raises(ValueError, match="v4: correlations of shape .*without a ceiling"):
        composite({"v4": Part(whole.correlations, np.zeros(0))})
    with pytest.raises(ValueError, match="v4: no reliable neurons"):
        composite({"v4": Part(whole.correlations, np.zeros(N))})
    with pytest.raises(ValueError, match="expected the same networks in all"):
        composite({"v1": whole, "it": part((0.3,))})
