"""Solvers of the boundary attack are compiled once, and nothing depends on their being kept."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from regularized_training.robustness import boundary_attacks
from regularized_training.robustness.boundary_attacks import L2, KeptSolver

SOLVE = """
import numpy as np
from regularized_training.robustness import boundary_attacks

ends = (0, 1), (1, 0), (2, 3)
image, start, normal = (np.linspace(*pair, 9, dtype=np.float32) for pair in ends)
step = boundary_attacks.L2.solve(image, start, normal, 0, 1, np.float32(0.1), 0.3)
print(sum(boundary_attacks.L2.kept.stats.cache_misses.values()), step.tolist())
"""


@pytest.mark.xdist_group("foolbox")
def test_another_process_compiles_nothing_and_finds_the_same() -> None:
    image, start, normal = (
        np.linspace(*ends, 9, dtype=np.float32) for ends in ((0, 1), (1, 0), (2, 3))
    )
    step = L2.solve(image, start, normal, 0, 1, np.float32(0.1), 0.3)
    done = subprocess.run(
        [sys.executable, "-c", SOLVE], capture_output=True, text=True, timeout=240
    )
    assert done.stdout.strip() == f"0 {step.tolist()}", done.stderr


def test_what_is_kept_belongs_to_one_release_of_foolbox() -> None:
    for solver in (L2, boundary_attacks.LINF, boundary_attacks.L1, boundary_attacks.L0):
        assert solver.kept.py_func.__qualname__.endswith(boundary_attacks._FOOLBOX)
    assert len(boundary_attacks._FOOLBOX) == 12


def kept(solve: Any, folder: Path | None) -> Any:
    """Like what Numba makes of a function."""

    def call(*problem: Any) -> Any:
        return solve(*problem)

    call.stats = SimpleNamespace(cache_path=folder and str(folder))  # type: ignore[attr-defined]
    return call


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), EOFError(), pickle.UnpicklingError("torn")]
)
def test_a_disk_that_is_full_or_damaged_costs_time_alone(error: Exception, tmp_path: Path) -> None:
    def fail(*problem: Any) -> Any:
        raise error

    solver = KeptSolver(kept(fail, tmp_path), lambda: SimpleNamespace(solve=lambda a, b: a + b))
    with pytest.warns(UserWarning, match=f"{tmp_path}: .*NUMBA_CACHE_DIR.*{type(error).__name__}"):
        assert solver.solve(1, 2) == 3
    assert solver.solve(2, 2) == 4  # and says so once


def test_one_process_compiles_at_a_time_and_again_for_other_types(tmp_path: Path) -> None:
    alone: list[bool] = []

    def solve(*problem: Any) -> Any:
        lock = FileLock(tmp_path / "boundary_attacks.lock", timeout=0, is_singleton=False)
        try:
            lock.acquire()
        except TimeoutError:
            alone.append(True)
        else:
            lock.release()
            alone.append(False)

    solver = KeptSolver(kept(solve, tmp_path), lambda: None)
    for problem in ((1.0,), (2.0,), (np.float32(1),)):
        solver.solve(*problem)
    assert alone == [True, False, False, True, False]  # each type once before its first answer


def test_nothing_is_locked_where_nothing_can_be_kept(tmp_path: Path) -> None:
    solver = KeptSolver(kept(lambda a: a, None), lambda: None)
    assert solver.solve(5) == 5
    locked = tmp_path / "boundary_attacks.lock"
    locked.mkdir()  # a lock that cannot be taken
    assert KeptSolver(kept(lambda a: a, tmp_path), lambda: None).solve(6) == 6
    assert os.listdir(tmp_path) == [locked.name]
