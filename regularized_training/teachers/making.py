"""Teachers of all kinds, made of what each needs; :mod:`~.kinds` says what that is.

>>> config = TeacherConfig(kind="pixels")
>>> stimuli = np.arange(20 * 64, dtype=np.uint8).reshape(20, 1, 8, 8)
>>> teacher = make_teacher(config, TeacherInputs(stimuli=stimuli))
>>> teacher.name, teacher.similarity.shape, len(teacher.held_out)
('pixels', (20, 20), 2)
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from predictive_model.recordings.recording import Recording
from regularized_training.teachers import controls
from regularized_training.teachers.any_teacher import Teacher
from regularized_training.teachers.config import TeacherConfig
from regularized_training.teachers.kinds import TEACHERS, needs_of, says_of
from regularized_training.teachers.responses import ResponseTeacher
from regularized_training.teachers.rsm import gaussian_teacher, recorded_rsm_teacher
from regularized_training.teachers.teacher import (
    SimilarityTeacher,
    held_out_stimuli,
    neural_data_teacher,
    neural_model_teacher,
    oracle_teacher,
)

if TYPE_CHECKING:
    import torch

    from regularized_training.trained_network import TrainedNetwork


@dataclass(frozen=True, eq=False)
class TeacherInputs:
    """What teachers are made of; only what a kind needs has to be there.

    Attributes
    ----------
    stimuli : (n, channels, height, width), optional
        For kinds that need stimuli or predictions.
    recordings : sequence of Recording
        Of which some images are the same, for kinds that need trials.
    predicted : sequence of (n, neuron)
        Responses that each scan's encoder predicts to the stimuli; for kinds that say responses
        also what reads them by rows.
    weights : sequence of (neuron,)
        w_a v_a of each scan's neurons; ones where neither is known.
    rsm : SimilarityTeacher, optional
        The RSM that is given.
    oracle : TrainedNetwork, optional
        Trained by the settings of ``responses_oracle``.
    device : str or torch.device
        Where networks run.
    """

    stimuli: NDArray | None = None
    recordings: Sequence[Recording] = ()
    predicted: Sequence[Any] = ()
    weights: Sequence[NDArray[np.float64]] = ()
    rsm: SimilarityTeacher | None = None
    oracle: TrainedNetwork | None = None
    device: str | torch.device = "cpu"

    def require(self, config: TeacherConfig) -> None:
        """Raise a ValueError if something is missing that a teacher is made of."""
        needs = needs_of(config.kind, rsm=bool(config.rsm))
        there = {
            "nothing": True,
            "stimuli": self.stimuli is not None,
            "trials": bool(self.recordings),
            "predictions": self.stimuli is not None and bool(self.predicted),
            "rsm": self.rsm is not None,
        }
        if not there[needs]:
            raise ValueError(f"teacher {config.kind!r}: needs {needs}, which were not given")
        if config.oracle is not None and self.oracle is None:
            raise ValueError(f"teacher {config.kind!r}: needs the oracle, which was not given")


def make_teacher(config: TeacherConfig, inputs: TeacherInputs) -> Teacher | None:
    """The teacher of a configuration; None for the kind that teaches nothing.

    Parameters
    ----------
    config : TeacherConfig
    inputs : TeacherInputs
        What ``needs_of(config.kind, rsm=bool(config.rsm))`` says.

    Raises
    ------
    PartError
        If there is no such kind here, or what it returns is no similarity.
    ValueError
        If something is missing or does not fit.
    """
    needs = needs_of(config.kind, rsm=bool(config.rsm))
    if needs == "nothing":
        return None
    inputs.require(config)
    make = TEACHERS.find(config.kind).value
    if says_of(config.kind) == "responses":
        says: ResponseTeacher = make(inputs, config)  # holds out by itself, since it is not copied
        return says
    if needs == "stimuli":
        assert inputs.stimuli is not None
        teacher = _control(make, config, inputs.stimuli)
    else:
        teacher = make(inputs, config)
    return _holding_out(teacher, config)


def _control(make: Any, config: TeacherConfig, stimuli: NDArray) -> SimilarityTeacher:
    """A teacher that has no brain, perhaps someone else's."""
    if not callable(make):
        found = type(make).__name__
        raise TEACHERS.error(config.kind, f"is a {found}, expected a function of the stimuli")
    try:
        inspect.signature(make).bind(stimuli, seed=config.seed, **config.options)
    except TypeError as error:
        raise ValueError(f"options: {error}, for teacher {config.kind!r}") from error
    matrix = make(stimuli, seed=config.seed, **config.options)
    try:
        matrix = np.asarray(matrix, np.float32)
        return SimilarityTeacher(config.kind, stimuli, matrix, centred=config.is_centred)
    except (TypeError, ValueError) as error:
        raise TEACHERS.error(config.kind, f"said no similarity of the stimuli ({error})") from error


def _holding_out(teacher: SimilarityTeacher, config: TeacherConfig) -> SimilarityTeacher:
    """A teacher that leaves out the stimuli that never teach."""
    held_out = held_out_stimuli(len(teacher.stimuli), config.held_out)
    return replace(teacher, held_out=held_out)


# -- of an encoder's predictions, or of an RSM -----------------------------------------------


def neural_model(inputs: TeacherInputs, config: TeacherConfig) -> SimilarityTeacher:
    """Eq. 6 of Li et al. 2019."""
    assert inputs.stimuli is not None
    return neural_model_teacher(inputs.stimuli, inputs.predicted, inputs.weights)


def rsm(inputs: TeacherInputs, config: TeacherConfig) -> SimilarityTeacher:
    """The RSM as it is."""
    assert inputs.rsm is not None
    return replace(inputs.rsm, centred=config.is_centred)


def _unchanged(inputs: TeacherInputs, config: TeacherConfig) -> SimilarityTeacher:
    """What a control shuffles, with its held-out stimuli, which are left as they are."""
    return _holding_out((rsm if config.rsm else neural_model)(inputs, config), config)


def shuffle(inputs: TeacherInputs, config: TeacherConfig) -> SimilarityTeacher:
    """Images permuted."""
    return controls.shuffle_teacher(_unchanged(inputs, config), config.seed)


def shuffle_entries(inputs: TeacherInputs, config: TeacherConfig) -> SimilarityTeacher:
    """Pairs permuted."""
    return controls.shuffle_entries_teacher(_unchanged(inputs, config), config.seed)


def low_rank(inputs: TeacherInputs, config: TeacherConfig) -> SimilarityTeacher:
    """The strongest directions alone."""
    return controls.low_rank_teacher(neural_model(inputs, config), config.rank)


def matched_spectrum(inputs: TeacherInputs, config: TeacherConfig) -> SimilarityTeacher:
    """Random similarity with the same eigenvalues."""
    return controls.matched_spectrum_teacher(neural_model(inputs, config), config.seed)


def gaussian(inputs: TeacherInputs, config: TeacherConfig) -> SimilarityTeacher:
    """Random vectors, one for each stimulus of an RSM."""
    stimuli = rsm(inputs, config).stimuli
    return gaussian_teacher(stimuli, config.mean, config.deviation, seed=config.seed)


# -- of recorded trials ----------------------------------------------------------------------


def neural_data(inputs: TeacherInputs, config: TeacherConfig) -> SimilarityTeacher:
    """Eq. 2 of Li et al. 2019."""
    return neural_data_teacher(inputs.recordings, config.seed)


def oracle(inputs: TeacherInputs, config: TeacherConfig) -> SimilarityTeacher:
    """Eq. 3 of Li et al. 2019."""
    return oracle_teacher(inputs.recordings)


def recorded_rsm(inputs: TeacherInputs, config: TeacherConfig) -> SimilarityTeacher:
    """Eq. 1 of Federer et al. 2020."""
    return recorded_rsm_teacher(inputs.recordings, seed=config.seed)


def shuffle_neurons(inputs: TeacherInputs, config: TeacherConfig) -> SimilarityTeacher:
    """The same, each neuron's rates permuted."""
    return recorded_rsm_teacher(inputs.recordings, shuffled=True, seed=config.seed)


# -- of stimuli ------------------------------------------------------------------------------


def pixels(stimuli: NDArray, seed: int) -> NDArray[np.float32]:
    """Similarity of pixels."""
    return controls.pixel_teacher(stimuli).similarity


def low_pass_pixels(stimuli: NDArray, seed: int, *, sigma: float = 2.0) -> NDArray[np.float32]:
    """Similarity of pixels of blurred stimuli."""
    return controls.low_pass_pixel_teacher(stimuli, sigma).similarity


def gabor(stimuli: NDArray, seed: int) -> NDArray[np.float32]:
    """Similarity of amplitudes of Gabors."""
    return controls.gabor_teacher(stimuli).similarity


def vgg(stimuli: NDArray, seed: int) -> NDArray[np.float32]:
    """Similarity of features of VGG-19, trained on ImageNet."""
    return controls.vgg_teacher(stimuli, seed=seed).similarity


def vgg_untrained(stimuli: NDArray, seed: int) -> NDArray[np.float32]:
    """Similarity of features of VGG-19 with random weights."""
    return controls.vgg_teacher(stimuli, trained=False, seed=seed).similarity
