"""Which teachers are wanted: their settings, the scans that they speak for, and by whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import datajoint as dj

from regularized_training.teachers.config import TeacherConfig as TeacherSettings
from schemas.base import schema, transaction
from schemas.configurations import config_hash, config_row
from schemas.encoding import EncoderConfig, FitConfig, FittedEncoder  # noqa: F401 - in definitions
from schemas.experiment import Experiment, Seed  # noqa: F401 - likewise
from schemas.recording import Scan, StimulusSet


@schema
class PredictionPlan(dj.Manual):
    """Further images whose responses are wanted; those that a scan saw need no plan."""

    definition = """
        -> FittedEncoder
        -> StimulusSet
    """

    @classmethod
    def add(cls, key: dict[str, Any], stimulus_set: str) -> None:
        """Ask for the responses that an encoder predicts to a set of images.

        Raises
        ------
        ValueError
            If the images have another shape than the encoder's.
        """
        names = FittedEncoder().primary_key
        images = StimulusSet & {"stimulus_set": stimulus_set}
        shape = images.fetch1("channels", "height", "width")
        expected = FittedEncoder.load(key).image_shape
        if tuple(shape) != expected:
            raise ValueError(
                f"stimuli {stimulus_set}: images of {shape}, expected {expected}, the shape that "
                "this encoder was fitted to; import them at that size"
            )
        row = {**{n: key[n] for n in names}, "stimulus_set": stimulus_set}
        cls.insert1(row, skip_duplicates=True)


_MEMBER = ("scan", "encoder_hash", "fit_hash", "seed", "stimulus_set")


@schema
class ScanGroup(dj.Manual):
    """Scans whose similarity is averaged, each with the encoder that denoises it, and of what.

    The group without members serves the teacher that teaches nothing. It says what is wanted: its
    encoders may not be fitted yet.
    """

    definition = """
        scan_group : char(16)
        ---
        n_scans    : int16
        simulated  : bool       # true if any of its scans is
        scans      : varchar(255)  # names, for people
    """

    class Member(dj.Part):
        """One scan, its encoder, and the stimuli, which are the same for all of a group."""

        definition = """
            -> master
            -> Scan
            -> EncoderConfig
            -> FitConfig
            -> Seed
            -> StimulusSet
        """

    class Source(dj.Part):
        """A member whose encoder was there before, as one that was imported."""

        definition = """
            -> master
            -> PredictionPlan
        """

    @staticmethod
    def key_of(members: Sequence[Mapping[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
        """The key of a group, and its members in order."""
        ordered = [{name: m[name] for name in _MEMBER} for m in members]
        ordered.sort(key=lambda m: tuple(map(str, m.values())))
        return config_hash({"kind": "ScanGroup", "members": ordered}), ordered

    @classmethod
    def add(cls, members: Sequence[dict[str, Any]], *, fitted: bool = False) -> str:
        """Insert a group if it is new; returns its key.

        Parameters
        ----------
        members : sequence of dict
            With ``scan``, ``encoder_hash``, ``fit_hash``, ``seed`` and ``stimulus_set``.
        fitted : bool
            Whether their encoders are here already, and their predictions are asked for.
        """
        group, members = cls.key_of(members)
        if not cls & {"scan_group": group}:
            cls._insert_group(group, members)
        if fitted:
            sources = [{"scan_group": group, **member} for member in members]
            cls.Source.insert(sources, skip_duplicates=True)
        return group

    @classmethod
    def _insert_group(cls, group: str, members: Sequence[dict[str, Any]]) -> None:
        names = [m["scan"] for m in members]
        simulated = bool(members) and bool(len(Scan & [{"scan": n} for n in names] & "simulated"))
        with transaction(cls.connection):
            cls.insert1(
                dict(
                    scan_group=group,
                    n_scans=len(members),
                    simulated=simulated,
                    scans=", ".join(names)[:255],
                )
            )
            cls.Member.insert([{"scan_group": group, **m} for m in members])


@schema
class TeacherConfig(dj.Lookup):
    """Which teacher."""

    definition = """
        teacher_hash : char(16)
        ---
        teacher      : varchar(128)  # none, neural_model, shuffle ..., module:function
        teacher_seed : int32
        needs = ""   : varchar(16)   # first version that knows these settings; any if empty
        config       : json
    """

    @classmethod
    def row(cls, config: TeacherSettings) -> dict[str, Any]:
        """The row of a configuration."""
        return config_row("teacher_hash", config, teacher=config.kind, teacher_seed=config.seed)


@schema
class TeacherPlan(dj.Manual):
    """Teachers that an experiment asks for."""

    definition = """
        -> Experiment
        -> TeacherConfig
        -> ScanGroup
    """
