"""RSA, CKA and shape metrics: published numbers, peers' numbers, and what defines them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.spatial import procrustes
from scipy.stats import spearmanr

from regularized_training.alignment.gram import Gram
from regularized_training.alignment.layers import centred_kernel_alignment
from regularized_training.alignment.rsa import (
    compare_rdms,
    interval_over_images,
    interval_over_neurons,
    interval_over_subjects,
    noise_ceiling,
    rdm,
)
from regularized_training.alignment.shape import (
    angular_distance,
    procrustes_distance,
    shape_similarity,
)
from tests.regularized_training.alignment.brainscore_case import (
    BIASED_CKA,
    CKA,
    FEATURES,
    RDM,
    RESPONSES,
)

METHODS = ["spearman", "kendall", "pearson", "whitened"]
N = 40
MODEL = rdm(FEATURES[:N])
SUBJECTS = [
    rdm(RESPONSES[:N] + 3 * k * np.random.default_rng(k).standard_normal((N, 20)))
    for k in range(1, 6)
]
# By rsatoolbox 0.3.2 (spearman, tau-a, corr, corr_cov; boot_noise_ceiling), of the same RDMs.
RSATOOLBOX = {
    "spearman": (0.3287015, 0.3872285, 0.6282873),
    "kendall": (0.2212962, 0.2674613, 0.4498258),
    "pearson": (0.3256972, 0.3902328, 0.6340052),
    "whitened": (0.3314378, 0.3953806, 0.6365683),
}


# -- published and peers' numbers ----------------------------------------------------------


def test_rsa_and_cka_are_those_of_brain_score() -> None:
    assert compare_rdms(rdm(FEATURES), rdm(RESPONSES)) == pytest.approx(RDM, abs=1e-12)
    kernels = FEATURES @ FEATURES.T, RESPONSES @ RESPONSES.T
    assert centred_kernel_alignment(*kernels) == pytest.approx(CKA, abs=1e-7)
    biased = centred_kernel_alignment(*kernels, biased=True)
    assert biased == pytest.approx(BIASED_CKA, abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_comparisons_and_noise_ceilings_are_those_of_rsatoolbox(method: str) -> None:
    alike, lower, upper = RSATOOLBOX[method]
    assert compare_rdms(MODEL, SUBJECTS[0], method) == pytest.approx(alike, abs=1e-6)  # type: ignore[arg-type]
    found = noise_ceiling(SUBJECTS, method)  # type: ignore[arg-type]
    assert (found.lower, found.upper) == pytest.approx((lower, upper), abs=1e-6)


def test_tau_a_counts_concordant_pairs_and_gives_ties_nothing() -> None:
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    upper = np.triu_indices(4, 1)
    a[upper], b[upper] = [1, 2, 2, 3, 4, 5], [1, 2, 3, 3, 5, 4]
    a, b = a + a.T, b + b.T
    x, y = a[upper], b[upper]
    signs = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
    assert compare_rdms(a, b, "kendall") == pytest.approx(signs.sum() / 2 / 15)


def test_whitening_is_by_the_covariance_of_distances_under_equal_noise() -> None:
    """Diedrichsen et al. 2021: the covariance of two squared distances of noise, written out."""
    n = 9
    first, second = np.triu_indices(n, 1)
    contrasts = np.zeros((len(first), n))
    contrasts[np.arange(len(first)), first] = 1
    contrasts[np.arange(len(first)), second] = -1
    covariance = (contrasts @ contrasts.T) ** 2
    x, y = (m[:n, :n][first, second] for m in (MODEL, SUBJECTS[1]))
    x, y = x - x.mean(), y - y.mean()
    solved = np.linalg.solve(covariance, np.c_[x, y])
    expected = (x @ solved[:, 1]) / np.sqrt((x @ solved[:, 0]) * (y @ solved[:, 1]))
    found = compare_rdms(MODEL[:n, :n], SUBJECTS[1][:n, :n], "whitened")
    assert found == pytest.approx(expected, abs=1e-12)


# -- dissimilarity matrices ----------------------------------------------------------------


def test_a_dissimilarity_is_one_less_a_correlation_of_patterns_from_features_or_products() -> None:
    moved = FEATURES * np.linspace(1, 3, 60) + 5
    expected = 1 - np.corrcoef(moved)
    np.testing.assert_allclose(rdm(moved), expected, atol=1e-12)
    np.testing.assert_allclose(rdm(Gram.of(moved)), expected, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_is_1_and_the_opposite_minus_1(method: str) -> None:
    opposite = 2 - MODEL - 2 * np.eye(N)
    assert compare_rdms(MODEL, MODEL, method) == pytest.approx(1)  # type: ignore[arg-type]
    assert compare_rdms(MODEL, opposite, method) == pytest.approx(-1)  # type: ignore[arg-type]
    flat = 1 - np.eye(N)
    assert compare_rdms(MODEL, flat, method) == 0  # type: ignore[arg-type]


def test_ranks_do_not_follow_a_monotone_change_of_distances() -> None:
    assert compare_rdms(MODEL, MODEL**3) == pytest.approx(1)
    assert compare_rdms(MODEL, MODEL**3, "pearson") < 0.999


@pytest.mark.parametrize("method", METHODS)
def test_the_mean_of_subjects_reaches_the_upper_bound_and_no_model_does_more(method: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(30, 50))
    subjects = [rdm(truth + rng.normal(size=truth.shape)) for _ in range(6)]
    found = noise_ceiling(subjects, method)  # type: ignore[arg-type]
    score = np.mean([compare_rdms(rdm(truth), own, method) for own in subjects])  # type: ignore[arg-type]
    assert found.lower < score < found.upper
    with pytest.raises(ValueError, match="of 1 subject, expected at least 2"):
        noise_ceiling(subjects[:1])


def test_intervals_hold_the_similarity_and_are_wider_for_fewer() -> None:
    few = MODEL[:15, :15], SUBJECTS[0][:15, :15]
    for method in ("spearman", "whitened"):
        wide = interval_over_images(*few, method, n_resamples=100)  # type: ignore[arg-type]
        low, high = interval_over_images(MODEL, SUBJECTS[0], method, n_resamples=100)  # type: ignore[arg-type]
        assert low < compare_rdms(MODEL, SUBJECTS[0], method) < high  # type: ignore[arg-type]
        assert high - low < wide[1] - wide[0]
    mean = np.mean([compare_rdms(MODEL, own) for own in SUBJECTS])
    low, high = interval_over_subjects(MODEL, SUBJECTS, n_resamples=100)
    assert low < mean < high
    low, high = interval_over_neurons(MODEL, RESPONSES[:N], n_resamples=100)
    assert high - low < 0.4 and low < compare_rdms(MODEL, rdm(RESPONSES[:N])) < high + 0.1


def test_pairs_of_an_image_with_itself_do_not_count_in_a_draw() -> None:
    """They would be alike in both, and any two RDMs correlated."""
    rng = np.random.default_rng(0)
    unrelated = [rdm(rng.normal(size=(12, 30))) for _ in range(2)]
    low, high = interval_over_images(*unrelated, "pearson", n_resamples=200)
    value = compare_rdms(*unrelated, "pearson")
    assert abs((low + high) / 2 - value) < 0.1


@pytest.mark.parametrize(
    "a, b, said",
    [
        (MODEL, MODEL[1:, 1:], r"shapes \(40, 40\), \(39, 39\)"),
        (MODEL[0], MODEL[0], "expected square matrices"),
        (MODEL, np.where(np.eye(N), MODEL, np.nan), "NaN or infinite"),
    ],
)
def test_matrices_that_cannot_be_compared_are_refused(a, b, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=said):
        compare_rdms(a, b)


def test_a_constant_pattern_or_a_gap_is_refused() -> None:
    flat, gap = FEATURES.copy(), FEATURES.copy()
    flat[5], gap[2, 2] = 3.3, np.nan
    for patterns in (flat, Gram.of(flat)):
        with pytest.raises(ValueError, match="1 images are constant.*image 5"):
            rdm(patterns)
    with pytest.raises(ValueError, match="1 of them NaN"):
        rdm(gap)


# -- shapes --------------------------------------------------------------------------------

A, B, C = (np.random.default_rng(k).normal(size=(60, 4 + k)) for k in range(3))
C = C[:, :4] + A


def test_the_angle_is_that_of_the_best_rotation() -> None:
    """As SciPy's Procrustes analysis finds it, which reports 1 - cosine^2."""
    expected = procrustes(A, C)[2]
    assert 1 - shape_similarity(A, C) ** 2 == pytest.approx(expected, abs=1e-12)
    cosine = np.cos(angular_distance(A, C))
    assert procrustes_distance(A, C) ** 2 == pytest.approx(2 - 2 * cosine)


def test_moving_scaling_and_rotating_changes_no_shape_whatever_the_number_of_features() -> None:
    rotation = np.linalg.qr(np.random.default_rng(9).normal(size=(7, 7)))[0][:4]
    assert angular_distance(A, 5 * A @ rotation - 3) < 1e-6
    assert angular_distance(Gram.of(A), B) == pytest.approx(angular_distance(A, Gram.of(B)))


@pytest.mark.parametrize("whitening", [0.0, 0.3, 1.0])
def test_it_is_a_metric(whitening: float) -> None:
    """Symmetric, and no way round is shorter."""
    ab, bc, ac = (angular_distance(*pair, whitening=whitening) for pair in ((A, B), (B, C), (A, C)))
    assert angular_distance(B, A, whitening=whitening) == pytest.approx(ab)
    assert ab <= bc + ac and bc <= ab + ac and ac <= ab + bc


def test_whitened_it_is_the_mean_canonical_correlation_which_no_linear_map_changes() -> None:
    mixed = A @ np.random.default_rng(4).normal(size=(4, 4))
    assert shape_similarity(A, mixed, whitening=1.0) == pytest.approx(1)
    assert shape_similarity(A, mixed) < 0.99
    canonical = np.cos(subspace_angles(A - A.mean(0), C - C.mean(0)))
    assert shape_similarity(A, C, whitening=1.0) == pytest.approx(canonical.mean())


def test_shapes_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="the first of 60, the second of 59"):
        angular_distance(A, B[1:])
    with pytest.raises(ValueError, match="whitening: 2"):
        angular_distance(A, B, whitening=2)
    with pytest.raises(ValueError, match="all images have the same"):
        angular_distance(A, np.ones((60, 3)))


# -- of nothing in common ------------------------------------------------------------------


def test_unrelated_features_score_what_chance_gives() -> None:
    """RSA and unbiased CKA 0; biased CKA, of p and q Gaussian features, what its bias is.

    That is sqrt(p q / ((n + p)(n + q))), as E|X'Y|^2 is (n - 1) p q and E|X'X|^2 is
    (n - 1) p (n + p).
    """
    n, p = 80, 40
    found: dict[str, list[float]] = {name: [] for name in ("rsa", "cka", "biased")}
    for seed in range(12):
        x, y = np.random.default_rng(seed).normal(size=(2, n, p))
        kernels = x @ x.T, y @ y.T
        found["rsa"].append(compare_rdms(rdm(x), rdm(y)))
        found["cka"].append(centred_kernel_alignment(*kernels))
        found["biased"].append(centred_kernel_alignment(*kernels, biased=True))
    mean = {name: np.mean(values) for name, values in found.items()}
    assert mean["rsa"] == pytest.approx(0, abs=0.03)
    assert mean["cka"] == pytest.approx(0, abs=0.03)
    assert mean["biased"] == pytest.approx(p / (n + p), abs=0.01)


def test_unrelated_shapes_are_as_far_apart_as_few_images_allow() -> None:
    """Cosine 8 / (3 pi) sqrt(p / (n - 1)) for p Gaussian features of many more images.

    X'Y / sqrt(n - 1) is then a square Gaussian matrix, whose singular values lie on a quarter
    circle; 0 only for very many images, so that it is no baseline of nothing in common.
    """
    n, p = 400, 10
    found = [
        shape_similarity(*np.random.default_rng(seed).normal(size=(2, n, p))) for seed in range(6)
    ]
    expected = 8 / (3 * np.pi) * np.sqrt(p / (n - 1))
    assert np.mean(found) == pytest.approx(expected, abs=0.005)


def test_ranks_are_those_of_scipy() -> None:
    upper = np.triu_indices(N, 1)
    assert compare_rdms(MODEL, SUBJECTS[2]) == pytest.approx(
        spearmanr(MODEL[upper], SUBJECTS[2][upper])[0]
    )
