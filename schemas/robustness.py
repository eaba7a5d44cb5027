"""What a teacher bought: what trained networks make of damaged images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import datajoint as dj
import numpy as np

from regularized_training.robustness import attack_config, noise
from schemas.base import PROVENANCE, Stopwatch, add_config, computing, schema
from schemas.training import (
    ImageSet,
    TrainedNetwork,
    TrainingPlan,  # noqa: F401 - named in a definition
)

if TYPE_CHECKING:
    from regularized_training.robustness.attacks import AdversarialDistances


@schema
class NoiseConfig(dj.Lookup):
    """Which noise to test with."""

    definition = """
        noise_hash : char(16)
        ---
        noise      : varchar(16)   # gaussian, uniform, salt_and_pepper
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
            noise=config.kind,
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
    """Accuracy and calibration of one network under noise, the same noise for every network."""

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
            level       : float64    # pixels in [0, 1]: s.d., half-width, or fraction of pixels
            accuracy    : float64
            confidence  : float64    # mean probability of what the network answers
            calibration_error : float64  # expected calibration error, 15 bins
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
        columns = zip(
            scores.levels,
            scores.accuracy,
            scores.confidence,
            scores.calibration_error,
            strict=True,
        )
        names = ("level", "accuracy", "confidence", "calibration_error")
        self.Level.insert(
            [
                {**key, "level_index": i, **dict(zip(names, values, strict=True))}
                for i, values in enumerate(columns)
            ]
        )


@schema
class AttackConfig(dj.Lookup):
    """Which attack."""

    definition = """
        attack_hash : char(16)
        ---
        method      : varchar(32)   # brendel_bethge, pgd
        norm        : varchar(8)    # L2, Linf, L1, L0
        attack_seed : int32
        config      : json
    """

    @classmethod
    def add(cls, config: attack_config.AttackConfig) -> str:
        """Insert a configuration if it is new; returns its hash."""
        return add_config(
            cls,
            "attack_hash",
            config,
            method=config.method,
            norm=config.norm,
            attack_seed=config.seed,
        )


@schema
class AttackPlan(dj.Manual):
    """Attacks that an experiment asks for."""

    definition = """
        -> TrainingPlan
        -> AttackConfig
    """


@schema
class AdversarialDistance(dj.Computed):
    """Smallest perturbations that fool one network. Medians count misclassified images as 0."""

    definition = f"""
        -> TrainedNetwork
        -> AttackConfig
        ---
        n_images        : int32
        n_misclassified : int32            # without any attack
        n_failed        : int32            # no adversarial image was found
        median = null         : float64    # null: infinite, over half of the attacks failed
        median_low = null     : float64    # 95 percent interval, from resampled images
        median_high = null    : float64
        median_correct = null : float64    # of images that are classified correctly
        median_correct_low = null  : float64
        median_correct_high = null : float64
        curve_queries : <npy@main>         # (q,) queries to the network for an image
        curve         : <npy@main>         # (q, image) distance reached after so many
        {PROVENANCE}
    """

    class Image(dj.Part):
        """One image."""

        definition = """
            -> master
            image_index : int32            # among the test images
            ---
            outcome     : varchar(16)      # misclassified, adversarial, failed
            distance = null : float64      # null where the attack failed
            queries     : int64
        """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as its network is there."""
        return TrainedNetwork.proj() * AttackConfig.proj() & AttackPlan

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Settings only: whatever is fetched here is hashed, and arrays hash slowly."""
        return ((AttackConfig & key).fetch1("config"),)

    def make_compute(self, key: dict[str, Any], config: dict[str, Any]) -> tuple[Any, ...]:
        """Attack, outside of any transaction."""
        from regularized_training.robustness import attacks  # Foolbox takes a second to import

        watch = Stopwatch()
        task = ImageSet.load(key)
        found = attacks.adversarial_distances(
            TrainedNetwork.load(key),
            task.test_images,
            task.test_labels,
            attack_config.AttackConfig.model_validate(config),
            device=computing().device,
        )
        return found, watch.provenance(computing().device)

    def make_insert(
        self,
        key: dict[str, Any],
        found: AdversarialDistances,
        provenance: dict[str, Any],
    ) -> None:
        """Insert the medians and each image's distance."""
        medians: dict[str, float] = {}
        for name, correct_only in (("median", False), ("median_correct", True)):
            low, high = found.median_interval(correct_only=correct_only)
            medians |= {
                name: found.median(correct_only=correct_only),
                f"{name}_low": low,
                f"{name}_high": high,
            }
        self.insert1(
            {
                **key,
                "n_images": len(found.index),
                "n_misclassified": int(found.misclassified.sum()),
                "n_failed": int(found.failed.sum()),
                **{name: _finite(value) for name, value in medians.items()},
                "curve_queries": found.curve_queries,
                "curve": found.curve.astype(np.float32),
                **provenance,
            }
        )
        outcomes = np.select(
            [found.misclassified, found.failed], ["misclassified", "failed"], "adversarial"
        )
        rows = zip(found.index, outcomes, found.distance, found.queries, strict=True)
        self.Image.insert(
            [
                {
                    **key,
                    "image_index": int(index),
                    "outcome": str(outcome),
                    "distance": _finite(distance),
                    "queries": int(queries),
                }
                for index, outcome, distance, queries in rows
            ]
        )


@schema
class AttackCheckConfig(dj.Lookup):
    """How attacks are checked."""

    definition = """
        attack_check_hash : char(16)
        ---
        n_images : int32
        config   : json
    """

    @classmethod
    def add(cls, config: attack_config.AttackCheckConfig) -> str:
        """Insert a configuration if it is new; returns its hash."""
        return add_config(cls, "attack_check_hash", config, n_images=config.n_images)


@schema
class AttackCheckPlan(dj.Manual):
    """Checks that an experiment asks for."""

    definition = """
        -> TrainingPlan
        -> AttackCheckConfig
    """


@schema
class AttackChecks(dj.Computed):
    """Can attacks on one network be believed?"""

    definition = f"""
        -> TrainedNetwork
        -> AttackCheckConfig
        ---
        n_passed : int16
        n_checks : int16
        {PROVENANCE}
    """

    class Check(dj.Part):
        """One question to the attack."""

        definition = """
            -> master
            check_name : varchar(32)   # more_steps, larger_ball, white_box, unbounded ...
            ---
            passed   : bool
            found    : float64         # a fraction of images
            expected : varchar(32)
        """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for, as far as its network is there."""
        return TrainedNetwork.proj() * AttackCheckConfig.proj() & AttackCheckPlan

    def make(self, key: dict[str, Any]) -> None:
        """Check attacks on one network."""
        from regularized_training.robustness import attack_checks

        watch, device = Stopwatch(), computing().device
        task = ImageSet.load(key)
        config = attack_config.AttackCheckConfig.model_validate(
            (AttackCheckConfig & key).fetch1("config")
        )
        found = attack_checks.check_attacks(
            TrainedNetwork.load(key), task.test_images, task.test_labels, config, device
        )
        counts = {"n_passed": sum(c.passed for c in found), "n_checks": len(found)}
        self.insert1({**key, **counts, **watch.provenance(device)})
        self.Check.insert(
            [
                {
                    **key,
                    "check_name": c.check,
                    "passed": c.passed,
                    "found": c.value,
                    "expected": c.expected,
                }
                for c in found
            ]
        )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
