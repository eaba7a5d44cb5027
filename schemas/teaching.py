"""Teachers: stimuli and what the brain, or a control, says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datajoint as dj
import numpy as np

from regularized_training import similarity, teachers
from schemas.base import PROVENANCE, Stopwatch, add_config, config_hash, schema, transaction
from schemas.encoding import (
    EncoderConfig,  # noqa: F401 - named in a definition
    FitConfig,  # noqa: F401 - named in a definition
    FittedEncoder,
)
from schemas.experiment import Experiment, Seed  # noqa: F401 - named in definitions
from schemas.prediction import PredictedResponses
from schemas.recording import Scan


@schema
class SimilarityQuality(dj.Computed):
    """Fig. 1D of Li et al. 2019: does the model's similarity agree with the oracle's?

    Over the repeated images of the test tier; single trials are kept out of the oracle that they
    are compared with.
    """

    definition = f"""
        -> FittedEncoder
        ---
        status    : varchar(16)                # ok, or no repeats
        n_images  : int32
        n_repeats : int32
        model_correlation = null : float64     # corr(S_oracle, S_model)
        data_correlation = null : float64      # corr(S_oracle, S_data)
        oracle_ceiling = null : float64        # agreement of the oracle with itself
        oracle_matrix = null : <npy@main>      # (image, image) float32
        model_matrix = null : <npy@main>
        data_matrix = null : <npy@main>        # of the first trial of each image
        {PROVENANCE}
    """

    @property
    def key_source(self) -> Any:
        """Encoders of scans that are here with their trials."""
        return FittedEncoder.proj() & (Scan & "n_trials > 0")

    def make(self, key: dict[str, Any]) -> None:
        """Compare the three similarities of one scan."""
        watch = Stopwatch()
        recording = Scan.load(key)
        images = recording.images_of("test")
        n = int((recording.repeats[images] >= 2).sum())
        row: dict[str, Any] = dict(status="no repeats", n_images=n, n_repeats=0)
        if n >= 3:
            q = similarity.similarity_quality(recording, FittedEncoder.load(key))
            row.update(
                status="ok",
                n_repeats=q.n_repeats,
                model_correlation=q.model_correlation,
                data_correlation=q.data_correlation,
                oracle_ceiling=q.oracle_ceiling,
                oracle_matrix=q.oracle,
                model_matrix=q.model,
                data_matrix=q.data,
            )
        self.insert1({**key, **row, **watch.provenance()})


@schema
class ScanGroup(dj.Manual):
    """Scans whose similarity is averaged, each with the encoder that denoises it.

    The group without members serves the teacher that teaches nothing.
    """

    definition = """
        scan_group : char(16)
        ---
        n_scans    : int16
        simulated  : bool       # true if any of its scans is
        scans      : varchar(255)  # names, for people
    """

    class Member(dj.Part):
        """One scan and its encoder."""

        definition = """
            -> master
            -> Scan
            -> EncoderConfig
            -> FitConfig
            -> Seed
        """

    @classmethod
    def add(cls, members: Sequence[dict[str, Any]]) -> str:
        """Insert a group if it is new; returns its key.

        ``members`` hold ``scan``, ``encoder_hash``, ``fit_hash`` and ``seed``.
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
        teacher      : varchar(32)   # none, neural_model, neural_data, shuffle
        teacher_seed : int32
        config       : json
    """

    @classmethod
    def add(cls, config: teachers.TeacherConfig) -> str:
        """Insert a configuration if it is new; returns its hash."""
        return add_config(
            cls, "teacher_hash", config, teacher=config.kind, teacher_seed=config.seed
        )


@schema
class TeacherPlan(dj.Manual):
    """Teachers that an experiment asks for."""

    definition = """
        -> Experiment
        -> TeacherConfig
        -> ScanGroup
    """


@schema
class Teacher(dj.Computed):
    """A similarity matrix over stimuli."""

    definition = f"""
        -> TeacherConfig
        -> ScanGroup
        ---
        n_stimuli = 0 : int32
        stimuli = null : <npy@main>      # (n, channels, height, width)
        similarity = null : <npy@main>   # (n, n) float32
        {PROVENANCE}
    """

    @property
    def key_source(self) -> Any:
        """Planned teachers whose scans all have their predictions."""
        unready = ScanGroup.Member.proj() - PredictedResponses.proj()
        return TeacherConfig.proj() * ScanGroup.proj() & TeacherPlan - unready

    def make(self, key: dict[str, Any]) -> None:
        """Make the teacher's matrix."""
        watch = Stopwatch()
        config = teachers.TeacherConfig.model_validate((TeacherConfig & key).fetch1("config"))
        row: dict[str, Any] = {}
        if config.kind != "none":
            teacher = self._teacher(key, config)
            row = dict(
                n_stimuli=len(teacher.stimuli),
                stimuli=teacher.stimuli,
                similarity=teacher.similarity,
            )
        self.insert1({**key, **row, **watch.provenance()})

    @staticmethod
    def _teacher(key: dict[str, Any], config: teachers.TeacherConfig) -> teachers.SimilarityTeacher:
        members = (ScanGroup.Member & key).keys(order_by="scan")
        recordings = [Scan.load(member) for member in members]
        if config.kind == "neural_data":
            return teachers.neural_data_teacher(recordings, config.seed)
        images = teachers.teaching_images(recordings)
        predicted, weights = [], []
        for member, recording in zip(members, recordings, strict=True):
            encoder = FittedEncoder.load(member)
            responses = np.asarray((PredictedResponses & member).fetch1("responses"))
            predicted.append(responses[images])
            weights.append(similarity.model_weight(recording, encoder))
        teacher = teachers.neural_model_teacher(recordings[0].images[images], predicted, weights)
        return (
            teacher
            if config.kind == "neural_model"
            else teachers.shuffle_teacher(teacher, config.seed)
        )

    @classmethod
    def load(cls, key: dict[str, Any]) -> teachers.SimilarityTeacher | None:
        """The teacher, or None for the one that teaches nothing."""
        names = cls().primary_key
        row = (cls * TeacherConfig.proj("teacher") & {n: key[n] for n in names}).fetch1()
        if not row["n_stimuli"]:
            return None
        return teachers.SimilarityTeacher(
            row["teacher"], np.asarray(row["stimuli"]), np.asarray(row["similarity"])
        )
