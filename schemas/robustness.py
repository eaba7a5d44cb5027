"""What a teacher bought: accuracy of trained networks on damaged images."""

from __future__ import annotations

from typing import Any

import datajoint as dj

from regularized_training.robustness import noise
from schemas.base import PROVENANCE, Stopwatch, add_config, computing, schema
from schemas.training import (
    ImageSet,
    TrainedNetwork,
    TrainingPlan,  # noqa: F401 - named in a definition
)


@schema
class NoiseConfig(dj.Lookup):
    """Which noise to test with."""

    definition = """
        noise_hash : char(16)
        ---
        max_level  : float64
        clamped    : bool
        noise_seed : int32
        config     : json
    """

    @classmethod
    def add(cls, config: noise.NoiseConfig) -> str:
        """Insert a configuration if it is new; returns its hash."""
        return add_config(
            cls,
            "noise_hash",
            config,
            max_level=max(config.levels),
            clamped=config.clamp,
            noise_seed=config.seed,
        )


@schema
class NoisePlan(dj.Manual):
    """Tests that an experiment asks for."""

    definition = """
        -> TrainingPlan
        -> NoiseConfig
    """


@schema
class NoiseAccuracy(dj.Computed):
    """Accuracy of one network under Gaussian noise, the same noise for every network."""

    definition = f"""
        -> TrainedNetwork
        -> NoiseConfig
        ---
        n_images : int32
        {PROVENANCE}
    """

    class Level(dj.Part):
        """One level of noise."""

        definition = """
            -> master
            level_index : int16
            ---
            level       : float64    # standard deviation, pixels in [0, 1]
            accuracy    : float64
        """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as its network is there."""
        return TrainedNetwork.proj() * NoiseConfig.proj() & NoisePlan

    def make(self, key: dict[str, Any]) -> None:
        """Test one network."""
        watch = Stopwatch()
        task = ImageSet.load(key)
        config = noise.NoiseConfig.model_validate((NoiseConfig & key).fetch1("config"))
        scores = noise.accuracy_under_noise(
            TrainedNetwork.load(key),
            task.test_images,
            task.test_labels,
            config,
            device=computing().device,
        )
        self.insert1({**key, "n_images": scores.n, **watch.provenance(computing().device)})
        self.Level.insert(
            [
                {**key, "level_index": i, "level": level, "accuracy": accuracy}
                for i, (level, accuracy) in enumerate(
                    zip(scores.levels, scores.accuracy, strict=True)
                )
            ]
        )
