"""Workers that are killed, told to stop or cut off: nothing is lost, nothing computed twice."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
import torch

from pipeline.database.opening import Database
from pipeline.database.settings import Settings
from pipeline.workers import populate
from predictive_model.fits import fitting
from regularized_training import training
from schemas import encoding
from schemas import reliability as reliability_tables
from schemas import training as trainings
from schemas import worker as workers
from tests.tiny_experiment import (
    Worker,
    few_digits,
    job_states,
    plan,
    tiny_recording,
    wait_for_checkpoint,
)

pytestmark = pytest.mark.database


def test_a_fit_killed_in_the_middle_goes_on_to_the_same_weights(
    database: Database, settings: Settings, start_worker: Callable[[], Worker]
) -> None:
    n = 40
    experiment = plan(fit={"max_epochs": n, "patience": n})
    worker = start_worker()
    checkpoint = wait_for_checkpoint(settings, "FittedEncoder", worker)
    worker.end()
    assert len(encoding.FittedEncoder()) == 0
    assert job_states(encoding.FittedEncoder) == ["reserved"]
    state = torch.load(checkpoint, weights_only=True)["state"]
    checkpoint.with_name(checkpoint.name + "abcdefgh.part").write_bytes(b"half a checkpoint")

    result = populate.populate()
    assert result.failures == []
    key, history = encoding.FittedEncoder.fetch1("KEY", "history")
    assert job_states(encoding.FittedEncoder) == []
    assert 1 <= len(state["history"]) < n
    # Even the seconds are those that the killed worker measured.
    assert history[: len(state["history"])] == state["history"]
    assert [record["epoch"] for record in history] == list(range(1, n + 1))
    assert list(settings.checkpoints.iterdir()) == []

    whole = fitting.fit(tiny_recording(), experiment.encoder, experiment.fit, key["seed"])
    resumed = encoding.FittedEncoder.load(key)
    assert whole.state.keys() == resumed.state.keys()
    assert all(torch.equal(whole.state[name], resumed.state[name]) for name in whole.state)


def test_a_training_killed_in_the_middle_goes_on_to_the_same_weights(
    database: Database, settings: Settings, start_worker: Callable[[], Worker]
) -> None:
    n = 8
    experiment = plan(teachers=("none",), epochs=n)
    worker = start_worker()
    checkpoint = wait_for_checkpoint(settings, "TrainedNetwork", worker)
    worker.end()
    assert (len(trainings.TrainedNetwork()), len(trainings.TrainedNetwork.Epoch())) == (0, 0)
    assert job_states(trainings.TrainedNetwork) == ["reserved"]
    state = torch.load(checkpoint, weights_only=True)["state"]
    saved = state["history"]

    assert populate.populate().failures == []
    key = trainings.TrainedNetwork.fetch1("KEY")
    epochs = trainings.TrainedNetwork.Epoch.to_dicts(order_by="epoch")
    assert job_states(trainings.TrainedNetwork) == []
    assert len(saved) < n and (saved or state["epoch"]["step"] >= 1)  # perhaps within an epoch
    assert [e["seconds"] for e in epochs[: len(saved)]] == [record["seconds"] for record in saved]
    assert [e["epoch"] for e in epochs] == list(range(n))
    assert list(settings.checkpoints.iterdir()) == []

    alone = experiment.training.model_copy(update={"regularizer": None})
    whole = training.train(few_digits(), experiment.network, alone, key["seed"]).network()
    resumed = trainings.TrainedNetwork.load(key).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.state_dict().items())


def test_a_worker_told_to_stop_puts_its_job_back(
    database: Database, settings: Settings, start_worker: Callable[[], Worker]
) -> None:
    plan(fit={"max_epochs": 10_000, "patience": 10_000})
    worker = start_worker()
    wait_for_checkpoint(settings, "FittedEncoder", worker)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(30) == 1
    assert job_states(encoding.FittedEncoder) == ["pending"]
    assert populate.failures() == []
    assert len(encoding.FittedEncoder()) == 0


def test_a_populate_told_to_stop_stops_its_workers(
    database: Database, settings: Settings, start_worker: Callable[..., Worker]
) -> None:
    plan(fit={"max_epochs": 10_000, "patience": 10_000})
    several = start_worker("populate", "--workers", "2", "--quiet")
    wait_for_checkpoint(settings, "FittedEncoder", several)
    several.process.send_signal(signal.SIGTERM)
    assert several.process.wait(60) == 1
    assert job_states(encoding.FittedEncoder) == ["pending"]
    assert len(workers.Worker()) == 0


def test_a_worker_told_to_stop_before_it_begins_leaves_no_reservation(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the transaction is open, but DataJoint does not yet look out for it."""
    plan()
    real = database.connection.start_transaction

    def told() -> None:
        real()
        raise SystemExit("SIGTERM received")

    with monkeypatch.context() as patch:
        patch.setattr(database.connection, "start_transaction", told)
        with pytest.raises(SystemExit):
            populate.populate()
    assert job_states(reliability_tables.Reliability) == ["pending"]
    assert len(workers.Worker()) == 0
    assert not database.connection.in_transaction


def test_an_interrupt_ends_populate_and_puts_the_job_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan()

    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            populate.populate()
    assert job_states(encoding.FittedEncoder) == ["pending"]
    assert not encoding.FittedEncoder.connection.in_transaction
    assert populate.populate().computed["FittedEncoder"] == 1


def test_a_job_is_released_when_its_session_has_ended_and_not_before(
    database: Database, settings: Settings
) -> None:
    plan()
    table = reliability_tables.Reliability
    jobs = table().jobs
    jobs.refresh(delay=-1)

    def reserve(connection_id: int, when: str) -> None:
        database.connection.query(
            f"UPDATE {jobs.full_table_name} SET status = 'reserved', connection_id = %s, "
            f"reserved_time = {when}",
            (connection_id,),
        )

    with closing(psycopg2.connect(settings.database)) as alive:
        reserve(alive.info.backend_pid, "CURRENT_TIMESTAMP")
        populate.release_lost_jobs(table)
        assert job_states(table) == ["reserved"]
        # However long it takes: a session from before the reservation is the one that reserved.
        alive_since = "(SELECT backend_start FROM pg_stat_activity WHERE pid = connection_id)"
        reserve(alive.info.backend_pid, f"{alive_since} - INTERVAL '1 second'")
        populate.release_lost_jobs(table)
        assert job_states(table) == ["pending"], "another session had this number before"
        reserve(alive.info.backend_pid, "CURRENT_TIMESTAMP")
    deadline = time.monotonic() + 10
    while job_states(table) != ["pending"]:
        assert time.monotonic() < deadline
        populate.release_lost_jobs(table)
        time.sleep(0.05)
    assert populate.populate().computed["Reliability"] == 1


def test_populate_waits_for_what_others_compute(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan()
    jobs = reliability_tables.Reliability().jobs
    jobs.refresh(delay=-1)
    other = psycopg2.connect(settings.database)
    database.connection.query(
        f"UPDATE {jobs.full_table_name} SET status = 'reserved', connection_id = %s, "
        "reserved_time = CURRENT_TIMESTAMP",
        (other.info.backend_pid,),
    )
    waits: list[float] = []

    def die_while_waited_for(seconds: float) -> None:
        waits.append(seconds)
        other.close()
        time.sleep(0.1)

    clock = SimpleNamespace(sleep=die_while_waited_for, monotonic=time.monotonic)
    monkeypatch.setattr(populate, "time", clock)
    computed = populate.populate().computed
    assert waits, "the other was at work"
    assert computed["Reliability"] == 1
