from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from torch import Generator, nn

from predictive_model.parts import PartError
from predictive_model.recordings.recording import Recording
from regularized_training.lessons.config import RegularizerConfig, RsmConfig
from regularized_training.oracle_config import OracleConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers import controls
from regularized_training.teachers.config import (
    MAYBE_OF_RSM,
    OF_RSM,
    OF_TRIALS,
    TeacherConfig,
)
from regularized_training.teachers.kinds import KINDS, ORACLE, TEACHERS, needs_of, says_of
from regularized_training.teachers.making import TeacherInputs, make_teacher
from regularized_training.teachers.responses import ResponseTeacher
from regularized_training.teachers.rsm import gaussian_teacher, recorded_rsm_teacher
from regularized_training.teachers.teacher import (
    SimilarityTeacher,
    held_out_stimuli,
    neural_data_teacher,
    neural_model_teacher,
    oracle_teacher,
)
from regularized_training.training import train
from tests.installed_package import installed_package

CODE = """
import numpy as np

def brightness(stimuli, seed, *, power=1.0):
    mean = stimuli.reshape(len(stimuli), -1).mean(1) ** power
    return np.exp(-np.abs(mean[:, None] - mean) / 50 / (1 + seed))

def lopsided(stimuli, seed):
    return np.triu(np.ones((len(stimuli), len(stimuli))))

def short(stimuli, seed):
    return np.ones((2, 2))

number = 3
"""
OFFERS = {"neuroteach.teachers": "brightness = mylab_teachers:brightness"}

RNG = np.random.default_rng(0)
STIMULI = RNG.integers(0, 256, (40, 1, 12, 12)).astype(np.uint8)
SCAN = Recording(
    "scan",
    STIMULI,
    np.tile(np.arange(40), 3),
    RNG.gamma(2.0, 1.0, (120, 6)).astype(np.float32),
    tier=np.tile(np.repeat(["train", "validation"], [32, 8]), 3),
)
PREDICTED = [RNG.gamma(2.0, 1.0, (40, 6)).astype(np.float32) for _ in range(2)]
WEIGHTS = [RNG.uniform(0, 1, 6) for _ in range(2)]
RSM = SimilarityTeacher("rsm", STIMULI, controls.pixel_teacher(STIMULI).similarity)
INPUTS = TeacherInputs(STIMULI, [SCAN], PREDICTED, WEIGHTS, RSM)
HELD_OUT = held_out_stimuli(40, 0.1)


@pytest.fixture
def mylab(tmp_path: Path) -> Iterator[None]:
    with installed_package(tmp_path, "mylab_teachers", CODE, OFFERS):
        yield


def made(kind: str, inputs: TeacherInputs = INPUTS, **settings: object) -> SimilarityTeacher:
    config = TeacherConfig.model_validate({"kind": kind, "seed": 3, **settings})
    teacher = make_teacher(config, inputs)
    assert teacher is not None
    return teacher


def test_what_each_kind_is_made_of() -> None:
    assert OF_RSM == ("rsm", "gaussian")
    of_trials = ("neural_data", "oracle", "recorded_rsm", "shuffle_neurons", "responses_data")
    assert of_trials == OF_TRIALS
    assert MAYBE_OF_RSM == ("shuffle", "shuffle_entries")
    assert needs_of("none") == "nothing"
    assert needs_of("gabor") == needs_of("mylab_teacher") == "stimuli"
    assert needs_of("neural_model") == needs_of("shuffle") == "predictions"
    assert needs_of("shuffle", rsm=True) == "rsm"


def test_the_kind_none_makes_no_teacher() -> None:
    assert make_teacher(TeacherConfig(kind="none"), TeacherInputs()) is None


MODEL = neural_model_teacher(STIMULI, PREDICTED, WEIGHTS)
HOLDING = replace(MODEL, held_out=HELD_OUT)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("neural_model", MODEL),
        ("neural_data", neural_data_teacher([SCAN], 3)),
        ("oracle", oracle_teacher([SCAN])),
        ("shuffle", controls.shuffle_teacher(HOLDING, 3)),
        ("shuffle_entries", controls.shuffle_entries_teacher(HOLDING, 3)),
        ("low_rank", controls.low_rank_teacher(HOLDING, 8)),
        ("gabor", controls.gabor_teacher(STIMULI)),
        ("pixels", controls.pixel_teacher(STIMULI)),
        ("vgg_untrained", controls.vgg_teacher(STIMULI, trained=False, seed=3)),
        ("recorded_rsm", recorded_rsm_teacher([SCAN])),
        ("shuffle_neurons", recorded_rsm_teacher([SCAN], shuffled=True, seed=3)),
    ],
)
def test_a_kind_says_what_its_function_says_and_holds_out_a_tenth(
    kind: str, expected: SimilarityTeacher
) -> None:
    teacher = made(kind)
    assert teacher.name == kind
    assert np.array_equal(teacher.similarity, expected.similarity)
    assert np.array_equal(teacher.held_out, HELD_OUT)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("rsm", RSM),
        ("gaussian", gaussian_teacher(STIMULI, seed=3)),
        ("shuffle", controls.shuffle_teacher(replace(RSM, held_out=HELD_OUT), 3)),
    ],
)
def test_a_kind_of_an_rsm_needs_nothing_else(kind: str, expected: SimilarityTeacher) -> None:
    teacher = made(kind, TeacherInputs(rsm=RSM), rsm="v1")
    assert np.array_equal(teacher.similarity, expected.similarity)
    assert np.array_equal(teacher.held_out, HELD_OUT)


OF_SIMILARITY = [
    kind for kind in KINDS if kind not in ("none", "vgg") and says_of(kind) == "similarity"
]


@pytest.mark.parametrize("kind", OF_SIMILARITY)
def test_a_teacher_knows_whether_it_is_centred(kind: str) -> None:
    rsm = "v1" if kind in OF_RSM else ""
    config = TeacherConfig(kind=kind, rsm=rsm)
    assert made(kind, rsm=rsm).centred == config.is_centred == KINDS[kind].centred
    if kind in MAYBE_OF_RSM:
        assert made(kind, rsm="v1").centred is False


OF_RESPONSES = [kind for kind in KINDS if says_of(kind) == "responses" and kind != ORACLE]


@pytest.mark.parametrize("kind", OF_RESPONSES)
def test_a_teacher_of_responses_holds_out_and_has_all_neurons(kind: str) -> None:
    teacher = make_teacher(TeacherConfig(kind=kind, seed=3), INPUTS)
    assert isinstance(teacher, ResponseTeacher)
    assert teacher.says == "responses" and TeacherConfig(kind=kind).is_centred is None
    np.testing.assert_array_equal(teacher.held_out, HELD_OUT)
    assert teacher.n_neurons == {"responses_data": 6}.get(kind, 12)
    assert teacher.rows(HELD_OUT).shape == (4, teacher.n_neurons)


def test_a_teacher_reads_responses_from_an_oracle_that_is_given() -> None:
    task = ImageTask("noise", STIMULI, np.arange(40) % 2, STIMULI, np.arange(40) % 2, ("a", "b"))
    training = {"epochs": 1, "batch_size": 8, "augment": {"padding": 0}}
    distorted = {"layer": "stage1", "by": {"uniform": [0.2]}}
    oracle = {"network": {"width": 2}, "training": {**training, "distorted": distorted}}
    config = TeacherConfig.model_validate({"kind": ORACLE, "seed": 3, "oracle": oracle})
    with pytest.raises(ValueError, match="needs the oracle, which was not given"):
        make_teacher(config, INPUTS)
    assert isinstance(config.oracle, OracleConfig)
    trained = train(task, config.oracle.network, config.oracle.training, config.seed)
    assert not trained.earlier, "what is above the trunk is not trained anew"
    teacher = make_teacher(config, replace(INPUTS, oracle=trained))
    assert isinstance(teacher, ResponseTeacher)
    np.testing.assert_array_equal(teacher.held_out, HELD_OUT)
    assert teacher.rows(HELD_OUT).shape == (4, 12)
    whole = teacher.rows(np.arange(40))
    np.testing.assert_allclose(whole[[7, 3]], teacher.rows([7, 3]), rtol=1e-5, atol=1e-6)


def test_of_a_given_rsm_its_owner_says_whether_it_is_centred() -> None:
    assert made("rsm", rsm="v1", centred=True).centred is True
    with pytest.raises(ValidationError, match="centred: True, but that of 'gabor' is known"):
        TeacherConfig(kind="gabor", centred=True)


def test_lessons_refuse_a_teacher_that_was_centred_otherwise() -> None:
    similarity, rsm = RegularizerConfig(), RsmConfig(method="rsm")
    for kind in OF_SIMILARITY:
        wrong, right = (rsm, similarity) if KINDS[kind].centred else (similarity, rsm)
        right.check_centred(kind, KINDS[kind].centred)
        with pytest.raises(ValueError, match=f"teacher '{kind}': similarity of"):
            wrong.check_centred(kind, KINDS[kind].centred)
    network = nn.Conv2d(1, 2, 3)
    with pytest.raises(
        ValueError, match="'gaussian': similarity of uncentred .* kind .neural_model, "
    ):
        similarity.lesson(network, (), gaussian_teacher(STIMULI, mean=5), 1, Generator())


@pytest.mark.parametrize("name", ["brightness", "mylab_teachers:brightness"])
def test_a_control_of_another_package_teaches_by_the_stimuli(mylab: None, name: str) -> None:
    teacher = made(name, TeacherInputs(stimuli=STIMULI), options={"power": 0.5})
    root = STIMULI.reshape(40, -1).mean(1) ** 0.5
    expected = np.exp(-np.abs(root[:, None] - root) / 200)
    np.testing.assert_allclose(teacher.similarity, expected, rtol=1e-6)
    assert teacher.name == name
    assert np.array_equal(teacher.held_out, HELD_OUT)
    assert TEACHERS.find(name).origin.distribution == "mylab-teachers"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mylab_teachers:lopsided", {}, "lopsided': said no similarity .*symmetric"),
        ("mylab_teachers:short", {}, r"short': said no similarity .*\(2, 2\), expected \(40, 40\)"),
        ("mylab_teachers:number", {}, "is a int, expected a function of the stimuli"),
        ("brightness", {"pwer": 2}, "options: .*pwer.*, for teacher 'brightness'"),
        ("brightnes", {}, "no part of this name is installed; expected one of neural_model"),
    ],
)
def test_a_teacher_that_cannot_be_made_says_why(
    mylab: None, name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        made(name, options=options)
    assert isinstance(caught.value, PartError) == ("options" not in message)


@pytest.mark.parametrize(
    ("kind", "needs"),
    [("gabor", "stimuli"), ("oracle", "trials"), ("low_rank", "predictions"), ("rsm", "rsm")],
)
def test_what_is_missing_is_named(kind: str, needs: str) -> None:
    settings = {"rsm": "v1"} if kind == "rsm" else {}
    with pytest.raises(ValueError, match=f"teacher '{kind}': needs {needs}"):
        made(kind, TeacherInputs(), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "gabor", "options": {"pool": 2}}, "not among those of 'gabor'"),
        ({"kind": "brightness", "options": {"seed": 2}}, "not among those of 'brightness'"),
        ({"kind": "brightness", "rsm": "v1"}, "rsm: 'v1', but kind is 'brightness'"),
        ({"kind": "a b"}, "expected one of neural_model, .*none, or module:function"),
    ],
)
def test_settings_that_no_teacher_can_have_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        TeacherConfig.model_validate(settings)
