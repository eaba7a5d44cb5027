"""The one place that imports Foolbox, whose last release is of 2024, and EagerPy, its tensors.

Foolbox imports GitPython, for a collection of models that is not used here, which fails on a
machine without the program git unless it is told to keep quiet; and a name of SciPy that will be
gone in SciPy 2.
"""

from __future__ import annotations

import os
import warnings

_set = os.environ.get("GIT_PYTHON_REFRESH")
os.environ["GIT_PYTHON_REFRESH"] = "quiet"
try:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        import eagerpy
        import foolbox
finally:
    if _set is None:
        del os.environ["GIT_PYTHON_REFRESH"]
    else:
        os.environ["GIT_PYTHON_REFRESH"] = _set

__all__ = ["eagerpy", "foolbox"]
