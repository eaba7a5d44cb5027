"""A session that is lost, its server's own ideas, and what the environment says of others."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.database.embedded import EmbeddedPostgres
from pipeline.database.opening import (
    Database,
    DatabaseError,
    connect,
    open_database,
)
from pipeline.database.settings import Settings
from schemas import base, experiment
from schemas.recording import Scan
from tests.schemas.test_inputs import random_recording
from tests.servers import cut_session, embedded_settings, mariadb_over_tcp

pytestmark = pytest.mark.database

LostConnectionError = base.dj.errors.LostConnectionError


def backend_pid(connection: Any) -> int:
    return connection.query("SELECT pg_backend_pid()").fetchone()[0]


def test_a_lost_connection_is_made_anew_by_the_next_query(
    database: Database, settings: Settings
) -> None:
    Scan.add(random_recording(), source="test")
    lost = database.connection.connection_id
    assert lost == backend_pid(database.connection)
    cut_session(settings, lost)
    assert len(Scan()) == 1
    # The number says who reserved a job, so it must be that of the session in use.
    assert database.connection.connection_id == backend_pid(database.connection) != lost


def test_a_connection_lost_in_a_transaction_is_an_error_and_nothing_of_it_stays(
    database: Database, settings: Settings
) -> None:
    with pytest.raises(LostConnectionError), database.connection.transaction:
        experiment.Seed.insert1({"seed": 1})
        cut_session(settings, database.connection.connection_id)
        experiment.Seed.insert1({"seed": 2})
    assert not database.connection.in_transaction
    assert len(experiment.Seed()) == 0
    with database.connection.transaction:
        experiment.Seed.insert1({"seed": 3})
    assert experiment.Seed.to_arrays("seed").tolist() == [3]


def test_a_transaction_whose_session_was_lost_before_its_end_is_not_taken_for_committed(
    database: Database, settings: Settings
) -> None:
    with pytest.raises(LostConnectionError), database.connection.transaction:
        experiment.Seed.insert1({"seed": 1})
        cut_session(settings, database.connection.session)
    assert len(experiment.Seed()) == 0


def test_nothing_is_written_after_a_loss_that_somebody_kept_to_himself(
    database: Database, settings: Settings
) -> None:
    """As DataJoint does when it looks for the table of lineages."""
    with pytest.raises(LostConnectionError), database.connection.transaction:
        experiment.Seed.insert1({"seed": 1})
        cut_session(settings, database.connection.session)
        with suppress(LostConnectionError):
            experiment.Seed.insert1({"seed": 2})
        with suppress(LostConnectionError):
            experiment.Seed.insert1({"seed": 3})
    assert len(experiment.Seed()) == 0


def test_a_part_of_a_lost_transaction_does_not_begin_one_of_its_own(
    database: Database, settings: Settings
) -> None:
    with pytest.raises(LostConnectionError), base.transaction(database.connection):
        experiment.Seed.insert1({"seed": 1})
        cut_session(settings, database.connection.session)
        with base.transaction(database.connection):
            experiment.Seed.insert1({"seed": 2})
    assert len(experiment.Seed()) == 0


@pytest.mark.xdist_group("servers")
def test_a_session_that_mysql_ends_is_replaced_and_its_transaction_an_error(tmp_path: Path) -> None:
    with mariadb_over_tcp() as server:
        settings = server.settings(tmp_path, "lost")
        with closing(connect(settings)) as other, closing(connect(settings)) as connection:
            connection.query("CREATE DATABASE lost")
            connection.query("CREATE TABLE lost.number (number int)")
            other.query("KILL %s", (connection.session,))
            assert connection.query("SELECT count(*) FROM lost.number").fetchone() == (0,)

            with pytest.raises(LostConnectionError), connection.transaction:
                connection.query("INSERT INTO lost.number VALUES (1)")
                other.query("KILL %s", (connection.session,))
                with base.transaction(connection):
                    connection.query("INSERT INTO lost.number VALUES (2)")
            with pytest.raises(LostConnectionError), connection.transaction:
                connection.query("INSERT INTO lost.number VALUES (3)")
                other.query("KILL %s", (connection.session,))
            assert connection.query("SELECT count(*) FROM lost.number").fetchone() == (0,)


def test_the_connection_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "database", durable=False)
    settings = embedded_settings(tmp_path)
    server.start()
    try:
        with open_database(settings):
            experiment.Seed.insert1({"seed": 1})
            assert server.stop(force=True).stopped
            server.start()
            assert experiment.Seed.to_arrays("seed").tolist() == [1]
    finally:
        server.stop(force=True)


def test_datajoint_alone_still_does_not_survive_a_lost_connection(settings: Settings) -> None:
    address = settings.server_address
    assert address.password is not None
    plain = base.dj.Instance(
        address.host,
        address.user,
        address.password.get_secret_value(),
        address.port,
        use_tls=False,
        backend="postgresql",
        database__name=address.database,
    ).connection
    with closing(plain):
        cut_session(settings, backend_pid(plain))
        try:
            mended = backend_pid(plain) == plain.connection_id
        except Exception:
            mended = False
    assert not mended, (
        f"DataJoint {base.dj.__version__} reconnects by itself and notices its new number: see "
        "what pipeline.database.connection.Connection still has to do"
    )


def test_a_server_that_ends_idle_transactions_spares_ours(database: Database) -> None:
    name = "idle_in_transaction_session_timeout"
    database.connection.query(f"ALTER ROLE CURRENT_USER SET {name} = 50")
    try:
        with closing(connect(database.settings)) as connection:
            assert connection.query(f"SHOW {name}").fetchone() == ("0",)
    finally:
        database.connection.query("ALTER ROLE CURRENT_USER RESET ALL")


HOSTILE = {
    "PGSERVICE": "nowhere",
    "PGHOSTADDR": "192.0.2.1",
    "PGOPTIONS": "-c nonsense=1",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCHANNELBINDING": "require",
    "PGREQUIREAUTH": "none",
    "PGGSSENCMODE": "require",
    "PGSSLMODE": "verify-full",
    "PGDATA": "/nowhere",
    "PGPORT": "1",
    "PGUSER": "stranger",
    "PGDATABASE": "elsewhere",
    "PGCLIENTENCODING": "nonsense",
    "PGTZ": "nonsense",
}


def test_variables_of_other_servers_leave_the_embedded_database_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    postgres = EmbeddedPostgres(tmp_path / "database", durable=False)
    settings = embedded_settings(tmp_path)
    try:
        with open_database(settings):
            assert len(Scan()) == 0
            assert postgres.status().sessions == 1
        assert {name: os.environ[name] for name in HOSTILE} == HOSTILE
        assert postgres.stop().stopped and not postgres.running()
    finally:
        postgres.stop(force=True)


@pytest.mark.parametrize(
    "name, value, needs",
    [
        ("PGSERVICE", "nowhere", "definition of service"),
        ("PGOPTIONS", "-c nonsense=1", "nonsense"),
        ("PGTARGETSESSIONATTRS", "read-only", "is not read-only"),
    ],
)
def test_an_error_of_a_shared_server_names_the_variables_that_libpq_heeds(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: str, needs: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGPASSWORD", "hush")
    with pytest.raises(DatabaseError) as info:
        connect(settings)
    assert needs in str(info.value)
    for part in ("libpq also heeds PG", f"{name}={value}", "PGPASSWORD=..."):
        assert part in str(info.value)
    assert "hush" not in str(info.value)


def test_a_shared_servers_statements_are_as_the_environment_has_them_and_errors_say_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    with pytest.raises(DatabaseError, match="read-only transaction.* default_transaction_read_onl"):
        open_database(settings)
    monkeypatch.setenv("PGOPTIONS", "")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with closing(connect(settings)) as connection:
        assert connection.query("SELECT %s::text", ("λ",)).fetchone() == ("λ",)
