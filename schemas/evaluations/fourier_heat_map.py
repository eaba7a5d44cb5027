"""How much waves of each frequency disturb networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.base import Found
from schemas.evaluations.base import Asked, Evaluation, Settings, Subject
from schemas.training import ImageSet


class FourierSensitivity(
    Evaluation,
    name="fourier_heat_map",
    plan="FourierHeatMapPlan",
    settings=Settings(
        model="regularized_training.robustness.fourier_heat_map_config:FourierHeatMapConfig",
        entry="fourier_heat_map",
        columns={
            "wave_norm": ("float64    # L2, of each channel", lambda s: s.norm),
            "heat_map_seed": ("int32", lambda s: s.seed),
        },
        several=True,
    ),
):
    """Error rates of one network under Fourier basis perturbations."""

    takes_long = True
    result = """
        n_images       : int32
        clean_error    : float64
        mean_error     : float64     # over all frequencies that were tried
        low            : float64     # the same up to 1/6 cycle per pixel
        middle = null  : float64     # up to 1/3; none where no such frequency was tried
        high = null    : float64     # above
        down           : json        # frequencies of rows, cycles per image height
        across         : json        # of columns, cycles per image width
        error          : <npy@main>  # (row, column) float64, zero frequency in the middle
    """

    @classmethod
    def rows_asked(
        cls, settings: Sequence[Any], asked: Asked
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """All networks; a ValueError if the images have no frequencies as high."""
        for image_set in {training["image_set"] for training in asked.trainings}:
            size = (ImageSet & {"image_set": image_set}).fetch1("height", "width")
            for one in settings:
                one.frequencies(*size)
        return super().rows_asked(settings, asked)

    def evaluate(self, subject: Subject, settings: Any, device: str) -> Found:
        """Disturb one network."""
        from regularized_training.robustness.fourier_heat_map import fourier_heat_map

        found = fourier_heat_map(subject.network, subject.images, subject.labels, settings, device)
        return Found(
            {
                "n_images": found.n,
                "clean_error": found.clean_error,
                "mean_error": float(found.error.mean()),
                **found.bands,
                "down": found.frequencies.down.tolist(),
                "across": found.frequencies.across.tolist(),
                "error": found.map,
            }
        )


FourierHeatMapConfig, FourierHeatMapPlan = FourierSensitivity.Config, FourierSensitivity.Plan
