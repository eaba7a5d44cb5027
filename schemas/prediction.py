"""What encoders predict, and how well."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from predictive_model import half_precision
from predictive_model.array_file import ArrayParts
from schemas.base import PROVENANCE, Computed, Found, computing, schema
from schemas.encoding import EncoderAnalysis, FittedEncoder
from schemas.recording import Scan, StimulusSet
from schemas.similarity import StabilityPlan
from schemas.stored import Written
from schemas.teacher_plan import PredictionPlan, ScanGroup, TeacherPlan

if TYPE_CHECKING:
    from predictive_model.scoring.scores import EncoderScores

SUMMARY = """
        {0} = null : float64          # {1}
        {0}_low = null : float64      # 95 percent interval, from resampled neurons
        {0}_high = null : float64
        {0}_ceiling = null : float64  # what a perfect prediction would score
        n_{0} = null : int32          # neurons that count
"""


@schema
class EncoderScore(EncoderAnalysis):
    """How well an encoder predicts the test tier, beside what a perfect prediction would score.

    docs/scores.md defines every score. Without repeats all but ``single_trial`` are null.
    """

    definition = f"""
        -> FittedEncoder
        ---
        status   : varchar(16)  # ok, no repeats, or no test trials
        n_trials : int32
        n_images : int32
        oracle = null : float64               # leave-one-out oracle, mean over neurons
        conservative_oracle = null : float64  # oracle that saw the trial, mean over neurons
        to_average_split_half = null : float64  # ceiling by Spearman-Brown, mean over neurons
        fev = null : float64                  # fraction of explainable variance, mean over neurons
        {SUMMARY.format("single_trial", "correlation with single trials, mean over neurons")}
        {SUMMARY.format("to_average", "correlation to the average, mean over neurons")}
        {SUMMARY.format("feve", "fraction of explainable variance explained, mean over neurons")}
        {SUMMARY.format("cc_norm", "to_average over its ceiling, median over neurons")}
        {SUMMARY.format("fraction_oracle_slope", "slope through the origin over neurons")}
        {SUMMARY.format("fraction_oracle_ratio", "single_trial over oracle, median over neurons")}
        single_trial_by_neuron = null : <npy@main>
        oracle_by_neuron = null : <npy@main>
        to_average_by_neuron = null : <npy@main>
        cc_max_by_neuron = null : <npy@main>
        fev_by_neuron = null : <npy@main>
        feve_by_neuron = null : <npy@main>    # NaN for neurons that do not count
        cc_norm_by_neuron = null : <npy@main> # NaN for neurons that do not count
        {PROVENANCE}
    """

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """Score one encoder."""
        from predictive_model.fits.fitted import predict_recording
        from predictive_model.scoring.scores import score_predictions

        device = computing().device
        recording = Scan.load(key)
        row: dict[str, Any] = dict(
            status="no test trials",
            n_trials=len(recording.trials_of("test")),
            n_images=len(recording.images_of("test")),
        )
        if row["n_trials"] >= 2:
            encoder = FittedEncoder.load(key)
            predicted = predict_recording(encoder, recording, "test", device=device)
            row |= self._scores(score_predictions(recording, "test", predicted))
        return Found(row, device=device)

    @staticmethod
    def _scores(scores: EncoderScores) -> dict[str, Any]:
        from predictive_model.scoring.score_summary import summarise

        row: dict[str, Any] = dict(status="no repeats", single_trial_by_neuron=scores.single_trial)
        for name, score in summarise(scores).items():
            row |= {
                name: score.value,
                f"{name}_low": score.low,
                f"{name}_high": score.high,
                f"{name}_ceiling": score.ceiling,
                f"n_{name}": score.n,
            }
        if scores.ceilings is not None:
            row |= dict(
                status="ok",
                oracle=scores.ceilings.oracle.mean(),
                conservative_oracle=scores.ceilings.conservative_oracle.mean(),
                to_average_split_half=scores.ceilings.split_half.mean(),
                fev=scores.ceilings.fev.mean(),
                oracle_by_neuron=scores.ceilings.oracle,
                to_average_by_neuron=scores.to_average,
                cc_max_by_neuron=scores.ceilings.cc_max,
                fev_by_neuron=scores.ceilings.fev,
                feve_by_neuron=scores.feve,
                cc_norm_by_neuron=scores.cc_norm,
            )
        undefined = [k for k, v in row.items() if isinstance(v, float) and np.isnan(v)]
        return row | dict.fromkeys(undefined)


@schema
class PredictedResponses(Computed):
    """Denoised responses to all images of a set, pupil and behaviour held at their means.

    Kept in half precision where rounding alters no similarity by 1e-4 and no neuron's responses by
    a hundredth of their standard deviation, which large populations allow
    (:mod:`predictive_model.half_precision`); in single precision elsewhere.
    """

    definition = f"""
        -> FittedEncoder
        -> StimulusSet
        ---
        responses : <npy@main>   # (image, neuron) float32 or float16
        {PROVENANCE}
    """

    @property
    def key_source(self) -> Any:
        """Each encoder with the images of its own scan, and whatever else was asked for."""
        shown = Scan.proj(shown="stimulus_set")
        pairs = FittedEncoder.proj() * StimulusSet.proj()
        return pairs & [(pairs * shown & "stimulus_set = shown").proj(), PredictionPlan]

    @classmethod
    def planned(cls, experiments: Any) -> Any:
        """Encoders that are fitted for experiments, and those whose teachers they ask for."""
        # All scans that an experiment fits encoders to are compared; encoders that were imported
        # are asked for by a teacher.
        return ScanGroup.Member & [StabilityPlan & experiments, TeacherPlan & experiments]

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """Predict all neurons' responses, and write them as they are predicted."""
        stored = (StimulusSet & key).fetch1("images")
        images = stored.rows(np.arange(len(stored)))
        device = computing().device
        encoder = FittedEncoder.load(key)
        shape = (len(images), encoder.n_neurons)

        def write(kept_as: type, parts: Iterable[NDArray]) -> Written:
            of_all = ArrayParts(shape, np.dtype(kept_as), parts)
            return self.write_array(key, "responses", of_all)

        if encoder.n_neurons >= half_precision.FEWEST_NEURONS:
            predicted = encoder.predict_parts(images, device=device)
            halves = half_precision.in_half_precision(predicted, encoder.n_neurons)
            with contextlib.suppress(half_precision.HalfPrecisionError):
                return Found({"responses": write(np.float16, halves)}, device=device)
        predicted = encoder.predict_parts(images, device=device)
        return Found({"responses": write(np.float32, predicted)}, device=device)

    @classmethod
    def load(cls, key: dict[str, Any], chosen: NDArray[np.int64] | None = None) -> NDArray:
        """Responses to a set's images, or to some of them, in memory.

        Of those that do not fit there `fetch1("responses")` reads rows, see
        :meth:`~schemas.stored.StoredArray.rows`.

        Returns
        -------
        (image, neuron) float32
        """
        stored = (cls & key).fetch1("responses")
        rows = stored.rows(np.arange(len(stored)) if chosen is None else chosen)
        return np.asarray(rows, np.float32)

    @classmethod
    def in_parts(cls, key: dict[str, Any]) -> ArrayParts:
        """Responses to a set's images, (image, neuron) float32, to be written to a file."""
        stored = (cls & key).fetch1("responses")
        n = len(stored)
        places = (np.arange(start, min(n, start + 1024)) for start in range(0, n, 1024))
        parts = (np.asarray(stored.rows(rows), np.float32) for rows in places)
        return ArrayParts(stored.shape, np.dtype(np.float32), parts)
