"""Foolbox's boundary attacks, their solvers compiled once on a machine and not in each process.

Foolbox compiles a solver when it is first called, for half a minute, and what becomes of its
classes Numba cannot keep. A function that uses such a class it can. What is common to all norms,
the step toward a boundary that is out of reach, is kept by itself, so that it is compiled once.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numba import njit
from numba.experimental import jitclass
from numpy.typing import NDArray

from regularized_training.robustness.foolbox_compat import foolbox

_solvers: Any = foolbox.attacks.brendel_bethge
_SPEC = [("bfgsb", _solvers.BFGSB.class_type.instance_type)]
# Numba keeps compiled code under the name of a function, and looks whether its file has changed;
# not whether that of Foolbox has, which is therefore part of the name.
_FOOLBOX = hashlib.sha256(Path(_solvers.__file__).read_bytes()).hexdigest()[:12]


def _kept(function: Callable[..., Any]) -> Any:
    """Compile when it is first called, and find it compiled in all later processes."""
    function.__qualname__ = f"{function.__qualname__}_{_FOOLBOX}"
    try:
        return njit(cache=True)(function)
    except RuntimeError:  # there is no folder that can be written
        return njit(function)


@jitclass(_SPEC)
class _Step(_solvers.Optimizer):
    pass


@_kept
def _step(x0, x, b, min_, max_, c, r):  # type: ignore[no-untyped-def]
    return _Step().optimize_boundary_s_t_trustregion(x0, x, b, min_, max_, c, r)


class _SharedStep:
    def optimize_boundary_s_t_trustregion(self, x0, x, b, min_, max_, c, r):  # type: ignore[no-untyped-def]
        return _step(x0, x, b, min_, max_, c, r)


# A compiled class cannot be derived from. The class it was made of, its base, can.
@jitclass(_SPEC)
class _L2(_SharedStep, _solvers.L2Optimizer.__base__):
    pass


@jitclass(_SPEC)
class _Linf(_SharedStep, _solvers.LinfOptimizer.__base__):
    pass


@jitclass(_SPEC)
class _L1(_SharedStep, _solvers.L1Optimizer.__base__):
    pass


@jitclass(_SPEC)
class _L0(_SharedStep, _solvers.L0Optimizer.__base__):
    pass


@_kept
def _solve_l2(x0, x, b, min_, max_, c, r):  # type: ignore[no-untyped-def]
    return _L2().solve(x0, x, b, min_, max_, c, r)


@_kept
def _solve_linf(x0, x, b, min_, max_, c, r):  # type: ignore[no-untyped-def]
    return _Linf().solve(x0, x, b, min_, max_, c, r)


@_kept
def _solve_l1(x0, x, b, min_, max_, c, r):  # type: ignore[no-untyped-def]
    return _L1().solve(x0, x, b, min_, max_, c, r)


@_kept
def _solve_l0(x0, x, b, min_, max_, c, r):  # type: ignore[no-untyped-def]
    return _L0().solve(x0, x, b, min_, max_, c, r)


class KeptSolver:
    """Solves what an optimizer of Foolbox solves, by the same code.

    Parameters
    ----------
    kept : Numba's dispatcher
        Of a function that takes what the optimizer's ``solve`` takes.
    optimizer : class
        Foolbox's own, which takes over where nothing can be kept, or what was kept is damaged.
    """

    def __init__(self, kept: Any, optimizer: Callable[[], Any]) -> None:
        self.kept, self.optimizer = kept, optimizer
        self._compiled: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def solve(self, *problem: Any) -> NDArray[np.float64]:
        """Step that brings an image closer to its original, (pixels,) float64."""
        types = tuple(getattr(value, "dtype", type(value)) for value in problem)
        if types not in self._compiled:
            self._compiled[types] = self._ready(problem)
        return self._compiled[types](*problem)

    def _ready(self, problem: tuple[Any, ...]) -> Callable[..., Any]:
        folder = self.kept.stats.cache_path
        try:
            with _alone(folder):
                self.kept(*problem)
        except Exception as error:  # of the disk, of what is damaged, of Numba for either
            warnings.warn(
                f"{folder}: the boundary attack's compiled solvers cannot be read or kept here, so "
                f"that each process compiles them for a minute; empty the folder, or set "
                f"NUMBA_CACHE_DIR to another ({type(error).__name__}: {error})",
                stacklevel=2,
            )
            return self.optimizer().solve
        return self.kept


@contextmanager
def _alone(folder: str | None) -> Iterator[None]:
    """One process compiles and the others wait; two that wrote at once would mix up their files."""
    lock = FileLock(Path(folder) / "boundary_attacks.lock") if folder else None
    try:
        if lock:
            lock.acquire()
    except (OSError, NotImplementedError):  # belongs to somebody else, or there are no locks
        lock = None
    try:
        yield
    finally:
        if lock:
            lock.release()


L2, LINF, L1, L0 = (
    KeptSolver(kept, optimizer)
    for kept, optimizer in (
        (_solve_l2, _solvers.L2Optimizer),
        (_solve_linf, _solvers.LinfOptimizer),
        (_solve_l1, _solvers.L1Optimizer),
        (_solve_l0, _solvers.L0Optimizer),
    )
)


class L2BoundaryAttack(foolbox.attacks.L2BrendelBethgeAttack):
    """Foolbox's attack in L2."""

    def instantiate_optimizer(self) -> Any:
        """What Foolbox asks for steps."""
        return L2


class LinfBoundaryAttack(foolbox.attacks.LinfinityBrendelBethgeAttack):
    """Foolbox's attack in the maximum norm."""

    def instantiate_optimizer(self) -> Any:
        """What Foolbox asks for steps."""
        return LINF


class L1BoundaryAttack(foolbox.attacks.L1BrendelBethgeAttack):
    """Foolbox's attack in L1."""

    def instantiate_optimizer(self) -> Any:
        """What Foolbox asks for steps."""
        return L1


class L0BoundaryAttack(foolbox.attacks.L0BrendelBethgeAttack):
    """Foolbox's attack in L0: in how many pixels images differ."""

    def instantiate_optimizer(self) -> Any:
        """What Foolbox asks for steps."""
        return L0
