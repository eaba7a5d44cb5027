"""Half precision is for responses that it does not harm."""

from __future__ import annotations

import numpy as np
import pytest

from predictive_model.half_precision import (
    LARGEST_CHANGE,
    HalfPrecisionError,
    RoundingError,
    in_half_precision,
)
from regularized_training.teachers.similarity import similarity

N = 300


def responses(n_neurons: int, *, mean: float = 1.0, scale: float = 1.0) -> np.ndarray:
    """As skewed as those of encoders: a positive mean, and a deviation of the same size."""
    deviation = np.random.default_rng(0).gamma(1.0, 1.0, (N, n_neurons)) - 1
    return (scale * (mean + deviation)).astype(np.float32)


def kept(values: np.ndarray, size: int = 64) -> np.ndarray:
    parts = (values[start : start + size] for start in range(0, len(values), size))
    return np.concatenate(list(in_half_precision(parts, values.shape[1])))


def test_of_a_large_population_similarities_stay_what_they_were() -> None:
    values = responses(4000)
    found = kept(values)
    assert found.dtype == np.float16
    change = np.abs(similarity(found.astype(np.float32)) - similarity(values)).max()
    assert 1e-6 < change < LARGEST_CHANGE


@pytest.mark.parametrize(
    "values, said",
    [
        (responses(100), "change similarities by up to"),
        (responses(4000, mean=30), "change similarities by up to"),
        (responses(4000, scale=1e-6), "change similarities by up to"),
        (responses(4000, scale=1e5), "lose responses up to"),
    ],
    ids=["few neurons", "small beside the mean", "below its smallest numbers", "too large"],
)
def test_responses_that_it_would_harm_are_refused(values: np.ndarray, said: str) -> None:
    with pytest.raises(HalfPrecisionError, match=said):
        kept(values)


def test_one_neuron_that_would_be_harmed_is_enough() -> None:
    values = responses(4000)
    values[:, 17] = 50 + values[:, 17] / 100
    with pytest.raises(HalfPrecisionError, match="a neuron's responses by"):
        kept(values)
    values[:, 17] = 50 + np.float32(1e-6) * values[:, 17]  # it does not vary
    assert kept(values).dtype == np.float16


def test_it_does_not_matter_how_responses_come_in_parts() -> None:
    values = responses(1000)
    whole, parts = RoundingError(1000), RoundingError(1000)
    whole.rounded(values)
    for part in np.array_split(values, 7):
        parts.rounded(part)
    for name in ("_mean", "_squares", "_errors"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-5)


def test_it_ends_as_soon_as_it_is_plain() -> None:
    taken = []

    def parts():
        for k in range(100):
            taken.append(k)
            yield responses(100)

    with pytest.raises(HalfPrecisionError):
        list(in_half_precision(parts(), 100))
    assert len(taken) == 1
