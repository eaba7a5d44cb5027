"""How many batches a lesson draws for each batch of the task."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator

ONE_TO_ONE = "1:1"


def _in_lowest_terms(text: str) -> str:
    if not re.fullmatch(r"\d{1,4}:\d{1,4}", text) or 0 in (parts := _parts(text)):
        raise ValueError(
            f"batch_ratio: {text!r}, expected two whole numbers from 1 to 9999, as 1:4 for one "
            "batch of the lesson to four of the task"
        )
    common = math.gcd(*parts)
    return ":".join(str(part // common) for part in parts)


def _parts(text: str) -> tuple[int, int]:
    lesson, task = text.split(":")
    return int(lesson), int(task)


BatchRatio = Annotated[str, AfterValidator(_in_lowest_terms)]
"""Batches of the lesson to batches of the task, in lowest terms: ``1:4``, ``1:1``, ``4:1``."""


def batches_in_step(ratio: str, step: int) -> int:
    """Number of batches that a lesson draws in a step; with the steps' number it is exact.

    Parameters
    ----------
    ratio : str
        A :data:`BatchRatio`.
    step : int
        Of the training, from 0.

    Examples
    --------
    >>> [batches_in_step("2:3", step) for step in range(6)]
    [0, 1, 1, 0, 1, 1]
    >>> [batches_in_step("4:1", step) for step in range(2)]
    [4, 4]
    """
    lesson, task = _parts(ratio)
    return (step + 1) * lesson // task - step * lesson // task
