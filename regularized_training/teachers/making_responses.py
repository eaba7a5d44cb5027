"""Teachers that say how neurons respond, of all kinds; each leaves out what is held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regularized_training.teachers import responses as teachers
from regularized_training.teachers.config import TeacherConfig
from regularized_training.teachers.controls import gabor_amplitudes
from regularized_training.teachers.making import TeacherInputs
from regularized_training.teachers.responses import ResponseTeacher
from regularized_training.teachers.teacher import held_out_stimuli, one_trial_each, teaching_images


def responses(inputs: TeacherInputs, config: TeacherConfig) -> ResponseTeacher:
    """Responses that encoders predict, all scans' neurons side by side."""
    assert inputs.stimuli is not None
    return _teacher(config, inputs.stimuli, inputs.predicted)


def shuffle(inputs: TeacherInputs, config: TeacherConfig) -> ResponseTeacher:
    """The same, assigned to other images."""
    return teachers.shuffle_responses(responses(inputs, config), config.seed)


def shuffle_neurons(inputs: TeacherInputs, config: TeacherConfig) -> ResponseTeacher:
    """The same, each image's assigned to other neurons."""
    return teachers.shuffle_neurons(responses(inputs, config), config.seed)


def untrained(inputs: TeacherInputs, config: TeacherConfig) -> ResponseTeacher:
    """What encoders predict that were not fitted; ``inputs.predicted`` has it already."""
    return responses(inputs, config)


def data(inputs: TeacherInputs, config: TeacherConfig) -> ResponseTeacher:
    """One recorded trial of each image, all scans' neurons side by side."""
    chosen = teaching_images(inputs.recordings)
    rng = np.random.default_rng(config.seed)
    trials = [
        one_trial_each(recording, images, rng)
        for recording, images in zip(inputs.recordings, chosen, strict=True)
    ]
    return _teacher(config, inputs.recordings[0].images[chosen[0]], trials)


def gabor(inputs: TeacherInputs, config: TeacherConfig) -> ResponseTeacher:
    """Amplitudes of Gabors, as many as there are neurons or all, in units of their deviation."""
    assert inputs.stimuli is not None
    amplitudes = gabor_amplitudes(inputs.stimuli)
    n_neurons = sum(one.shape[1] for one in inputs.predicted)
    if amplitudes.shape[1] > n_neurons:  # as many as the brain has, to cost and to teach alike
        kept = np.random.default_rng(config.seed).permutation(amplitudes.shape[1])[:n_neurons]
        amplitudes = amplitudes[:, np.sort(kept)]
    return _teacher(config, inputs.stimuli, [amplitudes])


def _teacher(config: TeacherConfig, stimuli: NDArray, sources: object) -> ResponseTeacher:
    held_out = held_out_stimuli(len(stimuli), config.held_out)
    return ResponseTeacher(config.kind, stimuli, sources, held_out)
