from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, sys, warnings
warnings.simplefilter("error")
os.environ["PATH"] = "/nowhere"  # no program git
from regularized_training.robustness.foolbox_compat import foolbox
assert "GIT_PYTHON_REFRESH" not in os.environ
print(foolbox.__version__)
"""


def test_foolbox_needs_no_git_and_warns_of_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3.") and not done.stderr
