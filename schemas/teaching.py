"""Teachers: stimuli and what the brain, or a control, says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from predictive_model.checkpoint import array_digest
from predictive_model.recordings.recording import Recording, check_name
from regularized_training.teachers import controls, similarity
from regularized_training.teachers import teacher as teachers
from regularized_training.teachers.rsm import gaussian_teacher, recorded_rsm_teacher
from schemas.base import PROVENANCE, Stopwatch, add_config, config_hash, schema, transaction
from schemas.encoding import (
    EncoderConfig,  # noqa: F401 - named in a definition
    FitConfig,  # noqa: F401 - named in a definition
    FittedEncoder,
)
from schemas.experiment import Experiment, Seed  # noqa: F401 - named in definitions
from schemas.prediction import PredictedResponses
from schemas.recording import Scan, StimulusSet


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
    """Scans whose similarity is averaged, each with the encoder that denoises it, and of what.

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
class Rsm(dj.Manual):
    """A representational similarity matrix that is given, with its stimuli."""

    definition = """
        rsm         : varchar(64)
        ---
        -> StimulusSet
        n_pairs     : int32        # known
        source      : varchar(255)
        similarity  : <npy@main>   # (n, n) float32, NaN where unknown
    """

    @classmethod
    def add(cls, name: str, teacher: teachers.SimilarityTeacher, *, source: str) -> bool:
        """Insert a matrix; False if the very same one is there already.

        Raises
        ------
        ValueError
            If another one has this name, or had it and teachers made of it are still here.
        """
        check_name(name)
        present = (cls & {"rsm": name}).to_dicts()
        stimuli = array_digest(teacher.stimuli)[:16]
        if present:
            known = np.asarray(present[0]["similarity"])
            same = present[0]["stimulus_set"] == stimuli
            if same and np.array_equal(known, teacher.similarity, equal_nan=True):
                return False
            raise ValueError(f"rsm: another one is called {name!r}; give this one another name")
        made = [
            row
            for row in (Teacher.proj() * TeacherConfig).to_dicts()
            if row["config"]["rsm"] == name
        ]
        if made:
            raise ValueError(
                f"rsm: {name!r} was deleted, but {len(made)} teachers here were made of it, and it "
                "cannot be told whether they would be the same; give this one another name"
            )
        stimulus_set = StimulusSet.add(teacher.stimuli)
        cls.insert1(
            dict(
                rsm=name,
                stimulus_set=stimulus_set,
                n_pairs=teacher.known_pairs.shape[1],
                source=source[:255],
                similarity=teacher.similarity,
            )
        )
        return True

    @classmethod
    def load(cls, name: str) -> teachers.SimilarityTeacher:
        """The matrix as a teacher."""
        row = (cls * StimulusSet & {"rsm": name}).fetch1()
        matrix = np.asarray(row["similarity"])
        sparse = bool(np.isnan(matrix).any())
        return teachers.SimilarityTeacher("rsm", np.asarray(row["images"]), matrix, sparse=sparse)


@schema
class TeacherConfig(dj.Lookup):
    """Which teacher."""

    definition = """
        teacher_hash : char(16)
        ---
        teacher      : varchar(32)   # none, neural_model, neural_data, shuffle, gabor ...
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
        n_held_out = 0 : int32           # of them, which never teach
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
                n_held_out=len(teacher.held_out),
                stimuli=teacher.stimuli,
                similarity=teacher.similarity,
            )
        self.insert1({**key, **row, **watch.provenance()})

    @classmethod
    def _teacher(
        cls, key: dict[str, Any], config: teachers.TeacherConfig
    ) -> teachers.SimilarityTeacher:
        members = (ScanGroup.Member & key).keys(order_by="scan")
        kind, seed = config.kind, config.seed
        if config.rsm:
            given = Rsm.load(config.rsm)
            if kind == "gaussian":
                given = gaussian_teacher(given.stimuli, config.mean, config.deviation, seed=seed)
            return _shuffled(_holding_out(given, config), config)
        if kind in teachers.OF_TRIALS:
            recordings = [Scan.load(member) for member in members]
            if kind == "oracle":
                teacher = teachers.oracle_teacher(recordings)
            elif kind == "neural_data":
                teacher = teachers.neural_data_teacher(recordings, seed)
            else:
                shuffled = kind == "shuffle_neurons"
                teacher = recorded_rsm_teacher(recordings, shuffled=shuffled, seed=seed)
            return _holding_out(teacher, config)
        stimuli, images, scans = _stimuli(members)
        if kind == "pixels":
            return _holding_out(controls.pixel_teacher(stimuli), config)
        if kind == "gabor":
            return _holding_out(controls.gabor_teacher(stimuli), config)
        if kind in ("vgg", "vgg_untrained"):
            teacher = controls.vgg_teacher(stimuli, trained=kind == "vgg", seed=seed)
            return _holding_out(teacher, config)
        predicted, weights = [], []
        for member, recording in zip(members, scans, strict=True):
            responses = np.asarray((PredictedResponses & member).fetch1("responses"))[images]
            predicted.append(responses)
            weights.append(
                # Of a published encoder neither reliability nor predictability is known.
                np.ones(responses.shape[1])
                if recording is None
                else similarity.model_weight(recording, FittedEncoder.load(member))
            )
        model = teachers.neural_model_teacher(stimuli, predicted, weights)
        model = _holding_out(model, config)
        if kind == "low_rank":
            return controls.low_rank_teacher(model, config.rank)
        return _shuffled(model, config)

    @classmethod
    def load(cls, key: dict[str, Any]) -> teachers.SimilarityTeacher | None:
        """The teacher, or None for the one that teaches nothing."""
        names = cls().primary_key
        row = (cls * TeacherConfig.proj("teacher", "config") & {n: key[n] for n in names}).fetch1()
        if not row["n_stimuli"]:
            return None
        matrix = np.asarray(row["similarity"])
        return teachers.SimilarityTeacher(
            row["teacher"],
            np.asarray(row["stimuli"]),
            matrix,
            teachers.held_out_stimuli(row["n_stimuli"], row["config"]["held_out"]),
            sparse=bool(row["config"]["rsm"]) and bool(np.isnan(matrix).any()),
        )


def _shuffled(
    teacher: teachers.SimilarityTeacher, config: teachers.TeacherConfig
) -> teachers.SimilarityTeacher:
    """A teacher as it is, or with its images or pairs exchanged."""
    if config.kind == "shuffle":
        return controls.shuffle_teacher(teacher, config.seed)
    if config.kind == "shuffle_entries":
        return controls.shuffle_entries_teacher(teacher, config.seed)
    return teacher


def _holding_out(
    teacher: teachers.SimilarityTeacher, config: teachers.TeacherConfig
) -> teachers.SimilarityTeacher:
    held_out = teachers.held_out_stimuli(len(teacher.stimuli), config.held_out)
    return replace(teacher, held_out=held_out)


def _stimuli(
    members: Sequence[dict[str, Any]],
) -> tuple[NDArray, NDArray[np.int64], list[Recording | None]]:
    """Images that a group teaches with, their places in the stimulus set, and the scans.

    A scan's own images teach unless they are in its test tier. Of a scan without trials, or of
    images that it never saw, all may, and there is nothing of it to weigh its neurons with.
    """
    sets = {member["stimulus_set"] for member in members}
    images = np.asarray((StimulusSet & [{"stimulus_set": s} for s in sets]).fetch1("images"))
    own = (Scan & members & [{"stimulus_set": s} for s in sets]).to_arrays("scan")
    recordings = [
        Scan.load(m) if m["scan"] in own and (Scan & m & "n_trials > 0") else None for m in members
    ]
    known = [recording for recording in recordings if recording is not None]
    chosen = teachers.teaching_images(known) if known else np.arange(len(images))
    return images[chosen], chosen, recordings
