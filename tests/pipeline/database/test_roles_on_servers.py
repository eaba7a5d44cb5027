"""What an admin, a worker, a reader and a stranger can do on a server that others share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neuroteach import results
from pipeline.cli.main import app
from pipeline.database.opening import Database, DatabaseError, connect, open_database
from pipeline.database.roles import Role, apply, grant, set_password
from pipeline.database.settings import Settings
from pipeline.experiments.selection import ALL
from pipeline.results.encoders import experiments
from pipeline.workers import populate
from schemas import experiment, recording, training
from schemas import reliability as reliability_tables
from schemas import tables as registry
from tests.servers import SharedServer, can_connect, mariadb_over_tcp, postgres_over_tcp
from tests.tiny_experiment import plan

pytestmark = [pytest.mark.database, pytest.mark.xdist_group("servers")]

SECRETS = {role: f"{role.value}-secret" for role in Role}
USERS = {role: f"{role.value}-user" for role in Role}


@pytest.fixture(scope="module", params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[SharedServer]:
    running = postgres_over_tcp if request.param == "postgresql" else mariadb_over_tcp
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def schema() -> str:
    return f"t_{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def shared(
    server: SharedServer, schema: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[Role, Settings]:
    """Settings of each role: users made by a superuser, tables by the admin."""
    home = tmp_path_factory.mktemp("shared")
    boss = server.settings(home, schema)

    connection = connect(boss)
    if server.backend == "mysql":
        apply(connection, [f"CREATE DATABASE `{schema}`"])
    for role in Role:
        apply(connection, grant(role, USERS[role], boss))
        set_password(connection, USERS[role], SECRETS[role])
    connection.close()
    made = {
        role: server.settings(home, schema, server.url(USERS[role], SECRETS[role])) for role in Role
    }
    with open_database(made[Role.admin]):
        pass  # makes the tables, which workers and readers reach by what was granted before
    return made


# DataJoint stores no arrays by way of MariaDB, and MySQL grants for a schema as a whole.
on_postgres_alone = pytest.mark.parametrize("server", ["postgresql"], indirect=True)


@on_postgres_alone
def test_an_admin_plans_and_a_worker_computes(shared: dict[Role, Settings]) -> None:
    with open_database(shared[Role.admin]):
        plan()
    with open_database(shared[Role.worker]):
        done = populate.populate()
        assert done.failures == []
        assert done.computed["NoiseAccuracy"] == 1
        row = reliability_tables.Reliability.fetch1()
        assert row["computed_by"] == USERS[Role.worker]
    with open_database(shared[Role.reader]):
        assert len(results.accuracy()) == 1
        assert experiments(ALL)["added_by"].tolist() == [USERS[Role.admin]]


def test_a_reader_sees_every_table_with_its_key(shared: dict[Role, Settings]) -> None:
    with open_database(shared[Role.reader]):
        for table in registry.all_tables():
            assert table().primary_key
            len(table())


def tables_of(settings: Settings) -> list[str]:
    tables = [table().full_table_name for table in registry.all_tables()]
    return [*tables, *(table().jobs.full_table_name for table in registry.queued_tables())]


def refused(database: Database, statement: str) -> bool:
    try:
        database.connection.query(statement)
    except Exception as error:
        said = str(error).lower()
        # Not for another reason, such as a mistake in the statement.
        assert "denied" in said or "must be owner" in said, said
        return True
    return False


SOME = (recording.Scan, experiment.Experiment, training.TrainedNetwork.Epoch)


def test_a_reader_can_change_nothing(shared: dict[Role, Settings]) -> None:
    with open_database(shared[Role.reader]) as database:
        for table in SOME:
            name = table().full_table_name
            for statement in (
                f"DELETE FROM {name}",
                f"DROP TABLE {name}",
                f"ALTER TABLE {name} ADD COLUMN mine int",
                f"CREATE INDEX mine ON {name} ({table().primary_key[0]})",
            ):
                assert refused(database, statement), statement
        seeds = experiment.Seed().full_table_name
        assert refused(database, f"INSERT INTO {seeds} VALUES (7)")
        assert refused(database, f"UPDATE {seeds} SET seed = 7")


def test_a_worker_can_neither_drop_nor_alter_nor_make_a_table(
    shared: dict[Role, Settings], schema: str
) -> None:
    with open_database(shared[Role.worker]) as database:
        quoted = database.connection.adapter.quote_identifier
        for table in SOME:
            assert refused(database, f"DROP TABLE {table().full_table_name}")
            assert refused(database, f"ALTER TABLE {table().full_table_name} ADD COLUMN mine int")
        assert refused(database, f"CREATE TABLE {quoted(schema)}.mine (a int)")
        experiment.Seed.insert1({"seed": 11})
        (experiment.Seed & {"seed": 11}).delete(prompt=False)


@on_postgres_alone
@pytest.mark.parametrize("role", [Role.worker, Role.reader])
def test_what_was_granted_holds_for_every_table(shared: dict[Role, Settings], role: Role) -> None:
    allowed = {
        Role.worker: {"SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES"},
        Role.reader: {"SELECT", "REFERENCES"},
    }
    with open_database(shared[role]) as database:
        for name in tables_of(shared[role]):
            (found,) = database.connection.query(
                "SELECT array_agg(p) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', "
                "'TRUNCATE', 'REFERENCES', 'TRIGGER']) p WHERE has_table_privilege(%s, p)",
                (name,),
            ).fetchone()
            assert set(found) == allowed[role], name


def test_a_role_takes_the_place_of_the_one_before(
    server: SharedServer, shared: dict[Role, Settings], schema: str
) -> None:
    boss = connect(server.settings(shared[Role.admin].home, schema))
    user, secret = "turncoat", "turncoat-secret"
    apply(boss, grant(Role.worker, user, shared[Role.admin]))
    set_password(boss, user, secret)
    reader = server.settings(shared[Role.admin].home, schema, server.url(user, secret))
    with open_database(reader) as database:
        experiment.Seed.insert1({"seed": 12})
    apply(boss, grant(Role.reader, user, shared[Role.admin]))
    quoted = boss.adapter.quote_identifier
    with open_database(shared[Role.admin]) as database:
        database.connection.query(f"CREATE TABLE {quoted(schema)}.made_later (seed int)")
    with open_database(reader) as database:
        seeds = experiment.Seed().full_table_name
        assert refused(database, f"DELETE FROM {seeds}")
        assert refused(database, f"CREATE TABLE {quoted(schema)}.mine (a int)")
        assert refused(database, f"INSERT INTO {quoted(schema)}.made_later VALUES (1)")
        database.connection.query(f"SELECT * FROM {quoted(schema)}.made_later")
    with open_database(shared[Role.admin]) as database:
        database.connection.query(f"DROP TABLE {quoted(schema)}.made_later")
        (experiment.Seed & {"seed": 12}).delete(prompt=False)
    boss.close()


def test_an_admin_is_made_a_reader_or_told_to_hand_over_first(
    server: SharedServer, shared: dict[Role, Settings]
) -> None:
    settings = server.settings(shared[Role.admin].home, "t_handed_over")
    boss = connect(settings)
    if server.backend == "mysql":
        apply(boss, ["CREATE DATABASE t_handed_over"])
    apply(boss, grant(Role.admin, "first", settings))
    if server.backend == "postgresql":
        with pytest.raises(Exception, match="first is the admin of t_handed_over; make another"):
            apply(boss, grant(Role.reader, "first", settings))
        apply(boss, grant(Role.admin, "second", settings))
    apply(boss, grant(Role.reader, "first", settings))
    set_password(boss, "first", "first-secret")
    first = connect(server.settings(settings.home, "t", server.url("first", "first-secret")))
    with pytest.raises(Exception, match=r"(?i)denied"):
        first.query("CREATE TABLE t_handed_over.mine (a int)")
    first.close()
    boss.close()


def test_rights_on_one_schema_are_none_on_another_of_a_similar_name(
    server: SharedServer, shared: dict[Role, Settings], schema: str
) -> None:
    """In a grant of MySQL the line in `t_brains` stands for any character."""
    boss = connect(server.settings(shared[Role.admin].home, schema))
    similar = boss.adapter.quote_identifier(schema.replace("_", "x"))
    made = "DATABASE" if server.backend == "mysql" else "SCHEMA"
    apply(boss, [f"CREATE {made} {similar}", f"CREATE TABLE {similar}.theirs (a int)"])
    with open_database(shared[Role.worker]) as database:
        assert refused(database, f"SELECT * FROM {similar}.theirs")
    boss.close()


def test_a_stranger_gets_in_nowhere(server: SharedServer, shared: dict[Role, Settings]) -> None:
    assert can_connect(server, USERS[Role.reader], SECRETS[Role.reader])
    assert not can_connect(server, "stranger", "")
    assert not can_connect(server, USERS[Role.reader], SECRETS[Role.worker])
    assert not can_connect(server, USERS[Role.reader], "")
    boss = connect(server.settings(shared[Role.admin].home, "t"))
    made = {
        "postgresql": "CREATE ROLE idle LOGIN PASSWORD 'idle'",
        "mysql": "CREATE USER 'idle'@'%' IDENTIFIED BY 'idle'",
    }
    apply(boss, [made[server.backend]])
    boss.close()
    if server.backend == "postgresql":  # an account alone lets nobody into the database
        assert not can_connect(server, "idle", "idle")
    else:
        with pytest.raises(DatabaseError):
            idle = server.url("idle", "idle")
            schema = shared[Role.admin].schema_name
            open_database(server.settings(shared[Role.admin].home, schema, idle))


def test_a_user_is_made_without_a_way_in(
    server: SharedServer, shared: dict[Role, Settings]
) -> None:
    boss = server.settings(shared[Role.admin].home, "t")
    connection = connect(boss)
    apply(connection, grant(Role.reader, "nobody-yet", boss)[:1])
    connection.close()
    assert not can_connect(server, "nobody-yet", "")


def test_tables_are_made_by_whoever_owns_the_schema(
    server: SharedServer, shared: dict[Role, Settings]
) -> None:
    other = shared[Role.reader].model_copy(update={"schema_name": "t_not_there"})
    with pytest.raises(DatabaseError, match="neuroteach init"):
        open_database(other)


def test_no_password_is_printed_logged_or_stored(
    server: SharedServer,
    shared: dict[Role, Settings],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret, wrong = tmp_path / "secret", tmp_path / "wrong"
    secret.write_text(SECRETS[Role.worker])
    wrong.write_text("wrong-secret")
    environment = {
        "NEUROTEACH_HOME": str(tmp_path),
        "NEUROTEACH_STORE": str(shared[Role.worker].store),
        "NEUROTEACH_SCHEMA": shared[Role.worker].schema_name,
        "NEUROTEACH_DATABASE": server.url(USERS[Role.worker], "").replace(":@", "@"),
        "NEUROTEACH_DATABASE_PASSWORD_FILE": str(secret),
    }
    said = ""
    caplog.set_level("DEBUG")
    for command in (["status"], ["database", "url"], ["init"], ["worker"]):
        done = CliRunner().invoke(app, command, env=environment)
        assert done.exit_code == 0, done.output
        said += done.output
    environment["NEUROTEACH_DATABASE_PASSWORD_FILE"] = str(wrong)
    done = CliRunner().invoke(app, ["status"], env=environment)
    assert done.exit_code == 1 and "cannot connect" in done.output
    said += done.output + caplog.text
    with open_database(shared[Role.admin]) as database:
        for name in tables_of(shared[Role.admin]):
            said += str(database.connection.query(f"SELECT * FROM {name}").fetchall())
    for word in [*SECRETS.values(), "wrong-secret", server.password]:
        assert word not in said
