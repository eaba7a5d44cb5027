"""Encoders: their settings, the fitted ones, how good they are and what they predict."""

from __future__ import annotations

from typing import Any

import datajoint as dj
import numpy as np

from predictive_model import encoder as encoder_module
from predictive_model import fitting
from predictive_model.fitted import FittedEncoder as Fitted
from predictive_model.scores import score_predictions
from schemas.base import (
    PROVENANCE,
    Stopwatch,
    add_config,
    checkpoint_path,
    computing,
    file_to_attach,
    read_attached,
    schema,
)
from schemas.experiment import Experiment, Seed  # noqa: F401 - named in definitions
from schemas.recording import Scan, StimulusSet


@schema
class EncoderConfig(dj.Lookup):
    """What an encoder is made of."""

    definition = """
        encoder_hash    : char(16)
        ---
        layers          : int16
        hidden_channels : int16
        downsample      : int16
        shifter         : bool
        modulator       : bool
        config          : json
    """

    @classmethod
    def add(cls, config: encoder_module.EncoderConfig) -> str:
        """Insert a configuration if it is new; returns its hash."""
        return add_config(
            cls,
            "encoder_hash",
            config,
            layers=config.core.layers,
            hidden_channels=config.core.hidden_channels,
            downsample=config.downsample,
            shifter=config.shifter is not None,
            modulator=config.modulator is not None,
        )


@schema
class FitConfig(dj.Lookup):
    """How an encoder is fitted."""

    definition = """
        fit_hash      : char(16)
        ---
        batch_size    : int32
        learning_rate : float64
        max_epochs    : int32
        config        : json
    """

    @classmethod
    def add(cls, config: fitting.FitConfig) -> str:
        """Insert a configuration if it is new; returns its hash."""
        return add_config(
            cls,
            "fit_hash",
            config,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            max_epochs=config.max_epochs,
        )


@schema
class FitPlan(dj.Manual):
    """Fits that an experiment asks for."""

    definition = """
        -> Experiment
        -> Scan
        -> EncoderConfig
        -> FitConfig
        -> Seed
    """


@schema
class FittedEncoder(dj.Computed):
    """The denoiser of one scan."""

    definition = f"""
        -> Scan
        -> EncoderConfig
        -> FitConfig
        -> Seed
        ---
        validation_correlation : float64  # single trials, mean over neurons
        n_epochs  : int32
        history   : json                  # a record for each epoch
        encoder   : <attach@main>         # safetensors with its settings in the header
        {PROVENANCE}
    """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for."""
        return Scan.proj() * EncoderConfig.proj() * FitConfig.proj() * Seed.proj() & FitPlan

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Settings only: whatever is fetched here is hashed, and arrays hash slowly."""
        return (
            (EncoderConfig & key).fetch1("config"),
            (FitConfig & key).fetch1("config"),
        )

    def make_compute(
        self, key: dict[str, Any], encoder_config: dict[str, Any], fit_config: dict[str, Any]
    ) -> tuple[Any, ...]:
        """Fit, outside of any transaction."""
        watch = Stopwatch()
        fitted = fitting.fit(
            Scan.load(key),
            encoder_module.EncoderConfig.model_validate(encoder_config),
            fitting.FitConfig.model_validate(fit_config),
            key["seed"],
            device=computing().device,
            checkpoint=checkpoint_path(FittedEncoder, key),
            progress=lambda e: computing().progress(
                f"{key['scan']}: epoch {e.epoch}, validation correlation "
                f"{e.validation_correlation:.3f}"
            ),
        )
        spent = sum(record.seconds for record in fitted.history)
        return fitted, watch.provenance(computing().device, at_least=spent)

    def make_insert(self, key: dict[str, Any], fitted: Fitted, provenance: dict[str, Any]) -> None:
        """Insert the fitted encoder."""
        with file_to_attach("encoder.safetensors", fitted.to_bytes()) as path:
            self.insert1(
                {
                    **key,
                    "validation_correlation": fitted.validation_correlation,
                    "n_epochs": len(fitted.history),
                    "history": [vars(record) for record in fitted.history],
                    "encoder": path,
                    **provenance,
                }
            )

    @classmethod
    def load(cls, key: dict[str, Any]) -> Fitted:
        """One fitted encoder, ready to predict."""
        names = cls().primary_key
        return Fitted.from_bytes(read_attached(cls & {n: key[n] for n in names}, "encoder"))


@schema
class EncoderScore(dj.Computed):
    """How well an encoder predicts the test tier, beside what the repeats say."""

    definition = f"""
        -> FittedEncoder
        ---
        status        : varchar(16)             # ok, no repeats, or no test trials
        n_trials      : int32
        single_trial = null : float64           # correlation, mean over neurons
        to_average = null : float64             # correlation to the average, mean over neurons
        oracle = null : float64                 # leave-one-out oracle, its reference
        fraction_oracle = null : float64        # slope through the origin over neurons
        single_trial_by_neuron = null : <npy@main>
        to_average_by_neuron = null : <npy@main>
        oracle_by_neuron = null : <npy@main>
        {PROVENANCE}
    """

    def make(self, key: dict[str, Any]) -> None:
        """Score one encoder."""
        watch = Stopwatch()
        recording = Scan.load(key)
        n = len(recording.trials_of("test"))
        row: dict[str, Any] = dict(status="no test trials", n_trials=n)
        if n >= 2:
            predicted = fitting.predict_recording(FittedEncoder.load(key), recording, "test")
            scores = score_predictions(recording, "test", predicted)
            row.update(
                status="ok",
                single_trial=scores.single_trial.mean(),
                single_trial_by_neuron=scores.single_trial,
            )
            if scores.to_average is None or scores.oracle is None:
                row["status"] = "no repeats"
            else:
                row.update(
                    to_average=scores.to_average.mean(),
                    oracle=scores.oracle.mean(),
                    fraction_oracle=scores.fraction_oracle,
                    to_average_by_neuron=scores.to_average,
                    oracle_by_neuron=scores.oracle,
                )
        self.insert1({**key, **row, **watch.provenance()})


@schema
class PredictedResponses(dj.Computed):
    """Denoised responses to all images of the scan, pupil and behaviour held at their means."""

    definition = f"""
        -> FittedEncoder
        -> StimulusSet
        ---
        responses : <npy@main>   # (image, neuron) float32
        {PROVENANCE}
    """

    @property
    def key_source(self) -> Any:
        """Each encoder with the images of its own scan."""
        shown = Scan.proj(shown="stimulus_set")
        return (FittedEncoder.proj() * StimulusSet.proj() * shown & "stimulus_set = shown").proj()

    def make(self, key: dict[str, Any]) -> None:
        """Predict all neurons' responses."""
        watch = Stopwatch()
        images = np.asarray((StimulusSet & key).fetch1("images"))
        device = computing().device
        responses = FittedEncoder.load(key).predict(images, device=device)
        self.insert1({**key, "responses": responses, **watch.provenance(device)})
