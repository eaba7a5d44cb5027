"""Teachers: stimuli and what the brain, or a control, says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from predictive_model.array_file import ArrayParts
from predictive_model.digest import array_digest
from predictive_model.recordings.recording import Recording, check_name
from regularized_training.teachers.config import Predictability
from regularized_training.teachers.config import TeacherConfig as TeacherSettings
from regularized_training.teachers.kinds import TEACHERS, needs_of, says_of
from schemas.base import PROVENANCE, Computed, Found, computing, schema
from schemas.checkpoints import checkpoint_path
from schemas.configurations import read_config
from schemas.encoding import FittedEncoder
from schemas.images import ImageSet
from schemas.prediction import PredictedResponses
from schemas.recording import Scan, StimulusSet
from schemas.stored import Attached
from schemas.task_stimuli import TaskStimuli
from schemas.teacher_plan import ScanGroup, TeacherConfig, TeacherPlan

if TYPE_CHECKING:
    from regularized_training.teachers.any_teacher import Teacher as Teachers
    from regularized_training.teachers.making import TeacherInputs
    from regularized_training.teachers.response_rows import ChosenRows, ComputedRows
    from regularized_training.teachers.responses import ResponseTeacher
    from regularized_training.teachers.teacher import SimilarityTeacher
    from regularized_training.trained_network import TrainedNetwork
    from schemas.stored import Written

# Kinds whose responses are read from where they were predicted.
AS_PREDICTED = ("responses", "responses_shuffle", "responses_shuffle_neurons")
ROWS_AT_ONCE = 1024  # of responses that are written to the store


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
    def add(cls, name: str, teacher: SimilarityTeacher, *, source: str) -> bool:
        """Insert a matrix; False if the very same one is there already.

        Raises
        ------
        ValueError
            If another one has this name.
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
    def load(cls, name: str) -> SimilarityTeacher:
        """The matrix as a teacher."""
        from regularized_training.teachers.teacher import SimilarityTeacher

        row = (cls * StimulusSet & {"rsm": name}).fetch1()
        matrix = np.asarray(row["similarity"])
        sparse = bool(np.isnan(matrix).any())
        return SimilarityTeacher("rsm", np.asarray(row["images"]), matrix, sparse=sparse)


@schema
class Teacher(Computed):
    """A similarity matrix over stimuli, or responses to them.

    Predicted responses that are as :class:`~schemas.prediction.PredictedResponses` has them are not
    stored once more, nor are their stimuli: the rows of ``Source`` say where they are.
    """

    definition = f"""
        -> TeacherConfig
        -> ScanGroup
        ---
        n_stimuli = 0 : int32
        n_held_out = 0 : int32           # of them, which never teach
        stimuli = null : <npy@main>      # (n, channels, height, width)
        similarity = null : <npy@main>   # (n, n) float32
        responses = null : <npy@main>    # (n, neuron), of other kinds than predicted responses
        n_neurons = 0 : int32            # of a teacher of responses
        {PROVENANCE}
    """

    class Source(dj.Part):
        """Predicted responses that it was made of."""

        definition = """
            -> master
            -> PredictedResponses
        """

    class Matrix(dj.Part):
        """The matrix that it was made of."""

        definition = """
            -> master
            ---
            -> Rsm
        """

    class Oracle(dj.Part):
        """The network that responses were read from, up to the end of its trunk."""

        definition = """
            -> master
            ---
            -> TaskStimuli               # on whose image set it was trained
            test_accuracy : float64      # of the whole network, on clean images
            epochs        : json         # of its training, as those of TrainedNetwork
            weights       : <attach@main>  # safetensors with the settings in the header
        """

    @property
    def key_source(self) -> Any:
        """Planned teachers whose scans all have their predictions."""
        unready = ScanGroup.Member.proj() - PredictedResponses.proj()
        return self.keys_in(TeacherPlan - unready)

    @classmethod
    def planned(cls, experiments: Any) -> Any:
        """Teachers that experiments ask for."""
        return TeacherPlan & experiments

    def fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Settings."""
        return tuple((TeacherConfig & key).fetch1("config", "needs"))

    def compute(self, key: dict[str, Any], *settings: Any) -> Found:
        """Make the teacher's matrix."""
        from regularized_training.networks.registry import find_network
        from regularized_training.teachers.making import make_teacher

        config = read_config(TeacherSettings, *settings)
        if needs_of(config.kind) == "nothing":
            return Found({})
        inputs, parts = self._inputs(key, config)
        teacher = make_teacher(config, inputs)
        assert teacher is not None
        origins, seconds = [TEACHERS.find(config.kind)], 0.0
        if inputs.oracle is not None:
            origins.append(find_network(inputs.oracle.network_config.architecture))
            seconds = inputs.oracle.seconds
        row: dict[str, Any] = dict(n_stimuli=len(teacher.stimuli), n_held_out=len(teacher.held_out))
        if teacher.says == "similarity":
            row |= dict(stimuli=teacher.stimuli, similarity=teacher.similarity)
        else:
            row["n_neurons"] = teacher.n_neurons
            if config.kind in AS_PREDICTED:
                teacher.statistics()  # says so if a response is not finite
            else:
                row |= dict(stimuli=teacher.stimuli, responses=self._written(key, teacher))
        return Found(row, parts, device=str(inputs.device), origins=origins, seconds=seconds)

    def _written(self, key: dict[str, Any], teacher: ResponseTeacher) -> Written:
        """Responses in the store, part by part."""
        places = range(0, teacher.n_stimuli, ROWS_AT_ONCE)
        parts = (
            teacher.rows(np.arange(start, min(teacher.n_stimuli, start + ROWS_AT_ONCE)))
            for start in places
        )
        shape = (teacher.n_stimuli, teacher.n_neurons)
        return self.write_array(key, "responses", ArrayParts(shape, np.dtype(np.float32), parts))

    @classmethod
    def _inputs(
        cls, key: dict[str, Any], config: TeacherSettings
    ) -> tuple[TeacherInputs, dict[str, list[dict[str, Any]]]]:
        """What a teacher is made of, and rows of parts that say so."""
        from regularized_training.teachers.making import TeacherInputs

        needs = needs_of(config.kind, rsm=bool(config.rsm))
        if needs == "rsm":
            return TeacherInputs(rsm=Rsm.load(config.rsm)), {"Matrix": [{"rsm": config.rsm}]}
        members = (ScanGroup.Member & key).keys(order_by="scan")
        if needs == "trials":
            return TeacherInputs(recordings=[Scan.load(member) for member in members]), {}
        stimuli, chosen, scans = _stimuli(members)
        if needs == "stimuli":
            return TeacherInputs(stimuli=stimuli), {}
        own = cls().primary_key
        sources = {"Source": [{k: v for k, v in m.items() if k not in own} for m in members]}
        if says_of(config.kind) == "responses":
            rows: list[Any] = (
                _untrained(members, stimuli, config.seed)
                if config.kind == "responses_untrained"
                else _rows(members, chosen)
            )
            inputs = TeacherInputs(stimuli=stimuli, predicted=rows, device=computing().device)
            if config.oracle is not None:
                oracle, row = cls._oracle(key, config, members[0])
                return replace(inputs, oracle=oracle), sources | {"Oracle": [row]}
            return inputs, sources
        predicted, weights = _predictions(members, chosen, scans, config.predictability)
        return TeacherInputs(stimuli=stimuli, predicted=predicted, weights=weights), sources

    @classmethod
    def _oracle(
        cls, key: dict[str, Any], config: TeacherSettings, member: dict[str, Any]
    ) -> tuple[TrainedNetwork, dict[str, Any]]:
        """The oracle, trained on the images that are its stimuli, also distorted; its row."""
        from regularized_training.oracle_config import OracleConfig
        from regularized_training.training import train

        assert isinstance(config.oracle, OracleConfig)
        task = TaskStimuli.task_of(member["stimulus_set"])
        trained = train(
            ImageSet.load({"image_set": task}),
            config.oracle.network,
            config.oracle.training,
            config.seed,
            device=computing().device,
            checkpoint=checkpoint_path(Teacher, key),
            progress=lambda record: computing().progress(
                f"{config.kind}, {task}: epoch {record.epoch + 1} of the oracle"
            ),
        )
        return trained, {
            "stimulus_set": member["stimulus_set"],
            "image_set": task,
            "part": "train",
            "test_accuracy": trained.history[trained.epoch].test_accuracy,
            "epochs": [vars(record) for record in trained.history],
            "weights": Attached("oracle.safetensors", trained.to_bytes()),
        }

    @classmethod
    def load(cls, key: dict[str, Any]) -> Teachers | None:
        """The teacher, or None for the one that teaches nothing.

        Responses stay in the store until they are read, row by row.
        """
        from regularized_training.teachers import teacher as teachers
        from regularized_training.teachers.making import TeacherInputs, make_teacher
        from regularized_training.teachers.responses import ResponseTeacher

        names = cls().primary_key
        about = TeacherConfig.proj("teacher", "config", "needs")
        row = (cls * about & {n: key[n] for n in names}).fetch1()
        if not row["n_stimuli"]:
            return None
        config = read_config(TeacherSettings, row["config"], row["needs"])
        if says_of(config.kind) == "responses":
            if row["responses"] is None:
                members = (ScanGroup.Member & {n: key[n] for n in names}).keys(order_by="scan")
                stimuli, chosen, _ = _stimuli(members)
                inputs = TeacherInputs(stimuli=stimuli, predicted=_rows(members, chosen))
                return make_teacher(config, inputs)
            stimuli = np.asarray(row["stimuli"])
            held_out = teachers.held_out_stimuli(len(stimuli), config.held_out)
            return ResponseTeacher(row["teacher"], stimuli, row["responses"], held_out)
        matrix = np.asarray(row["similarity"])
        return teachers.SimilarityTeacher(
            row["teacher"],
            np.asarray(row["stimuli"]),
            matrix,
            teachers.held_out_stimuli(row["n_stimuli"], config.held_out),
            sparse=bool(config.rsm) and bool(np.isnan(matrix).any()),
            centred=config.is_centred,
        )


def _rows(
    members: Sequence[dict[str, Any]], chosen: Sequence[NDArray[np.int64]]
) -> list[ChosenRows]:
    """Predicted responses of each scan to the images chosen, not read yet."""
    from regularized_training.teachers.response_rows import ChosenRows

    stored = [(PredictedResponses & member).fetch1("responses") for member in members]
    return [ChosenRows(rows, images) for rows, images in zip(stored, chosen, strict=True)]


def _untrained(
    members: Sequence[dict[str, Any]], stimuli: NDArray, seed: int
) -> list[ComputedRows]:
    """What the encoders of each scan predict with random weights, when it is asked for."""
    from regularized_training.teachers.response_rows import ComputedRows

    device = computing().device

    def predicted(encoder: Any) -> ComputedRows:
        shape = (len(stimuli), encoder.n_neurons)
        return ComputedRows(shape, lambda index: encoder.predict(stimuli[index], device=device))

    return [predicted(FittedEncoder.load(member).untrained(seed)) for member in members]


def _predictions(
    members: Sequence[dict[str, Any]],
    chosen: Sequence[NDArray[np.int64]],
    scans: Sequence[Recording | None],
    choice: Predictability,
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float64]]]:
    """Predicted responses of each scan to the images chosen, and the weights of its neurons."""
    from regularized_training.teachers.predictability import model_weight

    predicted, weights = [], []
    for member, images, recording in zip(members, chosen, scans, strict=True):
        responses = PredictedResponses.load(member, images)
        predicted.append(responses)
        weights.append(
            # Of a published encoder neither reliability nor predictability is known.
            np.ones(responses.shape[1])
            if recording is None
            else model_weight(recording, FittedEncoder.load(member), choice)
        )
    return predicted, weights


def _stimuli(
    members: Sequence[dict[str, Any]],
) -> tuple[NDArray, Sequence[NDArray[np.int64]], list[Recording | None]]:
    """Images that a group teaches with, their places in each member's stimulus set, and the scans.

    A scan's own images teach unless they are in its test tier. Of a scan without trials, or of
    images that it never saw, all may, and there is nothing of it to weigh its neurons with.
    """
    from regularized_training.teachers.teacher import outside_test_tiers, teaching_images

    keys = {member["stimulus_set"] for member in members}
    sets = {key: np.asarray((StimulusSet & {"stimulus_set": key}).fetch1("images")) for key in keys}
    own = (Scan & members & "n_trials > 0").proj("stimulus_set").to_dicts()
    saw = {(row["scan"], row["stimulus_set"]) for row in own}
    scans = [Scan.load(m) if (m["scan"], m["stimulus_set"]) in saw else None for m in members]
    known = [scan for scan in scans if scan is not None]
    if len(known) == len(members):
        chosen = teaching_images(known)
    else:
        chosen = outside_test_tiers([sets[m["stimulus_set"]] for m in members], scans)
    return sets[members[0]["stimulus_set"]][chosen[0]], chosen, scans
