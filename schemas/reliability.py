"""How reliable the neurons of a scan are."""

from __future__ import annotations

from typing import Any

from schemas.base import PROVENANCE, Computed, Found, schema
from schemas.encoding import FitPlan
from schemas.recording import Scan


@schema
class Reliability(Computed):
    """Eq. 1 of Li et al. 2019 and the ceilings of each neuron, over all repeated images."""

    definition = f"""
        -> Scan
        ---
        status      : varchar(16)        # ok, or no repeats
        n_images    : int32              # repeated images
        n_trials    : int32
        mean_weight = null : float64     # w_a, mean over neurons
        mean_oracle = null : float64     # leave-one-out oracle correlation, mean over neurons
        mean_fev = null : float64        # fraction of explainable variance, mean over neurons
        mean_cc_max = null : float64     # ceiling of the correlation to average, mean over neurons
        mean_split_half = null : float64 # the same ceiling by Spearman-Brown, mean over neurons
        signal = null : <npy@main>       # (neuron,) sigma_a
        noise = null  : <npy@main>       # (neuron,) eta_a
        weight = null : <npy@main>       # (neuron,) w_a
        oracle = null : <npy@main>       # (neuron,)
        fev = null    : <npy@main>       # (neuron,)
        cc_max = null : <npy@main>       # (neuron,)
        split_half = null : <npy@main>   # (neuron,)
        {PROVENANCE}
    """

    @property
    def key_source(self) -> Any:
        """Scans that are here with their trials."""
        return Scan & "n_trials > 0"

    @classmethod
    def planned(cls, experiments: Any) -> Any:
        """Scans that encoders are fitted to."""
        return FitPlan & experiments

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """Estimate the reliability of one scan's neurons."""
        from predictive_model.scoring import reliability
        from predictive_model.scoring.ceilings import ceilings

        recording = Scan.load(key)
        if (recording.repeats >= 2).sum() < 2:
            return Found(dict(status="no repeats", n_images=0, n_trials=0))
        r = reliability.reliability(recording)
        found = ceilings(recording.grouped_trials())
        return Found(
            dict(
                status="ok",
                n_images=r.n_images,
                n_trials=r.n_trials,
                mean_weight=r.weight.mean(),
                mean_oracle=r.oracle.mean(),
                mean_fev=found.fev.mean(),
                mean_cc_max=found.cc_max.mean(),
                mean_split_half=found.split_half.mean(),
                signal=r.signal,
                noise=r.noise,
                weight=r.weight,
                oracle=r.oracle,
                fev=found.fev,
                cc_max=found.cc_max,
                split_half=found.split_half,
            )
        )
