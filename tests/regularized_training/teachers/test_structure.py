"""Spectra, ranges and extreme pairs of similarity matrices, against matrices that are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictive_model.encoders.config import CoreConfig, EncoderConfig
from predictive_model.fits.config import FitConfig
from predictive_model.fits.fitting import fit
from predictive_model.recordings.recording import Recording
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli
from regularized_training.teachers.predictability import model_weight, predictability
from regularized_training.teachers.similarity import (
    oracle_similarity,
    similarity,
    similarity_correlation,
)
from regularized_training.teachers.structure import (
    extreme_pairs,
    pairs_of,
    similarity_structure,
    spectrum,
    spread,
)

# -- spread ------------------------------------------------------------------------------------


def test_spread_of_a_normal_distribution():
    found = spread(np.random.default_rng(0).normal(3, 2, 200_000))
    assert found.sd == pytest.approx(2, rel=0.01)
    assert found.quantiles == pytest.approx([-0.92, 1.651, 3, 4.349, 6.92], abs=0.03)
    assert found.range == pytest.approx(4 * 1.96, rel=0.01)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan]])
def test_no_spread_of_too_few_values_or_of_missing_ones(values):
    with pytest.raises(ValueError, match="expected at least 2, all of them finite"):
        spread(np.array(values))


# -- spectrum ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("sizes", "dimension"), [((6,), 1), ((3, 3), 2), ((2,) * 5, 5)])
def test_groups_of_images_that_look_the_same_have_as_many_dimensions(sizes, dimension):
    blocks = np.repeat(np.arange(len(sizes)), sizes)
    found = spectrum((blocks[:, None] == blocks).astype(float))
    assert found.participation_ratio == pytest.approx(dimension)
    assert found.eigenvalues[:dimension] == pytest.approx([1 / dimension] * dimension)
    assert np.abs(found.eigenvalues[dimension:]).max() < 1e-12


@given(seed=st.integers(0, 30), n=st.integers(2, 15))
@settings(max_examples=30, deadline=None)
def test_participation_ratio_is_that_of_traces_for_unit_vectors(seed, n):
    """(tr S)^2 / tr(S S), which needs no eigenvalues, and lies between 1 and the rank."""
    rng = np.random.default_rng(seed)
    s = similarity(rng.standard_normal((n, 6)))
    found = spectrum(s)
    expected = np.trace(s) ** 2 / (s.astype(float) ** 2).sum()
    assert found.participation_ratio == pytest.approx(expected, rel=1e-4)
    assert 1 - 1e-6 <= found.participation_ratio <= 6 + 1e-6
    assert found.eigenvalues.clip(0).sum() == pytest.approx(1)
    assert (np.diff(found.eigenvalues) <= 0).all()


def test_what_lies_in_few_dimensions_is_recovered_from_noisy_trials_by_the_oracle():
    """Single trials fill more dimensions with noise than the responses have."""
    rng = np.random.default_rng(0)
    tuning = rng.standard_normal((120, 4)) @ rng.standard_normal((4, 300))
    trials = (tuning[:, None] + 4 * rng.standard_normal((120, 10, 300))).astype(np.float32)
    clean = spectrum(similarity(tuning)).participation_ratio
    assert clean == pytest.approx(4, abs=0.3)
    assert spectrum(oracle_similarity(trials)).participation_ratio == pytest.approx(clean, rel=0.5)
    assert spectrum(similarity(trials[:, 0])).participation_ratio > 4 * clean


def test_a_matrix_of_nothing_has_no_dimension():
    found = spectrum(np.zeros((3, 3)))
    assert found.participation_ratio == 0
    assert found.eigenvalues.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((2, 3)), "expected a square matrix"),
        (np.diag([1, np.nan]), "1 entries are not finite; leave out images with a single trial"),
        (np.array([[1, 0.5], [0.2, 1]]), "not symmetric"),
    ],
)
def test_what_is_no_similarity_matrix_has_no_spectrum(matrix, message):
    with pytest.raises(ValueError, match=message):
        spectrum(matrix)


# -- pairs -------------------------------------------------------------------------------------

S = np.array(
    [
        [np.nan, 0.9, 0.8, -0.1],
        [0.9, np.nan, 0.3, -0.7],
        [0.8, 0.3, np.nan, 0.2],
        [-0.1, -0.7, 0.2, np.nan],
    ]
)


def test_extreme_pairs_by_hand():
    found = extreme_pairs(S, 2, each_once=False)
    assert found.most.tolist() == [[0, 1], [0, 2]]
    assert found.most_similarity.tolist() == [0.9, 0.8]
    assert found.least.tolist() == [[1, 3], [0, 3]]
    assert found.least_similarity.tolist() == [-0.7, -0.1]


def test_no_image_is_shown_twice_unless_asked_for():
    found = extreme_pairs(S, 2)
    assert found.most.tolist() == [[0, 1], [2, 3]]
    assert found.least.tolist() == [[1, 3], [0, 2]]
    assert found.least_similarity.tolist() == [-0.7, 0.8]


@given(seed=st.integers(0, 50), n=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_no_other_pair_of_unused_images_is_more_extreme(seed, n):
    a = np.random.default_rng(seed).standard_normal((12, 12))
    matrix = a + a.T
    found = extreme_pairs(matrix, n)
    free = np.ones(12, bool)
    for (i, j), value in zip(found.most, found.most_similarity, strict=True):
        assert free[i] and free[j] and i < j
        assert value == matrix[i, j] == pairs_of(matrix[np.ix_(free, free)]).max()
        free[[i, j]] = False


@pytest.mark.parametrize(("n", "once", "there"), [(0, True, 2), (3, True, 2), (7, False, 6)])
def test_more_pairs_than_there_are_are_refused(n, once, there):
    with pytest.raises(ValueError, match=f"n: {n}, expected 1 to {there}, the pairs that 4 images"):
        extreme_pairs(S, n, each_once=once)


# -- of a scan ---------------------------------------------------------------------------------

SHAPE = (18, 32)
ENCODER = EncoderConfig(
    core=CoreConfig(layers=2, input_kernel=5, hidden_kernel=3, hidden_channels=4)
)


def recorded(n_repeated):
    cortex = SimulatedCortex(SimulatedCortexConfig(n_neurons=10, image_shape=SHAPE, width=(6, 10)))
    images = natural_stimuli(60, SHAPE)
    n_repeats = 4 if n_repeated else 1
    return cortex.record(images, n_repeated=n_repeated, n_repeats=n_repeats, seed=0, name="sim")


def structure_of(r: Recording):
    fitted = fit(r, ENCODER, FitConfig(max_epochs=1, batch_size=16))
    return similarity_structure(r, fitted), fitted


def test_structure_of_a_scan_with_repeats_is_that_of_eq_2_3_and_6_on_test_images():
    r = recorded(12)
    found, fitted = structure_of(r)
    assert (found.tier, found.weighted) == ("test", True)
    np.testing.assert_array_equal(found.images, r.images_of("test"))
    weight = model_weight(r, fitted)
    np.testing.assert_allclose(
        found.model, similarity(fitted.predict(r.images[found.images]), weight), atol=1e-6
    )
    assert found.oracle is not None
    assert found.model_correlation == similarity_correlation(found.model, found.oracle)
    np.testing.assert_array_equal(found.recorded.shape, found.oracle.shape)


def test_structure_without_repeats_is_that_of_the_validation_tier_without_weights():
    r = recorded(0)
    found, fitted = structure_of(r)
    assert (found.tier, found.weighted, found.oracle) == ("validation", False, None)
    rows = r.trials_of("validation")
    order = np.argsort(r.image_index[rows])
    np.testing.assert_allclose(found.recorded, similarity(r.responses[rows][order]), atol=1e-6)
    predicted = fitted.predict(r.images[found.images])
    np.testing.assert_allclose(
        found.model, similarity(predicted, predictability(r, fitted, "image")), atol=1e-6
    )
    assert found.model_correlation == similarity_correlation(found.model, found.recorded)
