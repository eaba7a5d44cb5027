"""How threads wait for one another, set before PyTorch is loaded.

Threads of GNU's OpenMP, which PyTorch brings along, spin 300,000 times, some milliseconds, before
they sleep. Where others want the cores too, one spins while the one it waits for is not let in, and
a training takes ten times as long. Threads that sleep at once lose when nothing else runs, since
waking them takes longer than most of their waits. So here they spin for some microseconds:
``benchmarks/busy_machine.py`` compares.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

SPINS = "1000"
# Whoever has set one of these has made a choice.
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")


def spin_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads spin briefly, unless the environment says how they wait."""
    if not any(name in environment for name in WAITING):
        environment["GOMP_SPINCOUNT"] = SPINS


def n_cores() -> int:
    """Cores that this process may use, which a batch system may have limited."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
