"""Encoders: their settings, who asked for them, how far fits are, and the fitted ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import datajoint as dj
import numpy as np

from predictive_model.digest import array_digest
from predictive_model.encoders import config as configs
from predictive_model.fits.config import FitConfig as FitSettings
from predictive_model.fits.config import FitEpoch
from predictive_model.recordings.recording import Normalisation, Recording, RecordingError
from schemas.base import (
    PROVENANCE,
    Computed,
    Found,
    RunningState,
    Stopwatch,
    computing,
    insert_rows,
    schema,
    transaction,
)
from schemas.checkpoints import checkpoint_path
from schemas.configurations import add_config, config_hash, config_row, read_config
from schemas.experiment import Experiment, Seed  # noqa: F401 - named in definitions
from schemas.recording import Scan
from schemas.stored import Attached, read_attached

if TYPE_CHECKING:
    from predictive_model.fits.fitted import FittedEncoder as Fitted


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
        needs = ""      : varchar(16)  # first version that knows these settings; any if empty
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
        needs = ""    : varchar(16)  # first version that knows these settings; any if empty
        config        : json
    """

    @classmethod
    def add(cls, config: FitSettings, scans: Sequence[str] = ()) -> str:
        """Insert a configuration if it is new; returns its hash.

        ``scans`` are those that share a core. The same settings with other scans are another
        configuration, since they give other weights.
        """
        names = sorted(scans)
        row = config_row(
            "fit_hash",
            config,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            max_epochs=config.max_epochs,
            n_scans=len(names),
            scans=names,
        )
        row["fit_hash"] = cls.key_of(config, scans)
        cls.insert1(row, skip_duplicates=True)
        return str(row["fit_hash"])

    @staticmethod
    def key_of(config: FitSettings, scans: Sequence[str] = ()) -> str:
        """The hash of a configuration, with the scans that share a core."""
        if not scans:
            return config_hash(config)
        return config_hash({"kind": "FitConfig", **config.described(), "scans": sorted(scans)})

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


class _Fits(Computed):
    """What fits by gradient descent have in common."""

    def fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Settings of encoder and fit, and how many scans share its core."""
        return (
            *(EncoderConfig & key).fetch1("config", "needs"),
            *(FitConfig & key).fetch1("config", "needs", "n_scans", "scans"),
        )


def _settings(
    encoder: dict[str, Any], encoder_needs: str, fit: dict[str, Any], fit_needs: str
) -> tuple[configs.EncoderConfig, FitSettings]:
    return (
        read_config(configs.EncoderConfig, encoder, encoder_needs),
        read_config(FitSettings, fit, fit_needs),
    )


@schema
class FitProgress(RunningState):
    """Epochs of fits that are running, or were when their worker died; see ``history`` after."""

    definition = """
        table_name : varchar(32)    # SharedCore or FittedEncoder
        scan       : varchar(64)    # empty for a shared core
        -> EncoderConfig
        -> FitConfig
        -> Seed
        epoch      : int32
        ---
        loss       : float64
        validation_correlation : float64  # single trials, mean over neurons
        seconds    : float64
    """

    @classmethod
    def key_of(cls, table: type[Computed], key: dict[str, Any]) -> dict[str, Any]:
        """Restricts it to one fit, a key of :class:`SharedCore` or :class:`FittedEncoder`."""
        names = ("encoder_hash", "fit_hash", "seed")
        about = {"table_name": table.__name__, "scan": key.get("scan", "")}
        return about | {name: key[name] for name in names}

    @classmethod
    def recorder(
        cls, table: type[Computed], key: dict[str, Any], what: str
    ) -> Callable[[FitEpoch], None]:
        """Inserts an epoch when it is over, and reports it."""
        own = cls.key_of(table, key)

        def record(epoch: FitEpoch) -> None:
            row = {
                "epoch": epoch.epoch,
                "loss": epoch.loss,
                "validation_correlation": epoch.validation_correlation,
                "seconds": epoch.seconds,
            }
            # A resumed fit may come to the same epoch again.
            cls.insert1({**own, **row}, skip_duplicates=True)
            computing().progress(
                f"{what}: epoch {epoch.epoch}, validation correlation "
                f"{epoch.validation_correlation:.3f}"
            )

        return record

    @classmethod
    def clear(cls, table: type[Computed], key: dict[str, Any]) -> None:
        """Forget the epochs of a fit that is finished."""
        (cls & cls.key_of(table, key)).delete_quick()


@schema
class SharedCore(_Fits):
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
        return self.keys_in(FitPlan & (FitConfig & "n_scans > 0"))

    @classmethod
    def planned(cls, experiments: Any) -> Any:
        """Fits of several scans."""
        return FitPlan & experiments & (FitConfig & "n_scans > 0")

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """Fit all scans."""
        from predictive_model.fits import fitting

        *described, _, scans = settings
        gone = [scan for scan in scans if not Scan & {"scan": scan}]
        if gone:
            raise RecordingError(
                f"scan {', '.join(gone)} shares this core and was deleted; remove the experiment "
                "with `neuroteach experiment remove`, and plan it anew without it"
            )
        device = computing().device
        fitted = fitting.fit_jointly(
            [Scan.load({"scan": scan}) for scan in scans],
            *_settings(*described),
            key["seed"],
            device=device,
            checkpoint=checkpoint_path(SharedCore, key),
            progress=FitProgress.recorder(SharedCore, key, f"{len(scans)} scans"),
        )
        history = fitted[0].history
        members = [
            {"scan": scan, "encoder": Attached("encoder.safetensors", encoder.to_bytes())}
            for scan, encoder in zip(scans, fitted, strict=True)
        ]
        return Found(
            {
                "validation_correlation": max(e.validation_correlation for e in history),
                "n_epochs": len(history),
                "history": [vars(record) for record in history],
            },
            {"Member": members},
            device=device,
            seconds=sum(record.seconds for record in history),
        )

    def make_insert(self, key: dict[str, Any], found: Found, provenance: dict[str, Any]) -> None:
        """Insert the fit and each scan's encoder; its epochs stand in its history then."""
        super().make_insert(key, found, provenance)
        FitProgress.clear(SharedCore, key)


@schema
class FittedEncoder(_Fits):
    """The encoder of one scan: fitted to it alone or with others, or published elsewhere."""

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

    class Core(dj.Part):
        """The fit of several scans that the encoder was taken from."""

        definition = """
            -> master
            ---
            -> SharedCore.Member
        """

    @property
    def key_source(self) -> Any:
        """What some experiment asks for; with a shared core, once that is fitted."""
        return self.keys_in(FitPlan) & [FitConfig & "n_scans = 0", SharedCore.Member.proj()]

    @classmethod
    def planned(cls, experiments: Any) -> Any:
        """Fits that experiments ask for."""
        return FitPlan & experiments

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """Fit, or take the encoder from those that share the core."""
        from predictive_model.fits import fitting
        from predictive_model.fits.fitted import FittedEncoder as Fitted

        *described, n_scans, _ = settings
        if n_scans:
            fitted = Fitted.from_bytes(read_attached(SharedCore.Member & key, "encoder"))
            core = (SharedCore & key).fetch1()
            # Made by the fit, not by this copy.
            made = {column: core[column] for column in Stopwatch().provenance()}
            row = _fitted_row("shared core", fitted, core["history"])
            return Found(row, {"Core": [{}]}, provenance=made)
        device = computing().device
        fitted = fitting.fit(
            Scan.load(key),
            *_settings(*described),
            key["seed"],
            device=device,
            checkpoint=checkpoint_path(FittedEncoder, key),
            progress=FitProgress.recorder(FittedEncoder, key, key["scan"]),
        )
        history = [vars(record) for record in fitted.history]
        spent = sum(record.seconds for record in fitted.history)
        return Found(_fitted_row("fitted", fitted, history), device=device, seconds=spent)

    def make_insert(self, key: dict[str, Any], found: Found, provenance: dict[str, Any]) -> None:
        """Insert the encoder; the epochs of its fit stand in its history then."""
        super().make_insert(key, found, provenance)
        FitProgress.clear(FittedEncoder, key)

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
            row = dict(
                origin="imported",
                source=source[:255],
                n_epochs=0,
                history=[],
                encoder=Attached("encoder.safetensors", fitted.to_bytes()),
            )
            insert_rows(cls(), [{**key, **row, **watch.provenance()}], allow_direct_insert=True)
        return True

    @classmethod
    def load(cls, key: dict[str, Any]) -> Fitted:
        """One fitted encoder, ready to predict."""
        from predictive_model.fits.fitted import FittedEncoder as Fitted

        names = cls().primary_key
        return Fitted.from_bytes(read_attached(cls & {n: key[n] for n in names}, "encoder"))


class EncoderAnalysis(Computed):
    """Base of what is computed of each encoder whose scan is here with its trials."""

    @property
    def key_source(self) -> Any:
        """Encoders of scans that are here with their trials."""
        return FittedEncoder.proj() & (Scan & "n_trials > 0")

    @classmethod
    def planned(cls, experiments: Any) -> Any:
        """Encoders that are fitted for experiments."""
        return FitPlan & experiments


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


def _fitted_row(origin: str, fitted: Fitted, history: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "origin": origin,
        "source": "",
        "validation_correlation": fitted.validation_correlation,
        "n_epochs": len(history),
        "history": history,
        "encoder": Attached("encoder.safetensors", fitted.to_bytes()),
    }
