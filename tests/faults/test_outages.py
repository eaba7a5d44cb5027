"""The database server goes away and comes back."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from pipeline.database.embedded import EmbeddedPostgres
from pipeline.database.opening import open_database
from pipeline.database.settings import Settings
from pipeline.workers.populate import PopulateResult, failures, populate, populate_table, working
from pipeline.workers.queues import Wanted
from schemas import tables as registry
from schemas import training
from schemas.worker import Worker
from tests.faults.conftest import contents, wait_until
from tests.faults.proxy import Network
from tests.servers import free_port
from tests.tiny_experiment import plan


class Server:
    """PostgreSQL over TCP, behind a network of its own."""

    def __init__(self, root: Path) -> None:
        self.port = free_port()
        self.postgres = EmbeddedPostgres(
            root / "database",
            durable=False,
            settings={"listen_addresses": "127.0.0.1", "port": str(self.port)},
        )
        self.address = self.postgres.start()
        self.network = Network(self.port)

    def settings(self, home: Path, port: int) -> Settings:
        s = self.address
        return Settings(
            home=home,
            database=f"postgresql://{s.user}:{s.password}@127.0.0.1:{port}/{s.database}",
            store=home / "store",
            schema_name=f"t_{uuid.uuid4().hex[:12]}",
            device="cpu",
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"))
    yield made
    made.postgres.stop(force=True)


def plan_some() -> None:
    plan(seeds=tuple(range(6)), epochs=6, fit={"max_epochs": 20, "patience": 20})


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = server.settings(tmp_path_factory.mktemp("undisturbed"), server.port)
    with open_database(settings):
        plan_some()
        assert populate().failures == []
    return contents(settings)


OUTAGES = {
    "restart": "server restarted, three times",
    "drop": "every connection dropped, ten times",
    "unreachable": "server unreachable for 30 s",
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_workers_wait_for_the_server_and_go_on(
    server: Server,
    undisturbed: Any,
    outage: str,
    workers: Callable[..., Any],
    report: Callable[..., None],
    tmp_path: Path,
) -> None:
    direct = server.settings(tmp_path, server.port)
    through = direct.model_copy(
        update={"database": direct.database.replace(f":{server.port}/", f":{server.network.port}/")}
    )
    with open_database(direct):
        plan_some()
    both = [workers(through), workers(through)]

    def both_at_work() -> bool:
        """A server that is not there when a worker starts is an error."""
        with open_database(direct):
            rows = sum(len(table()) for table in registry.computed_tables())
            return rows > 0 and len(Worker()) == len(both)

    wait_until(both_at_work)
    if outage == "restart":
        for _ in range(3):
            time.sleep(1)
            server.postgres.stop(force=True)
            server.postgres.start()
    elif outage == "drop":
        for _ in range(10):
            time.sleep(0.5)
            server.network.drop()
    else:
        with server.network.cut():
            time.sleep(30)
    assert [worker.wait(200) for worker in both] == [0, 0], [worker.said() for worker in both]
    with open_database(direct) as database:
        assert failures() == []
        assert all(len(table().jobs) == 0 for table in registry.computed_tables())
    found = contents(direct)
    for table in undisturbed:
        assert found[table] == undisturbed[table], table
    with contextlib.suppress(Exception), open_database(direct) as database:
        database.connection.query(f'DROP SCHEMA "{direct.schema_name}" CASCADE')
    report(
        OUTAGES[outage],
        "workers wait and go on",
        "both workers ended by themselves, no failed job, tables as of an undisturbed run",
    )


def test_a_session_lost_before_any_statement_of_a_computation(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, report: Callable[..., None]
) -> None:
    """One that is computed in parts, with parts of its row in a table of their own."""
    with open_database(settings):
        plan(teachers=("none",), epochs=2)
        populate()
    expected, n_statements = train_anew(settings, monkeypatch, lose=None)
    for lose in range(n_statements):
        found, _ = train_anew(settings, monkeypatch, lose=lose)
        assert found == expected, lose
    report(
        f"session lost before any one of the {n_statements} statements of a computation",
        "computed whole by the same worker",
        "it is, each time, and equal to the bit",
    )


def train_anew(settings: Settings, monkeypatch: Any, *, lose: int | None) -> tuple[Any, int]:
    """What a network and its epochs are, and how many statements it took to compute them.

    Parameters
    ----------
    lose : int, optional
        Number of the statement before which the session is lost.
    """
    with open_database(settings) as database:
        (training.TrainedNetwork & "seed = 0").delete(prompt=False)
    # Opened anew, since DataJoint looks at a table when it is used for the first time.
    with open_database(settings) as database, monkeypatch.context() as patch:
        connection, n = database.connection, 0
        real = connection._execute_query

        def execute(*args: Any) -> Any:
            nonlocal n
            if n == lose:
                with contextlib.closing(psycopg2.connect(settings.database)) as other:
                    other.cursor().execute(
                        "SELECT pg_terminate_backend(%s, 5000)", (connection.session,)
                    )
            n += 1
            return real(*args)

        patch.setattr(connection, "_execute_query", execute)
        table, result = training.TrainedNetwork(), PopulateResult()
        with working() as lease:
            populate_table(Wanted(table), result, lambda progress: None, lambda: True, lease)
        assert result.failures == []
        assert len(table.jobs) == 0
    everything = contents(settings)
    return [everything[name] for name in ("TrainedNetwork", "Epoch")], n
