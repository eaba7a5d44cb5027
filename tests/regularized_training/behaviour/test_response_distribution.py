from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix

from regularized_training.behaviour.response_distribution import responses


def test_sixteen_categories_answered_alike_are_4_bits_and_one_alone_is_none() -> None:
    labels = np.repeat(np.arange(16), 80)
    even = responses(labels, labels, 16)
    assert even.accuracy == 1
    assert even.entropy == 4
    assert np.array_equal(even.confusion, 80 * np.eye(16))
    bottle = responses(labels, np.full(1280, 5), 16)
    assert bottle.accuracy == 1 / 16
    assert bottle.entropy == 0
    assert str(bottle.entropy) == "0.0"


def test_entropy_is_of_all_answers_together_and_not_of_right_ones() -> None:
    """Answers that are all wrong may be as evenly spread as right ones."""
    labels = np.arange(16)
    found = responses(labels, (labels + 1) % 16, 16)
    assert found.accuracy == 0
    assert found.entropy == 4


def test_entropy_and_confusion_are_those_of_scipy_and_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, answers = rng.integers(0, 6, 500), rng.binomial(7, 0.3, 500)
    found = responses(labels, answers, 6, 8)
    assert found.entropy == pytest.approx(stats.entropy(np.bincount(answers), base=2))
    both = confusion_matrix(labels, answers, labels=np.arange(8))
    assert np.array_equal(found.confusion, both[:6])
    assert found.confusion.sum() == 500
    assert found.accuracy == pytest.approx(np.trace(both) / 500)


@pytest.mark.parametrize(
    ("labels", "answers", "said"),
    [
        ([0, 1], [0], r"shape \(2,\), answers: shape \(1,\)"),
        ([], [], "at least one image"),
        ([0, 16], [0, 1], "labels: .*0 to 16, expected integers from 0 to 15"),
        ([0, 1], [-1, 1], "answers: .*-1 to 1"),
        ([0, 1], [0.0, 1.0], "answers: type float64"),
    ],
)
def test_what_are_no_answers_is_refused(labels: list, answers: list, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        responses(np.array(labels), np.array(answers), 16)
