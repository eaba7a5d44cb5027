"""Objects are decoded from features as Brain-Score does it."""

from __future__ import annotations

import numpy as np
import pytest

from regularized_training.behaviour.decoder import ObjectDecoder
from regularized_training.behaviour.i2n import hit_rates_of_probabilities, i2n_consistency

RNG = np.random.default_rng(0)
LABELS = np.arange(160) % 4
CENTRES = 2 * RNG.normal(size=(4, 10))
FEATURES = 3 + (CENTRES[LABELS] + RNG.normal(size=(160, 10))) * np.linspace(0.1, 10, 10)


def test_probabilities_minimise_the_penalised_likelihood_of_standardised_features() -> None:
    """C times the cross-entropy, and half of the squared weights: gradients vanish."""
    strength = 0.1
    decoder = ObjectDecoder(strength).fit(FEATURES, LABELS)
    p = decoder.probabilities(FEATURES)
    np.testing.assert_allclose(p.sum(1), 1)
    z = (FEATURES - FEATURES.mean(0)) / FEATURES.std(0)
    gradient = (
        strength * (p - np.eye(4)[LABELS]).T @ z
    )  # of the likelihood, less that of the weights
    logits = np.log(p)
    logits -= logits.mean(1, keepdims=True)
    weights = np.linalg.lstsq(np.c_[z, np.ones(160)], logits, rcond=None)[0][:10].T
    np.testing.assert_allclose(weights, -gradient, atol=2e-3)
    assert (p.argmax(1) == LABELS).mean() > 0.9


def test_a_units_scale_does_not_matter() -> None:
    found = ObjectDecoder().fit(FEATURES, LABELS).probabilities(FEATURES)
    scaled = 7 * FEATURES - 2
    again = ObjectDecoder().fit(scaled, LABELS).probabilities(scaled)
    np.testing.assert_allclose(found, again, atol=1e-6)


def test_a_network_decoded_so_agrees_with_itself() -> None:
    decoder = ObjectDecoder().fit(FEATURES[:80], LABELS[:80])
    rates = hit_rates_of_probabilities(decoder.probabilities(FEATURES[80:]), LABELS[80:])
    assert i2n_consistency(rates, rates, LABELS[80:]).raw == pytest.approx(1)


def test_what_cannot_be_decoded_is_refused() -> None:
    with pytest.raises(ValueError, match="strength: 0"):
        ObjectDecoder(0)
    with pytest.raises(ValueError, match="not fitted"):
        ObjectDecoder().probabilities(FEATURES)
    with pytest.raises(ValueError, match="2 objects numbered 1 to 3"):
        ObjectDecoder().fit(FEATURES[:2], np.array([1, 3]))
    with pytest.raises(ValueError, match=r"labels: shape \(159,\) with 160 images"):
        ObjectDecoder().fit(FEATURES, LABELS[1:])
    with pytest.raises(ValueError, match="1 of them NaN"):
        ObjectDecoder().fit(np.where(FEATURES[5, 5] == FEATURES, np.nan, FEATURES), LABELS)
    with pytest.raises(ValueError, match="features: 9 of them, expected 10"):
        ObjectDecoder().fit(FEATURES, LABELS).probabilities(FEATURES[:, :9])
