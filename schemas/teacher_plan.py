"""Which teachers are wanted: their settings, the scans that they speak for, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datajoint as dj

from regularized_training.teachers.config import TeacherConfig as TeacherSettings
from schemas.base import schema, transaction
from schemas.configurations import config_hash, config_row
from schemas.encoding import EncoderConfig, FitConfig  # noqa: F401 - named in definitions
from schemas.experiment import Experiment, Seed  # noqa: F401 - likewise
from schemas.recording import Scan, StimulusSet  # noqa: F401 - likewise


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

    @classmethod
    def add(cls, members: Sequence[dict[str, Any]]) -> str:
        """Insert a group if it is new; returns its key.

        ``members`` hold ``scan``, ``encoder_hash``, ``fit_hash``, ``seed`` and ``stimulus_set``.
        """
        members = sorted(members, key=lambda m: tuple(map(str, m.values())))
        group = config_hash({"kind": "ScanGroup", "members": members})
        if cls & {"scan_group": group}:
            return group
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
        return group


@schema
class TeacherConfig(dj.Lookup):
    """Which teacher."""

    definition = """
        teacher_hash : char(16)
        ---
        teacher      : varchar(32)   # none, neural_model, neural_data, shuffle, gabor ...
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
