from __future__ import annotations

import numpy as np
import torch
from torch import nn

from regularized_training.robustness.queries import QueryCount, counted


def test_the_curve_is_the_best_of_what_was_seen_by_then() -> None:
    """Against a literal record of every query of every image."""
    rng = np.random.default_rng(0)
    count, n = QueryCount(4), 4
    seen: list[list[tuple[int, float]]] = [[] for _ in range(n)]
    for _ in range(30):
        rows = np.flatnonzero(rng.random(n) < 0.6)
        queries = int(rng.integers(1, 5))
        found = np.where(rng.random(len(rows)) < 0.5, rng.random(len(rows)), np.inf)
        count.update(found, queries=queries, rows=rows)
        for row, distance in zip(rows, found, strict=True):
            so_far = seen[row][-1][0] if seen[row] else 0
            seen[row].append((so_far + queries, distance))
    points = np.arange(1, 80, 3)
    expected = [
        [min([d for q, d in seen[row] if q <= point], default=np.inf) for row in range(n)]
        for point in points
    ]
    np.testing.assert_array_equal(count.curve(points), expected)
    np.testing.assert_array_equal(count.queries, [s[-1][0] for s in seen])


def test_only_questions_about_the_whole_batch_are_counted_and_only_wrong_answers_are_adversarial():
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0], [-1.0]]))  # class 0 for positive images
    clean = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)
    labels = torch.tensor([0, 0])
    count = QueryCount(2)

    def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().flatten(1).sum(1)

    with counted(network, clean, labels, distance, count) as asked:
        asked(clean)  # right answers
        asked(torch.tensor([-0.5, 1.0]).view(2, 1, 1, 1))  # the first is fooled, from 1.5 away
        asked(clean[:1])  # not the whole batch
    network(torch.tensor([-0.1, -0.1]).view(2, 1, 1, 1))  # no longer counted
    np.testing.assert_array_equal(count.best, [1.5, np.inf])
    np.testing.assert_array_equal(count.queries, [2, 2])
