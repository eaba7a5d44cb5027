"""Which fitted encoders a figure shows, and which of their neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.experiments.selection import Selection
from pipeline.results.encoders import caveat_of, stimuli
from pipeline.results.registry import NothingToShowError
from predictive_model.fits.fitted import FittedEncoder, predict_recording
from predictive_model.recordings.recording import Recording
from predictive_model.recordings.stimuli import natural_stimuli
from predictive_model.scoring.correlation import correlation
from schemas import encoding, prediction, recording

MOST_SCANS = 4
N_IMAGES = 60  # from which gradients are taken

Part = Literal["filters", "shifter", "modulator"]
WITHOUT_PART = {
    "filters": "has no filters on the image, since {why}; draw its receptive-fields instead",
    "shifter": "has no shifter, since {why}; there is no shift to show",
    "modulator": "has no modulator, since {why}; there is no gain to show",
}
INPUT_OF = {"shifter": "position of the pupil", "modulator": "behaviour"}


@dataclass(frozen=True, eq=False)
class ShownEncoder:
    """One scan's encoder, with what its figures need.

    Attributes
    ----------
    row : dict
        Primary key of ``FittedEncoder`` and columns of its scan.
    fitted : FittedEncoder
    quality : (neuron,)
        Larger is better predicted.
    measure : str
        What the quality is.
    """

    row: dict[str, Any]
    fitted: FittedEncoder
    quality: NDArray[np.float64]
    measure: str

    @property
    def heading(self) -> str:
        """Scan, encoder and seed in one line."""
        row = self.row
        brain = "simulated scan" if row["simulated"] else "scan"
        origin = ", imported" if row["origin"] == "imported" else f", seed {row['seed']}"
        return f"{brain} {row['scan']}, encoder {row['encoder_hash'][:8]}{origin}"

    def best_neurons(self, n: int) -> NDArray[np.int64]:
        """Those that are predicted best, best first."""
        return np.argsort(-self.quality, kind="stable")[:n]

    def images(self, n: int | None = N_IMAGES) -> NDArray:
        """Images of the scan, evenly from all; natural ones, if only the encoder is known."""
        if self.row["stimulus_set"] is None:
            channels, *shape = self.fitted.image_shape
            images = natural_stimuli(n or N_IMAGES, (shape[0], shape[1]))
            return np.repeat(images, channels, axis=1)
        images = stimuli(self.row["stimulus_set"])
        if n is None or n >= len(images):
            return images
        return images[np.linspace(0, len(images) - 1, n).round().astype(int)]

    def recording(self) -> Recording | None:
        """The scan with its trials, if they are here."""
        return recording.Scan.load(self.row) if self.row["n_trials"] else None


def shown_encoders(
    selection: Selection, scan: str | None, part: Part | None = None
) -> tuple[list[ShownEncoder], str]:
    """Of each scan the encoder that predicts its validation tier best, and a remark.

    Parameters
    ----------
    part : str, optional
        Only encoders that have it. A core behind a front end has no filters on the image.

    Returns
    -------
    encoders : list of ShownEncoder
        Of at most ``MOST_SCANS`` scans.
    remark : str
        What is not shown, or nothing.

    Raises
    ------
    NothingToShowError
        If there is no such encoder; says why.
    LookupError
        If there is no such experiment or scan.
    """
    rows = _rows(selection)
    if not rows:
        raise NothingToShowError(
            "no fitted encoders yet; add an experiment and run `neuroteach populate`"
        )
    if scan is not None:
        known = sorted({row["scan"] for row in rows})
        rows = [row for row in rows if row["scan"] == scan]
        if not rows:
            raise LookupError(
                f"scan: {scan!r} has no fitted encoder here; these have: {', '.join(known)}"
            )
    having = [row for row in rows if part is None or row[part]]
    if part is not None and not having:
        raise NothingToShowError(_why_without(rows[0], part))
    chosen: dict[str, dict[str, Any]] = {}
    for row in having:
        chosen.setdefault(row["scan"], row)
    without = sorted({row["scan"] for row in rows} - set(chosen))
    remarks = [f"without {part}: {', '.join(without)}"] if without else []
    if len(chosen) > MOST_SCANS:
        remarks.append(f"{MOST_SCANS} of {len(chosen)} scans, --scan chooses another")
    shown = [_loaded(row) for row in list(chosen.values())[:MOST_SCANS]]
    return shown, "; ".join(remarks)


def with_caveat_of(title: str, shown: Sequence[ShownEncoder], selection: Selection) -> str:
    """A title and below it what must be said of the encoders that are shown, and of no others."""
    plan = encoding.FitPlan & selection.experiments
    keys = [{k: e.row[k] for k in encoding.FittedEncoder().primary_key} for e in shown]
    said = caveat_of((e.row["simulated"] for e in shown), (plan & keys).to_arrays("scale"))
    return f"{title}\n{said}" if said else title


def _rows(selection: Selection) -> list[dict[str, Any]]:
    """Encoders by scan, the best of each scan first."""
    query = (
        encoding.FittedEncoder.proj("origin", "validation_correlation")
        * recording.Scan.proj("simulated", "stimulus_set", "n_trials", "n_behaviour", "has_pupil")
        * encoding.EncoderConfig.proj("shifter", "modulator", "config")
    )
    rows = selection.of(query, encoding.FitPlan).to_dicts()
    for row in rows:
        row["filters"] = row.pop("config").get("front_end") is None
    return sorted(rows, key=lambda r: (r["scan"], -_number(r["validation_correlation"]), r["seed"]))


def _number(value: float | None) -> float:
    return -np.inf if value is None else value


def _why_without(row: dict[str, Any], part: Part) -> str:
    if part == "filters":
        why = "its core sees the maps of a front end"
    elif row["origin"] == "imported" or row["has_pupil" if part == "shifter" else "n_behaviour"]:
        why = f"its configuration sets {part} to none"
    else:
        why = f"the scan has no {INPUT_OF[part]}"
    return f"the encoder of scan {row['scan']!r} {WITHOUT_PART[part].format(why=why)}"


def _loaded(row: dict[str, Any]) -> ShownEncoder:
    fitted = encoding.FittedEncoder.load(row)
    names = encoding.FittedEncoder().primary_key
    scored = (prediction.EncoderScore & {k: row[k] for k in names}).to_dicts()
    if scored and scored[0]["single_trial_by_neuron"] is not None:
        quality = np.asarray(scored[0]["single_trial_by_neuron"], np.float64)
        return ShownEncoder(row, fitted, quality, "correlation with test trials")
    shown = ShownEncoder(row, fitted, np.zeros(fitted.n_neurons), "")
    if (scan := shown.recording()) is not None:
        recorded = scan.responses[scan.trials_of("validation")]
        quality = correlation(predict_recording(fitted, scan, "validation"), recorded)
        return ShownEncoder(row, fitted, quality, "correlation with validation trials")
    # Where responses have variance 1, what an encoder explains is the variance that it predicts.
    quality = (fitted.predict(shown.images()) / fitted.normalisation.response_scale).std(0)
    return ShownEncoder(row, fitted, quality, "standard deviation of predicted responses")
