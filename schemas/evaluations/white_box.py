"""How many images withstand weak attacks in three norms."""

from __future__ import annotations

from typing import Any

import datajoint as dj

from schemas.base import Found
from schemas.evaluations.base import Evaluation, Settings, Subject


class WhiteBoxAccuracy(
    Evaluation,
    name="white_box",
    plan="WhiteBoxPlan",
    settings=Settings(
        model="regularized_training.robustness.white_box_config:WhiteBoxConfig",
        entry="white_box",
        columns={
            "white_box_steps": ("int32", lambda s: s.steps),
            "eot": ("int32        # passes that gradients are averaged over", lambda s: s.eot),
            "block_noise": ("varchar(8)   # of a V1 block: own, on, fixed, off", lambda s: s.noise),
            "white_box_seed": ("int32", lambda s: s.seed),
        },
        several=True,
    ),
):
    """Accuracy of one network under the weak attacks of Dapello et al. 2020."""

    takes_long = True
    ranked_by = ("Strength", "mean_accuracy")
    result = """
        n_images       : int32
        clean_accuracy : float64   # of the same images without an attack
        varies         : bool      # the network had noise of its own while it was attacked
    """

    class Strength(dj.Part):
        """White-box accuracy at one strength: mean over the norms."""

        definition = """
            -> master
            strength_index : int16
            ---
            attack_strength : float64     # factor of all radii
            mean_accuracy   : float64
        """

    class Ball(dj.Part):
        """One ball, of one norm and strength."""

        definition = """
            -> master
            norm           : varchar(8)   # Linf, L2, L1
            strength_index : int16
            ---
            attack_strength : float64
            epsilon        : float64      # radius for images of this size, pixels in 0 to 1
            accuracy       : float64
        """

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Attack one network."""
        from regularized_training.robustness.white_box import white_box_accuracy

        found = white_box_accuracy(
            subject.network, subject.images, subject.labels, settings, device=device
        )
        row = {
            "n_images": len(found.index),
            "clean_accuracy": found.clean_accuracy,
            "varies": found.varies,
        }
        strengths = [
            {"strength_index": j, "attack_strength": strength, "mean_accuracy": float(mean)}
            for j, (strength, mean) in enumerate(
                zip(found.strengths, found.mean_accuracy, strict=True)
            )
        ]
        balls = [
            {
                "norm": norm,
                "strength_index": j,
                "attack_strength": strength,
                "epsilon": float(found.radii[i, j]),
                "accuracy": float(found.accuracy[i, j]),
            }
            for i, norm in enumerate(found.norms)
            for j, strength in enumerate(found.strengths)
        ]
        return Found(row, {"Strength": strengths, "Ball": balls})


WhiteBoxConfig, WhiteBoxPlan = WhiteBoxAccuracy.Config, WhiteBoxAccuracy.Plan
