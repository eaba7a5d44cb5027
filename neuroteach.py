"""The public names of neuroteach, imported when they are used.

Examples
--------
>>> import neuroteach
>>> with neuroteach.open_database():  # doctest: +SKIP
...     frame = neuroteach.results.noise("li2019", scale="small")
...     networks = neuroteach.query(["TrainedNetwork", "TeacherConfig"], "teacher = neural_model")
...     neuroteach.draw("noise", "noise.pdf", "li2019")
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

_PACKAGES = ("predictive_model", "regularized_training", "schemas", "pipeline")
_NAMES = {
    # the database
    "open_database": "pipeline.database.opening",
    "load_settings": "pipeline.database.settings",
    "Settings": "pipeline.database.settings",
    "read_experiment": "pipeline.experiments.file",
    "add_experiment": "pipeline.experiments.adding",
    "Selection": "pipeline.experiments.selection",
    "query": "pipeline.query.rows",
    "explain": "pipeline.query.provenance:provenance",
    # stage one, without a database
    "Recording": "predictive_model.recordings.recording",
    "describe_recording": "predictive_model.importers",
    "read_recording": "predictive_model.importers",
    "write_recording": "predictive_model.exporters",
    "SimulatedCortex": "predictive_model.recordings.simulation",
    "SimulatedCortexConfig": "predictive_model.recordings.simulation",
    "natural_stimuli": "predictive_model.recordings.stimuli",
    "reliability": "predictive_model.scoring.reliability",
    "read_recipe": "predictive_model.recipes",
    "EncoderConfig": "predictive_model.encoders.config",
    "FitConfig": "predictive_model.fits.config",
    "fit": "predictive_model.fits.fitting",
    "fit_jointly": "predictive_model.fits.fitting",
    "predict_recording": "predictive_model.fits.fitted",
    "score_predictions": "predictive_model.scoring.scores",
    "summarise": "predictive_model.scoring.score_summary",
    "similarity_quality": "regularized_training.teachers.similarity",
    # stage two, without a database
    "ImageTask": "regularized_training.tasks.image_task",
    "NetworkConfig": "regularized_training.networks.config",
    "TrainingConfig": "regularized_training.training_config",
    "SimilarityTeacher": "regularized_training.teachers.teacher",
    "train": "regularized_training.training",
    "read_network": "regularized_training.networks.saved",
}

__all__ = [
    *_NAMES,
    *("caveat", "denoised_responses", "draw", "figure", "populate", "results", "tables"),
]


def _refuse_shadows() -> None:
    """Refuse to work with packages of the same names that are not ours.

    Raises
    ------
    ImportError
    """
    home = Path(__file__).resolve().parent
    for name in _PACKAGES:
        found = importlib.util.find_spec(name)
        places = (
            [Path(p).resolve() for p in (found.submodule_search_locations or ())] if found else []
        )
        if home / name not in places:
            there = places[0] if places else (found.origin if found else "nowhere")
            raise ImportError(
                f"neuroteach: its package {name!r} in {home} is hidden by {there}, which Python "
                "finds first; start Python in another folder, or with -P, or rename that one"
            )


_refuse_shadows()


class _Results:
    """Results as frames, each by its name: ``results.noise("li2019", scale="small")``.

    ``results.noise_by_seed`` has a row for each network. All take ``experiment``, ``scale`` and
    ``user``, by default every experiment; ``white_box_correlation`` takes ``hardened`` besides,
    ``hypotheses`` takes ``peek``.
    """

    def __dir__(self) -> list[str]:
        from pipeline.results.registry import frames

        return sorted(frames())

    def __getattr__(self, name: str) -> Callable[..., pd.DataFrame]:
        if name.startswith("__"):
            raise AttributeError(name)
        from pipeline.experiments.selection import Selection
        from pipeline.results.registry import frames
        from schemas.base import require_active

        known = frames()
        if name not in known:
            raise AttributeError(f"results: no {name}; there are {', '.join(sorted(known))}")
        read = known[name]

        def results(
            experiment: str | None = None,
            scale: str | None = None,
            user: str | None = None,
            **further: Any,
        ) -> pd.DataFrame:
            require_active()
            return read(Selection(experiment, scale, user), **further)

        results.__name__, results.__doc__ = name, read.__doc__
        return results


class _Tables:
    """DataJoint tables by their names: ``tables.Scan``, ``tables.TrainedNetwork.Epoch``."""

    def __dir__(self) -> list[str]:
        from pipeline.query.rows import named_tables

        return [name for name in named_tables() if "." not in name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        from pipeline.query.restriction import QueryError
        from pipeline.query.rows import table_named

        try:
            return table_named(name)
        except QueryError as error:
            raise AttributeError(f"tables: {error}") from error


results = _Results()
tables = _Tables()


def draw(
    name: str,
    path: str | Path,
    experiment: str | None = None,
    scale: str | None = None,
    *,
    user: str | None = None,
    scan: str | None = None,
    hardened: Sequence[str] = (),
) -> None:
    """Draw a figure into a file, as ``neuroteach figure`` does."""
    from pipeline import figures
    from pipeline.experiments.selection import Selection

    selection = Selection(experiment, scale, user)
    figures.draw(name, Path(path), selection, scan=scan, hardened=hardened)


def figure(
    name: str,
    experiment: str | None = None,
    scale: str | None = None,
    *,
    user: str | None = None,
    scan: str | None = None,
    hardened: Sequence[str] = (),
) -> Figure:
    """The same figure of matplotlib, to be changed or shown."""
    from pipeline import figures
    from pipeline.experiments.selection import Selection

    selection = Selection(experiment, scale, user)
    return figures.figure(name, selection, scan=scan, hardened=hardened)


def caveat(experiment: str | None = None, scale: str | None = None, user: str | None = None) -> str:
    """What must be said beside every number: simulated brains and reduced scales."""
    from pipeline.experiments.selection import Selection
    from pipeline.results.encoders import caveat as said

    return said(Selection(experiment, scale, user))


def populate(experiment: str | None = None, scale: str | None = None, **options: Any) -> Any:
    """Compute what is planned and missing; see :func:`pipeline.workers.populate.populate`."""
    from pipeline.experiments.selection import Selection
    from pipeline.workers.populate import populate as compute

    return compute(Selection(experiment, scale), **options)


def denoised_responses(
    scan: str, experiment: str | None = None, scale: str | None = None
) -> dict[str, Any]:
    """Responses that a scan's encoder predicts to the scan's own images.

    See :func:`pipeline.results.arrays.denoised_responses`.
    """
    from pipeline.experiments.selection import Selection
    from pipeline.results.arrays import denoised_responses as read

    return read(scan, Selection(experiment, scale))


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"neuroteach has no {name!r}; it has {', '.join(__all__)}")
    module, _, attribute = _NAMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted(__all__)
