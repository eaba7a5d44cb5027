"""Opening the database: its tables are made, found or refused."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from upath import UPath

from neuroteach import results
from pipeline.database import migrations, opening
from pipeline.database.connection import Connection
from pipeline.database.opening import (
    Database,
    DatabaseError,
    activation_lock,
    connect,
    open_database,
    require_store,
)
from pipeline.database.settings import ServerAddress, Settings
from pipeline.experiments.selection import ALL
from pipeline.results import arrays as result_arrays
from pipeline.results import encoders as encoder_results
from pipeline.workers import populate, status
from schemas import base
from schemas import tables as registry
from schemas.catalogue import Catalogue
from schemas.recording import Scan
from schemas.training import NetworkConfig, TrainedNetwork
from tests.schemas.test_inputs import random_recording
from tests.servers import cut_session, mariadb_over_tcp

pytestmark = pytest.mark.database

ROOT = Path(__file__).parents[3]


def open_at_once(barrier: Any, answers: Any, settings: Settings) -> None:
    """Open the database when all processes are ready, and say what its tables hold."""
    barrier.wait()
    with open_database(settings):
        tables = [table() for table in registry.computed_tables()]
        answers.put(sum(len(table) + len(table.jobs) for table in tables))


def test_six_processes_that_open_an_empty_database_at_once_all_succeed(settings: Settings) -> None:
    context = multiprocessing.get_context("fork")  # they need not import everything again
    barrier, answers = context.Barrier(6), context.SimpleQueue()
    processes = [
        context.Process(target=open_at_once, args=(barrier, answers, settings)) for _ in range(6)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        process.kill()
    assert [process.exitcode for process in processes] == [0] * 6
    assert [answers.get() for _ in processes] == [0] * 6


def test_tables_say_that_no_database_is_open() -> None:
    for use in (
        populate.populate,
        populate.progress,
        populate.failures,
        populate.retry_failures,
        results.encoders,
        results.similarity,
        lambda: result_arrays.similarity_matrices(ALL),
        results.noise,
        results.noise_by_seed,
        results.adversarial,
        results.attack_checks,
        results.layers,
        results.layer_weights,
        results.differences,
        lambda: encoder_results.experiments(ALL),
        lambda: encoder_results.caveat(ALL),
        lambda: status.status(ALL),
        base.require_active,
    ):
        with pytest.raises(base.NotActivatedError, match=r"call .*open_database\(\) first"):
            use()


def test_two_databases_are_not_open_at_once_in_one_process(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    """Or what is asked of the first would be answered by the second."""
    for change in ({"schema_name": "another"}, {"store": UPath(tmp_path / "elsewhere")}):
        with pytest.raises(DatabaseError, match=r"is open in this process.*database\.close\(\)"):
            open_database(settings.model_copy(update=change))
    Scan.add(random_recording(), source="test")
    with open_database(settings):  # the same, as when a cell of a notebook is run again
        assert len(Scan()) == 1
    database.close()
    database.connection = open_database(settings).connection  # for the fixture to tidy


TABLES = [Scan, TrainedNetwork, TrainedNetwork.Epoch, NetworkConfig]
USES: dict[str, Any] = {
    "len": lambda t: len(t()),
    "restricted": lambda t: t & {"scan": "a"},
    "subtracted": lambda t: t - {"scan": "a"},
    "joined": lambda t: t * Scan,
    "projected": lambda t: t.proj(),
    "to_dicts": lambda t: t.to_dicts(),
    "to_arrays": lambda t: t.to_arrays("scan"),
    "to_pandas": lambda t: t.to_pandas(),
    "fetch1": lambda t: t.fetch1(),
    "keys": lambda t: t.keys(),
    "in": lambda t: {"scan": "a"} in t(),
    "shown": lambda t: repr(t()),
    "heading": lambda t: t.heading.names,
    "updated": lambda t: t.update1({"scan": "a"}),
    "emptied": lambda t: t().delete_quick(),
    "named": lambda t: t().full_table_name,
    "asked": lambda t: t.connection.query("SELECT 1"),
}


def test_every_use_of_a_table_says_that_no_database_is_open() -> None:
    """In a process of its own: tables that were bound once stay with the connection they had."""
    script = (
        "import tests.pipeline.database.test_opening as t\n"
        "from schemas.base import NotActivatedError as Refusal\n"
        "uses = [(table, use) for table in t.TABLES for use in t.USES.values()]\n"
        "uses += [(t.Scan, lambda s: s.insert1({'scan': 'a'})), (t.Scan, lambda s: s.delete())]\n"
        "network = t.TrainedNetwork\n"
        "uses += [(network, lambda n: n.populate()), (network, lambda n: n.jobs)]\n"
        "for table, use in uses:\n"
        "    try:\n"
        "        use(table)\n"
        "        raise SystemExit(f'{table} was used')\n"
        "    except Refusal as error:\n"
        "        assert 'call neuroteach.open_database() first' in str(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_closed_database_can_be_followed_by_another(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    Scan.add(random_recording(), source="test")
    other = settings.model_copy(
        update={"schema_name": f"{settings.schema_name}_b", "store": UPath(tmp_path / "other")}
    )
    database.close()
    with pytest.raises(base.NotActivatedError):
        populate.progress()
    with pytest.raises(DatabaseError, match="the database was closed"):
        len(Scan())
    with open_database(other) as opened:
        assert len(Scan()) == 0
        opened.connection.query(f'DROP SCHEMA "{other.schema_name}" CASCADE')
    with open_database(settings):
        assert len(Scan()) == 1
    database.connection = open_database(settings).connection  # for the fixture to tidy


def test_a_user_who_may_create_nothing_is_told_that_the_tables_are_missing(
    settings: Settings,
) -> None:
    with pytest.raises(DatabaseError, match=f"tables of schema '{settings.schema_name}' cannot be"):
        open_database(settings, create=False)
    with pytest.raises(base.NotActivatedError):
        base.require_active()
    with closing(psycopg2.connect(settings.database)) as session, session.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM information_schema.schemata WHERE schema_name = %s",
            (settings.schema_name,),
        )
        assert cursor.fetchone() == (0,)


def test_tables_that_are_there_can_be_used_by_one_who_may_create_nothing(
    database: Database, settings: Settings
) -> None:
    Scan.add(random_recording(), source="test")
    database.close()
    again = open_database(settings, create=False)
    assert Scan.to_arrays("scan").tolist() == ["scan"]
    database.connection = again.connection


SECRET = "s3cret/with:signs@in it"


def test_a_shared_store_that_is_not_mounted_is_neither_made_nor_computed_with(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    elsewhere = UPath(tmp_path / "mount" / "store")
    there = settings.model_copy(update={"store": elsewhere})
    new = there.model_copy(update={"schema_name": f"{settings.schema_name}_new"})
    database.close()
    with pytest.raises(DatabaseError, match="mount/store is not there; is it mounted"):
        open_database(there)
    assert not elsewhere.parent.exists()

    with open_database(new) as first:  # whose tables are made now, and so is its store
        assert elsewhere.is_dir()
        require_store(first)
        first.connection.query(f'DROP SCHEMA "{new.schema_name}" CASCADE')

    with open_database(settings) as filled:
        Scan.add(random_recording(), source="test")
        require_store(filled)
    with (
        open_database(there) as empty,
        pytest.raises(DatabaseError, match="mount/store is empty, and the database has arrays"),
    ):
        require_store(empty)
    again = open_database(settings)
    database.connection = again.connection


@pytest.mark.parametrize("wrong", ["password", "host", "port"])
def test_a_server_that_cannot_be_reached_is_named_without_the_password(
    settings: Settings, wrong: str, tmp_path: Path
) -> None:
    server = ServerAddress.from_url(settings.database)
    host = str(tmp_path) if wrong == "host" else server.host
    port = server.port + 1 if wrong == "port" else server.port
    url = (
        f"postgresql://{server.user}:{quote(SECRET, safe='')}@/{server.database}"
        f"?host={quote(host, safe='')}&port={port}"
    )
    with pytest.raises(DatabaseError, match="cannot connect .* check NEUROTEACH_DATABASE") as info:
        open_database(settings.model_copy(update={"database": url}))
    message = str(info.value)
    assert "\n" not in message
    assert f"postgresql://{server.user}@{host}:{port}/{server.database}" in message
    assert server.password is not None
    for secret in (SECRET, quote(SECRET, safe=""), server.password.get_secret_value()):
        assert secret not in message
    with pytest.raises(base.NotActivatedError):
        base.require_active()


def test_a_session_that_could_not_use_the_tables_is_closed(settings: Settings) -> None:
    def sessions() -> int:
        with closing(psycopg2.connect(settings.database)) as session, session.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'client'")
            (n,) = cursor.fetchone()
            return n

    before = sessions()
    with pytest.raises(DatabaseError):
        open_database(settings, create=False)
    assert sessions() <= before


@pytest.mark.parametrize("n_tables", [0, 1, 2, 40, 80])
def test_one_who_is_killed_while_he_makes_tables_leaves_what_the_next_one_completes(
    settings: Settings, n_tables: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = Connection.query, []

    def query(self: Connection, sql: str, *args: Any, **options: Any) -> Any:
        if sql.lstrip().startswith("CREATE TABLE"):
            if len(made) == n_tables:
                raise KeyboardInterrupt
            made.append(sql)
        return real(self, sql, *args, **options)

    monkeypatch.setattr(Connection, "query", query)
    with pytest.raises(KeyboardInterrupt):
        open_database(settings)
    monkeypatch.undo()
    with open_database(settings) as database:
        catalogue = Catalogue(database.connection, settings.schema_name)
        assert migrations.current_version(catalogue) == migrations.LATEST
        assert not registry.missing(catalogue)
        database.connection.query(f'DROP SCHEMA "{settings.schema_name}" CASCADE')


def test_who_makes_tables_and_loses_the_lock_stops(settings: Settings) -> None:
    with closing(connect(settings)) as other, closing(connect(settings)) as connection:
        with pytest.raises(DatabaseError, match="run this again"), activation_lock(connection):
            cut_session(settings, connection.session)
            connection.query("SELECT 1")
        with activation_lock(other):
            pass


def waits_in_vain_for_the_lock(settings: Settings) -> None:
    with closing(connect(settings)) as other, closing(connect(settings)) as connection:
        with (
            activation_lock(other),
            pytest.raises(DatabaseError, match="another process has been making .* for 1 s"),
            activation_lock(connection),
        ):
            raise AssertionError("both have it")
        with activation_lock(connection):
            pass


def test_who_waits_too_long_for_the_lock_makes_no_tables(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LOCK_TIMEOUT", 1)
    waits_in_vain_for_the_lock(settings)


@pytest.mark.xdist_group("servers")
def test_who_waits_too_long_for_the_lock_of_mysql_makes_no_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LOCK_TIMEOUT", 1)
    with mariadb_over_tcp() as server:
        waits_in_vain_for_the_lock(server.settings(tmp_path, "locked"))
