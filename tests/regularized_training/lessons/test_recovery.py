"""Co-training recovers a simulated population: its responses are the truth that is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from predictive_model.encoders.config import ReadoutConfig
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli
from predictive_model.scoring.correlation import correlation
from regularized_training.alignment.prediction import predict_responses
from regularized_training.lessons.response_config import ResponsesConfig
from regularized_training.networks.config import NetworkConfig
from regularized_training.tasks.config import AugmentConfig
from regularized_training.tasks.image_task import ImageTask
from regularized_training.teachers.responses import ResponseTeacher, shuffle_responses
from regularized_training.training import Training
from regularized_training.training_config import TrainingConfig

N_STIMULI, N_HELD_OUT = 6200, 1000
LAYER = "stage1"
LESSON = ResponsesConfig(
    method="responses",
    layer=LAYER,
    batch_ratio="4:1",
    readout=ReadoutConfig(gauss_type="isotropic", init_mu_range=0.3, init_sigma=0.3, gamma=0),
)


@pytest.fixture(scope="module")
def population() -> ResponseTeacher:
    """30 simple cells in the middle of the image, without noise: their ceiling is 1."""
    config = SimulatedCortexConfig(
        n_neurons=30,
        image_shape=(16, 16),
        centre_range=0.3,
        width=(6, 9),
        fraction_complex=0,
        saturation=1,
        rate_spread=0.1,
        baseline_fraction=0,
    )
    stimuli = natural_stimuli(N_STIMULI, (16, 16), seed=5)
    rates = SimulatedCortex(config, seed=0).rates(stimuli).astype(np.float32)
    return ResponseTeacher("simulated", stimuli, rates, held_out=np.arange(N_HELD_OUT))


def held_out_responses(
    teacher: ResponseTeacher, task: ImageTask, epochs: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is predicted by the readout that was co-trained, and the truth."""
    config = TrainingConfig(
        epochs=epochs,
        schedule="one_cycle",
        optimizer="adam",
        learning_rate=0.02,
        weight_decay=0,
        augment=AugmentConfig(flip=False, padding=0),
        regularizer=LESSON,
    )
    network = NetworkConfig(width=8)
    training = Training(task.subset(640, 50), network, config, seed=0, teacher=teacher)
    while not training.finished:
        training.run_epoch()
    assert training.history[-1].test_accuracy > 0.5  # the task is learned as well
    assert training.lesson is not None
    judge = teacher.withheld
    readout = training.lesson.module.eval()
    said = predict_responses(
        training.network, LAYER, readout, judge.stimuli, n_channels=1, scale=judge.scale
    )
    return said, judge.rows(np.arange(judge.n_stimuli))


def test_a_shared_trunk_learns_to_predict_a_population(
    population: ResponseTeacher, small_digits: ImageTask
) -> None:
    said, truth = held_out_responses(population, small_digits, epochs=20)
    assert correlation(said, truth).mean() > 0.8


def test_shuffled_responses_teach_nothing_of_it(
    population: ResponseTeacher, small_digits: ImageTask
) -> None:
    """Beyond what all neurons do at once, whose correlation with anything is a single draw."""
    found = []
    for seed in range(3):
        shuffled = shuffle_responses(population, seed)
        both = held_out_responses(shuffled, small_digits, epochs=4)
        own = [responses - responses.mean(1, keepdims=True) for responses in both]
        found.append(correlation(*own).mean())
    assert abs(np.mean(found)) < 0.05
