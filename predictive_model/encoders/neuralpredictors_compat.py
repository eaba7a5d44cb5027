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
from types import SimpleNamespace


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
    from neuralpredictors.layers.activations import AdaptiveELU
    from neuralpredictors.layers.affine import Bias2DLayer, Scale2DLayer
    from neuralpredictors.layers.cores import Stacked2dCore
    from neuralpredictors.layers.encoders import FiringRateEncoder
    from neuralpredictors.layers.readouts import FullGaussian2d, MultiReadoutBase
    from neuralpredictors.layers.shifters import MLP, StaticAffine2d

__all__ = [
    "MLP",
    "AdaptiveELU",
    "Bias2DLayer",
    "FiringRateEncoder",
    "FullGaussian2d",
    "MultiReadoutBase",
    "Scale2DLayer",
    "Stacked2dCore",
    "StaticAffine2d",
    "training",
]


def training() -> SimpleNamespace:
    """Data sets and training loop of neuralpredictors, imported when they are asked for.

    The project's own fit needs none of them; it is compared with them.
    """
    with _names_of_2022():
        from neuralpredictors.data.datasets import FileTreeDataset
        from neuralpredictors.data.transforms import NeuroNormalizer, ToTensor
        from neuralpredictors.measures.modules import PoissonLoss
        from neuralpredictors.training import LongCycler, early_stopping
    return SimpleNamespace(
        FileTreeDataset=FileTreeDataset,
        LongCycler=LongCycler,
        NeuroNormalizer=NeuroNormalizer,
        PoissonLoss=PoissonLoss,
        ToTensor=ToTensor,
        early_stopping=early_stopping,
    )
