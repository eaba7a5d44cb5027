"""The smallest experiment with every stage of the method, and processes that compute it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.database.settings import Settings
from pipeline.experiments.adding import add_experiment
from pipeline.experiments.file import ExperimentSettings
from pipeline.workers import populate
from predictive_model.recordings.recording import Recording
from predictive_model.recordings.simulation import SimulatedCortex, SimulatedCortexConfig
from predictive_model.recordings.stimuli import natural_stimuli
from regularized_training.tasks import image_files
from regularized_training.tasks.image_task import ImageTask
from schemas import recording
from schemas import tables as registry
from schemas import training as trainings

REPOSITORY = Path(populate.__file__).resolve().parents[2]
SHAPE = (18, 32)
TEACHERS = ("none", "neural_model", "neural_data", "shuffle")
LEVELS = (0.0, 0.2)
N_IMAGES, N_REPEATED = 60, 12


@functools.cache
def tiny_recording(name: str = "sim") -> Recording:
    config = SimulatedCortexConfig(n_neurons=10, image_shape=SHAPE, width=(6, 10))
    stimuli = natural_stimuli(N_IMAGES, SHAPE)
    return SimulatedCortex(config).record(
        stimuli, n_repeated=N_REPEATED, n_repeats=4, seed=0, name=name
    )


@functools.cache
def few_digits() -> ImageTask:
    return replace(image_files.digits(16).subset(64, 50), name="digits")


def tiny_experiment(
    *,
    teachers: tuple[str, ...] = ("none",),
    seeds: tuple[int, ...] = (0,),
    fit: dict[str, Any] | None = None,
    **training: Any,
) -> ExperimentSettings:
    return ExperimentSettings.model_validate(
        {
            "title": "tiny",
            "recordings": ["sim"],
            "images": "digits",
            "encoder": {
                "core": {
                    "layers": 2,
                    "input_kernel": 5,
                    "hidden_kernel": 3,
                    "hidden_channels": 4,
                }
            },
            "fit": {"max_epochs": 1, "batch_size": 16} | (fit or {}),
            "teachers": teachers,
            "network": {"width": 16},
            "training": {
                "epochs": 1,
                "batch_size": 32,
                "augment": {"flip": False},
                "regularizer": {"n_stimuli": 4},
            }
            | training,
            "seeds": seeds,
            "noise": {"levels": LEVELS},
        }
    )


def plan(name: str = "tiny", **settings: Any) -> ExperimentSettings:
    """Import the tiny inputs and plan an experiment with them."""
    recording.Scan.add(tiny_recording(), source="test")
    trainings.ImageSet.add(few_digits(), source="test")
    experiment = tiny_experiment(**settings)
    assert add_experiment(experiment, name=name, scale="smoke")
    return experiment


def environment(settings: Settings) -> dict[str, str]:
    keys = (settings.store_access_key, settings.store_secret_key)
    access, secret = (key.get_secret_value() if key is not None else "" for key in keys)
    return os.environ | {
        "NEUROTEACH_STORE_ENDPOINT": settings.store_endpoint,
        "NEUROTEACH_STORE_ACCESS_KEY": access,
        "NEUROTEACH_STORE_SECRET_KEY": secret,
        "NEUROTEACH_HOME": str(settings.home),
        "NEUROTEACH_DATABASE": settings.database,
        "NEUROTEACH_STORE": str(settings.store),
        "NEUROTEACH_SCHEMA": settings.schema_name,
        "NEUROTEACH_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
    }


class Worker:
    """A process of its own that populates and logs to a file."""

    def __init__(self, settings: Settings, log: Path, *command: str, **variables: str) -> None:
        self.log = log
        command = command or ("populate", "--as-worker")
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli.main", *command],
                cwd=REPOSITORY,
                env=environment(settings) | variables,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def said(self) -> str:
        return self.log.read_text()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def wait_for_checkpoint(settings: Settings, table: str, worker: Worker) -> Path:
    deadline = time.monotonic() + 120
    while not (found := list(settings.checkpoints.glob(f"{table}_*.pt"))):
        assert worker.process.poll() is None, worker.said()
        assert time.monotonic() < deadline, worker.said()
        time.sleep(0.01)
    return found[0]


def job_states(table: Any) -> list[str]:
    return list(table().jobs.to_arrays("status"))


def rows_of_all_tables() -> dict[str, int]:
    return {table.__name__: len(table()) for table in registry.computed_tables()}
