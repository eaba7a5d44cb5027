"""Draws from torch's global generators follow a seed and disturb nobody."""

from __future__ import annotations

import pytest
import torch

from predictive_model.randomness import Draws, seeded


def test_a_stream_goes_on_where_it_was_left_whatever_is_drawn_between() -> None:
    with seeded(3):
        expected = torch.rand(4)
    draws = Draws(3)
    torch.rand(7)
    with draws.own():
        first = torch.rand(2)
    torch.manual_seed(99)
    with draws.own():
        second = torch.rand(2)
    assert torch.equal(torch.cat([first, second]), expected)


def test_the_callers_stream_is_left_alone_also_by_an_error() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    draws = Draws(0)
    with seeded(1):
        torch.rand(8)
    with pytest.raises(ZeroDivisionError), draws.own():
        torch.rand(8)
        raise ZeroDivisionError
    assert torch.equal(torch.rand(3), expected)


def test_a_stream_is_restored_within_and_outside() -> None:
    draws, other = Draws(1), Draws(2)
    with draws.own():
        torch.rand(3)
        state = draws.state()
        expected = torch.rand(3)
    other.restore(state)
    with other.own():
        assert torch.equal(torch.rand(3), expected)
        other.restore(state)
        assert torch.equal(torch.rand(3), expected)
        assert not torch.equal(state[0], other.state()[0])
