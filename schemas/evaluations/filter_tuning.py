"""To which frequency and orientation filters of a network's first convolution are tuned."""

from __future__ import annotations

import math
from typing import Any

import datajoint as dj

from schemas.base import Found
from schemas.evaluations.base import Evaluation, Settings, Subject


class FilterTuning(
    Evaluation,
    name="filter_tuning",
    plan="FilterTuningPlan",
    settings=Settings(
        model="regularized_training.analysis.filter_tuning_config:FilterTuningConfig",
        entry="filter_tuning",
        columns={
            "convolution": ("int16  # counted from the image on, 1 first", lambda s: s.convolution),
        },
        several=True,
    ),
):
    """Tuning of the filters of one convolution of one network; a network without any has none."""

    result = """
        n_filters               : int32
        n_silent                : int32       # of a norm under a thousandth of the largest
        kernel_height           : int16       # pixels; 0 without filters
        kernel_width            : int16
        mean_frequency = null   : float64     # preferred, cycles per pixel
        low_pass = null         : float64     # share of filters without a lower cut-off
        mean_bandwidth = null   : float64     # octaves, of filters that have one
        mean_selectivity = null : float64     # for orientation, 0 to 1
        weights                 : <npy@main>  # (filter, channel, height, width) float32
    """

    class Filter(dj.Part):
        """One filter that is not silent."""

        definition = """
            -> master
            filter_index         : int32
            ---
            frequency            : float64  # preferred, cycles per pixel; 0 is uniform light
            orientation = null   : float64  # degrees across the stripes, 0: vertical stripes
            bandwidth = null     : float64  # octaves; none without a cut-off on both sides
            has_low_pass         : bool     # no lower cut-off
            selectivity = null   : float64  # for orientation, 0 to 1
        """

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Look at one network's filters."""
        import numpy as np

        from regularized_training.analysis.filter_tuning import filters_of, tuning_of

        shape = subject.images.shape[1:]
        weights = filters_of(subject.network.to(device), shape, settings.convolution)
        if weights is None:
            weights = np.zeros((0, shape[0], 0, 0), np.float32)
        found = tuning_of(weights)
        columns = {
            "frequency": found.frequency,
            "orientation": found.orientation,
            "bandwidth": found.bandwidth,
            "has_low_pass": found.low_pass,
            "selectivity": found.selectivity,
        }
        filters = [
            {"filter_index": i, **{name: _known(one[i]) for name, one in columns.items()}}
            for i in np.flatnonzero(~found.silent).tolist()
        ]
        row = {
            "n_filters": len(weights),
            "n_silent": int(found.silent.sum()),
            "kernel_height": weights.shape[2],
            "kernel_width": weights.shape[3],
            **found.summary(),
            "weights": found.weights,
        }
        return Found(row, {"Filter": filters})


def _known(value: Any) -> Any:
    value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


FilterTuningConfig, FilterTuningPlan = FilterTuning.Config, FilterTuning.Plan
