"""How threads wait: briefly, unless somebody has said how."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from predictive_model.threads import SPINS, WAITING, n_cores, spin_briefly


@pytest.mark.parametrize("name", WAITING)
def test_what_a_person_has_set_stays(name: str) -> None:
    environment = {name: "PASSIVE"}
    spin_briefly(environment)
    assert environment == {name: "PASSIVE"}


def test_it_is_said_before_torch_is_loaded_wherever_one_begins() -> None:
    """PyTorch reads it once."""
    environment = {k: v for k, v in os.environ.items() if k not in WAITING}
    script = (
        "import os, sys, importlib; importlib.import_module(sys.argv[1])\n"
        "print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )
    for package in ("predictive_model", "regularized_training"):
        done = subprocess.run(
            [sys.executable, "-c", script, package],
            cwd=Path(__file__).parents[2],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.stdout.split() == [SPINS, "False"], done.stderr


def test_there_are_as_many_cores_as_the_process_may_use() -> None:
    assert 1 <= n_cores() <= (os.cpu_count() or 1)
