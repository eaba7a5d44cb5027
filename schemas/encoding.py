"""Encoders: their settings, who asked for them, and the fitted ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import datajoint as dj
import numpy as np

from predictive_model.checkpoint import array_digest
from predictive_model.encoders import config as configs
from predictive_model.fits import fitting
from predictive_model.fits.fitted import FittedEncoder as Fitted
from predictive_model.recordings.recording import Normalisation, Recording, RecordingError
from schemas.base import (
    PROVENANCE,
    Stopwatch,
    add_config,
    checkpoint_path,
    computing,
    config_hash,
    file_to_attach,
    read_attached,
    schema,
    transaction,
)
from schemas.experiment import Experiment, Seed  # noqa: F401 - named in definitions
from schemas.recording import Scan


@schema
class EncoderConfig(dj.Lookup):
    """What an encoder is made of."""

    definition = """
        encoder_hash    : char(16)
        ---
        layers          : int16
        hidden_channels : int16
        downsample      : int16
        readout         : varchar(16)  # gaussian or factorised
        shifter         : bool
        modulator       : bool
        config          : json
    """

    @classmethod
    def add(cls, config: configs.EncoderConfig) -> str:
        """Insert a configuration if it is new; returns its hash."""
        return add_config(
            cls,
            "encoder_hash",
            config,
            layers=config.core.layers,
            hidden_channels=config.core.hidden_channels,
            downsample=config.downsample,
            readout=config.readout.kind,
            shifter=config.shifter is not None,
            modulator=config.modulator is not None,
        )


@schema
class FitConfig(dj.Lookup):
    """How an encoder is fitted, and with which other scans it shares its core."""

    definition = """
        fit_hash      : char(16)
        ---
        batch_size    : int32      # 0 for an encoder that was imported
        learning_rate : float64
        max_epochs    : int32
        n_scans       : int16      # that share a core; 0 where each scan has its own
        scans         : json       # their names
        config        : json
    """

    @classmethod
    def add(cls, config: fitting.FitConfig, scans: Sequence[str] = ()) -> str:
        """Insert a configuration if it is new; returns its hash.

        ``scans`` are those that share a core. The same settings with other scans are another
        configuration, since they give other weights.
        """
        described = config.model_dump(mode="json")
        names = sorted(scans)
        key = config_hash({"kind": "FitConfig", **described, "scans": names} if names else config)
        row = dict(
            fit_hash=key,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            max_epochs=config.max_epochs,
            n_scans=len(names),
            scans=names,
            config=described,
        )
        cls.insert1(row, skip_duplicates=True)
        return key

    @classmethod
    def add_imported(cls, recipe: str, sha256: str, statistics: Normalisation) -> str:
        """Insert that an encoder was fitted elsewhere, and came from a file; returns the hash.

        The statistics count, since a file need not hold them.
        """
        arrays = [None if v is None else np.asarray(v) for v in vars(statistics).values()]
        described = {
            "kind": "imported",
            "recipe": recipe,
            "sha256": sha256,
            "statistics": array_digest(*arrays),
        }
        key = config_hash(described)
        row = dict(batch_size=0, learning_rate=0.0, max_epochs=0, n_scans=0, scans=[])
        cls.insert1({"fit_hash": key, **row, "config": described}, skip_duplicates=True)
        return key


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
class SharedCore(dj.Computed):
    """Encoders of several scans, fitted together with one core."""

    definition = f"""
        -> EncoderConfig
        -> FitConfig
        -> Seed
        ---
        validation_correlation : float64  # single trials, mean over the neurons of all scans
        n_epochs  : int32
        history   : json                  # a record for each epoch
        {PROVENANCE}
    """

    class Member(dj.Part):
        """The encoder of one scan."""

        definition = """
            -> master
            -> Scan
            ---
            encoder : <attach@main>   # safetensors with its settings in the header
        """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for."""
        asked = FitPlan * FitConfig.proj("n_scans") & "n_scans > 0"
        return EncoderConfig.proj() * FitConfig.proj() * Seed.proj() & asked.proj()

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Settings only: whatever is fetched here is hashed, and arrays hash slowly."""
        return (
            (EncoderConfig & key).fetch1("config"),
            *(FitConfig & key).fetch1("config", "scans"),
        )

    def make_compute(
        self,
        key: dict[str, Any],
        encoder_config: dict[str, Any],
        fit_config: dict[str, Any],
        scans: list[str],
    ) -> tuple[Any, ...]:
        """Fit all scans, outside of any transaction."""
        watch = Stopwatch()
        fitted = fitting.fit_jointly(
            [Scan.load({"scan": scan}) for scan in scans],
            configs.EncoderConfig.model_validate(encoder_config),
            fitting.FitConfig.model_validate(fit_config),
            key["seed"],
            device=computing().device,
            checkpoint=checkpoint_path(SharedCore, key),
            progress=_report_epochs(f"{len(scans)} scans"),
        )
        spent = sum(record.seconds for record in fitted[0].history)
        return scans, fitted, watch.provenance(computing().device, at_least=spent)

    def make_insert(
        self,
        key: dict[str, Any],
        scans: list[str],
        fitted: list[Fitted],
        provenance: dict[str, Any],
    ) -> None:
        """Insert the fit and each scan's encoder."""
        history = fitted[0].history
        row = {
            "validation_correlation": max(e.validation_correlation for e in history),
            "n_epochs": len(history),
            "history": [vars(record) for record in history],
        }
        self.insert1({**key, **row, **provenance})
        for scan, encoder in zip(scans, fitted, strict=True):
            with file_to_attach("encoder.safetensors", encoder.to_bytes()) as path:
                self.Member.insert1({**key, "scan": scan, "encoder": path})


@schema
class FittedEncoder(dj.Computed):
    """The denoiser of one scan: fitted to it alone or with others, or published elsewhere."""

    definition = f"""
        -> Scan
        -> EncoderConfig
        -> FitConfig
        -> Seed
        ---
        origin    : varchar(16)           # fitted, shared core, or imported
        source    : varchar(255)          # file that it was imported from, or nothing
        validation_correlation = null : float64  # single trials, mean over neurons
        n_epochs  : int32
        history   : json                  # a record for each epoch
        encoder   : <attach@main>         # safetensors with its settings in the header
        {PROVENANCE}
    """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for; with a shared core, once that is fitted."""
        planned = Scan.proj() * EncoderConfig.proj() * FitConfig.proj() * Seed.proj() & FitPlan
        return planned & [FitConfig & "n_scans = 0", SharedCore.Member.proj()]

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Settings only: whatever is fetched here is hashed, and arrays hash slowly."""
        return (
            (EncoderConfig & key).fetch1("config"),
            *(FitConfig & key).fetch1("config", "n_scans"),
        )

    def make_compute(
        self,
        key: dict[str, Any],
        encoder_config: dict[str, Any],
        fit_config: dict[str, Any],
        n_scans: int,
    ) -> tuple[Any, ...]:
        """Fit, outside of any transaction, or take it from those that share the core."""
        watch = Stopwatch()
        if n_scans:
            content = read_attached(SharedCore.Member & key, "encoder")
            fitted = Fitted.from_bytes(content)
            # Of the fit, not of this copy.
            core = (SharedCore & key).fetch1()
            provenance = {column: core[column] for column in watch.provenance()}
            return "shared core", fitted, core["history"], provenance
        fitted = fitting.fit(
            Scan.load(key),
            configs.EncoderConfig.model_validate(encoder_config),
            fitting.FitConfig.model_validate(fit_config),
            key["seed"],
            device=computing().device,
            checkpoint=checkpoint_path(FittedEncoder, key),
            progress=_report_epochs(key["scan"]),
        )
        history = [vars(record) for record in fitted.history]
        spent = sum(record.seconds for record in fitted.history)
        return "fitted", fitted, history, watch.provenance(computing().device, at_least=spent)

    def make_insert(
        self,
        key: dict[str, Any],
        origin: str,
        fitted: Fitted,
        history: list[dict[str, Any]],
        provenance: dict[str, Any],
    ) -> None:
        """Insert the fitted encoder."""
        row = {
            "origin": origin,
            "source": "",
            "validation_correlation": fitted.validation_correlation,
            "n_epochs": len(history),
            "history": history,
        }
        with file_to_attach("encoder.safetensors", fitted.to_bytes()) as path:
            self.insert1({**key, **row, "encoder": path, **provenance})

    @classmethod
    def add_imported(
        cls,
        scan: str,
        fitted: Fitted,
        *,
        recipe: str,
        source: str,
        sha256: str,
        species: str = "",
        area: str = "",
    ) -> bool:
        """Insert an encoder that was fitted elsewhere; False if the very same one is there already.

        Its scan is inserted without trials if the database does not have it. If the database has
        the scan with its trials, the statistics of these take the place of those that came with
        the encoder, so that it predicts in the units of the recording from its raw values.

        Parameters
        ----------
        scan : str
            Name of the scan that it was fitted to.
        fitted : FittedEncoder
        recipe, source, sha256 : str
            Architecture, name and hash of the file that it was read from.
        species, area : str
            Of the scan, if it is new.

        Raises
        ------
        RecordingError
            If the database has a scan of this name with another number of neurons, with images of
            another shape or without the behaviour or pupil that the encoder needs, or another
            imported encoder of it.
        """
        watch = Stopwatch()
        with transaction(cls.connection):
            Scan.add_without_trials(scan, fitted.n_neurons, species=species, area=area)
            if Scan & {"scan": scan} & "n_trials > 0":
                fitted = _joined(fitted, Scan.load({"scan": scan}))
            Seed.insert1({"seed": 0}, skip_duplicates=True)
            key = dict(
                scan=scan,
                encoder_hash=EncoderConfig.add(fitted.config),
                fit_hash=FitConfig.add_imported(recipe, sha256, fitted.normalisation),
                seed=0,
            )
            if cls & key:
                return False
            others = (cls & {"scan": scan, "origin": "imported"}).to_arrays("source")
            if len(others):
                raise RecordingError(
                    f"name: the database has another imported encoder of {scan!r}, from "
                    f"{others[0]} or with other statistics; choose another name, or delete it: "
                    f"(FittedEncoder & {{'scan': {scan!r}, 'origin': 'imported'}})"
                    '.delete(part_integrity="cascade")'
                )
            row = dict(origin="imported", source=source[:255], n_epochs=0, history=[])
            with file_to_attach("encoder.safetensors", fitted.to_bytes()) as path:
                cls.insert1(
                    {**key, **row, "encoder": path, **watch.provenance()},
                    allow_direct_insert=True,
                )
        return True

    @classmethod
    def load(cls, key: dict[str, Any]) -> Fitted:
        """One fitted encoder, ready to predict."""
        names = cls().primary_key
        return Fitted.from_bytes(read_attached(cls & {n: key[n] for n in names}, "encoder"))


def _joined(fitted: Fitted, recording: Recording) -> Fitted:
    """An encoder that was fitted elsewhere, with the statistics of its scan's own trials."""
    name, norm = recording.name, fitted.normalisation
    if recording.image_shape != fitted.image_shape:
        raise RecordingError(
            f"images: scan {name!r} has images of {recording.image_shape}, expected "
            f"{fitted.image_shape}, the shape that this encoder was fitted to; import the scan "
            "with --downsample, or choose another name"
        )
    n_behaviour = 0 if recording.behaviour is None else recording.behaviour.shape[1]
    expected = 0 if norm.behaviour_std is None else len(norm.behaviour_std)
    if fitted.config.uses_behaviour and n_behaviour != expected:
        raise RecordingError(
            f"behaviour: scan {name!r} has {n_behaviour} columns, expected {expected}, as this "
            "encoder takes them; import the scan with these, or choose another name"
        )
    if fitted.config.shifter is not None and recording.pupil is None:
        raise RecordingError(
            f"pupil: scan {name!r} has no position of the pupil, expected one, since this encoder "
            "has a shifter; import the scan with it, or choose another name"
        )
    return replace(fitted, normalisation=recording.normalisation)


def _report_epochs(what: str) -> Callable[[fitting.FitEpoch], None]:
    return lambda e: computing().progress(
        f"{what}: epoch {e.epoch}, validation correlation {e.validation_correlation:.3f}"
    )
