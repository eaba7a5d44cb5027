"""The one place that imports neuralpredictors, so that its 2022 release works on today's Python.

neuralpredictors 0.3.0 imports ``Iterable`` and ``Mapping`` from ``collections``, where Python
3.10 no longer keeps them. They are put back for the length of the first import only.
"""

from __future__ import annotations

import collections
import collections.abc
import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def _names_of_2022() -> Iterator[None]:
    missing = [name for name in ("Iterable", "Mapping") if not hasattr(collections, name)]
    for name in missing:
        setattr(collections, name, getattr(collections.abc, name))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in missing:
            delattr(collections, name)


with _names_of_2022():
    from neuralpredictors.layers.cores import Stacked2dCore
    from neuralpredictors.layers.encoders import FiringRateEncoder
    from neuralpredictors.layers.readouts import FullGaussian2d, MultiReadoutBase
    from neuralpredictors.layers.shifters import MLPShifter
    from neuralpredictors.measures.modules import PoissonLoss

__all__ = [
    "FiringRateEncoder",
    "FullGaussian2d",
    "MLPShifter",
    "MultiReadoutBase",
    "PoissonLoss",
    "Stacked2dCore",
]
