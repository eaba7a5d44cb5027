"""Opening the database, losing it, and what is put into it."""

from __future__ import annotations

import multiprocessing
import os
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psycopg2
import pytest
from upath import UPath

from neuroteach import results
from pipeline.database import migrations, opening
from pipeline.database.connection import Connection
from pipeline.database.embedded import EmbeddedPostgres
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
from predictive_model.fits.config import FitConfig
from predictive_model.recordings.recording import Recording, RecordingError
from regularized_training.tasks.image_task import ImageTask, TaskError
from schemas import base, encoding, experiment, training
from schemas import tables as registry
from schemas.catalogue import Catalogue
from schemas.recording import Scan, StimulusSet
from tests.servers import mariadb_over_tcp

pytestmark = pytest.mark.database

LostConnectionError = base.dj.errors.LostConnectionError


def open_at_once(barrier: Any, answers: Any, settings: Settings) -> None:
    """Open the database when all processes are ready, and say what its tables hold."""
    barrier.wait()
    with open_database(settings):
        tables = [table() for table in registry.computed_tables()]
        answers.put(sum(len(table) + len(table.jobs) for table in tables))


def random_recording(*, seed: int = 0, extras: bool = True, **changes: Any) -> Recording:
    """Random numbers in the shape of a recording, with or without behaviour and pupil."""
    rng = np.random.default_rng(seed)
    n_images, n_trials = 30, 42
    arrays: dict[str, Any] = {
        "images": rng.integers(0, 256, (n_images, 1, 8, 10)).astype(np.uint8),
        "image_index": np.concatenate([np.arange(n_images), np.repeat([3, 8, 9, 20], 3)]),
        "responses": rng.random((n_trials, 4)).astype(np.float32),
        "neuron_ids": np.array([7, 3, 11, 5]),
    }
    if extras:
        arrays["behaviour"] = rng.random((n_trials, 2)).astype(np.float32)
        arrays["behaviour_names"] = ("running speed", "pupil size")
        arrays["pupil"] = rng.random((n_trials, 2)).astype(np.float32)
    return Recording(**{"name": "scan", "species": "mouse", "area": "V1"} | arrays | changes)


def random_task(*, seed: int = 0) -> ImageTask:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (12, 3, 8, 8)).astype(np.uint8)
    labels = np.arange(12) % 3
    return ImageTask("letters", images[:9], labels[:9], images[9:], labels[9:], ("a", "b", "c"))


def backend_pid(connection: Any) -> int:
    return connection.query("SELECT pg_backend_pid()").fetchone()[0]


def cut_session(settings: Settings, pid: int) -> None:
    """End another's database session, as a restart of the server would."""
    with closing(psycopg2.connect(settings.database)) as other:
        other.autocommit = True
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            assert cursor.fetchone() == (True,)


# -- opening -----------------------------------------------------------------------------------


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
    with pytest.raises(DatabaseError, match="mount/store is not there; is it mounted"):
        open_database(there)
    assert not elsewhere.parent.exists()

    registry.deactivate()
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


# -- losing the connection ---------------------------------------------------------------------


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


@pytest.mark.xdist_group("servers")
def test_who_waits_too_long_for_the_lock_of_mysql_makes_no_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "MYSQL_LOCK_TIMEOUT", 1)
    with mariadb_over_tcp() as server:
        settings = server.settings(tmp_path, "locked")
        with closing(connect(settings)) as other, closing(connect(settings)) as connection:
            with (
                activation_lock(other),
                pytest.raises(DatabaseError, match="another process"),
                activation_lock(connection),
            ):
                raise AssertionError("both have it")
            with activation_lock(connection):
                pass


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
    settings = Settings(
        home=tmp_path,
        database=f"embedded:{tmp_path / 'database'}",
        store=tmp_path / "store",
        device="cpu",
    )
    try:
        with open_database(settings):
            assert len(Scan()) == 0
            assert postgres.status().sessions == 1
        assert {name: os.environ[name] for name in HOSTILE} == HOSTILE
        assert postgres.stop().stopped and not postgres.running()
    finally:
        postgres.stop(force=True)


def test_a_server_that_ends_idle_transactions_spares_ours(database: Database) -> None:
    name = "idle_in_transaction_session_timeout"
    database.connection.query(f"ALTER ROLE CURRENT_USER SET {name} = 50")
    try:
        with closing(connect(database.settings)) as connection:
            assert connection.query(f"SHOW {name}").fetchone() == ("0",)
    finally:
        database.connection.query("ALTER ROLE CURRENT_USER RESET ALL")


def test_the_connection_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "database", durable=False)
    settings = Settings(
        home=tmp_path,
        database=f"embedded:{tmp_path / 'database'}",
        store=tmp_path / "store",
        device="cpu",
    )
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


# -- scans and image sets ----------------------------------------------------------------------


@pytest.mark.parametrize("extras", [True, False], ids=["with behaviour and pupil", "without"])
def test_a_scan_comes_back_as_it_went_in(database: Database, extras: bool) -> None:
    before = random_recording(extras=extras, simulated=True)
    assert Scan.add(before, source="test")
    after = Scan.load({"scan": "scan"})
    for name in ("images", "image_index", "responses", "tier", "neuron_ids", "behaviour", "pupil"):
        a, b = getattr(before, name), getattr(after, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert (a.dtype, a.shape) == (b.dtype, b.shape), name
            assert np.array_equal(a, b), name
    for name in ("name", "species", "area", "simulated", "behaviour_names"):
        assert getattr(before, name) == getattr(after, name)


def test_images_of_any_scale_come_back_as_they_went_in(database: Database) -> None:
    images = np.random.default_rng(0).standard_normal((30, 3, 8, 10)).astype(np.float32)
    Scan.add(random_recording(images=images), source="test")
    assert np.array_equal(Scan.load({"scan": "scan"}).images, images)


def test_the_very_same_scan_is_added_once(database: Database, settings: Settings) -> None:
    assert Scan.add(random_recording(), source="test")
    files = sorted(settings.store.rglob("*"))
    assert not Scan.add(random_recording(), source="elsewhere")
    assert (len(Scan()), len(StimulusSet())) == (1, 1)
    assert sorted(settings.store.rglob("*")) == files


def test_another_scan_of_the_same_name_is_refused_and_leaves_nothing(
    database: Database, settings: Settings
) -> None:
    first = random_recording()
    Scan.add(first, source="test")
    files = sorted(settings.store.rglob("*"))
    responses = first.responses.copy()
    responses[0, 0] += 1
    for other in (random_recording(seed=1), replace(first, responses=responses)):
        with pytest.raises(RecordingError, match="another scan named 'scan'; choose another name"):
            Scan.add(other, source="test")
    assert (len(Scan()), len(StimulusSet())) == (1, 1)
    assert sorted(settings.store.rglob("*")) == files
    assert np.array_equal(Scan.load({"scan": "scan"}).responses, first.responses)


def test_scans_of_the_same_images_share_them(database: Database) -> None:
    first = random_recording()
    Scan.add(first, source="test")
    Scan.add(random_recording(seed=1, name="other", images=first.images), source="test")
    assert (len(Scan()), len(StimulusSet())) == (2, 1)


def test_a_scan_that_cannot_be_inserted_leaves_no_row(database: Database) -> None:
    with pytest.raises(psycopg2.DataError, match="too long"):
        Scan.add(random_recording(species="s" * 65), source="test")
    assert (len(Scan()), len(StimulusSet())) == (0, 0)
    assert not database.connection.in_transaction


def test_an_image_set_comes_back_as_it_went_in_and_is_added_once(database: Database) -> None:
    before = random_task()
    assert training.ImageSet.add(before, source="test")
    assert not training.ImageSet.add(random_task(), source="test")
    after = training.ImageSet.load({"image_set": "letters"})
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        a, b = getattr(before, name), getattr(after, name)
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    assert (after.name, after.classes) == ("letters", ("a", "b", "c"))


def test_another_image_set_of_the_same_name_is_refused(
    database: Database, settings: Settings
) -> None:
    training.ImageSet.add(random_task(), source="test")
    files = sorted(settings.store.rglob("*"))
    renamed = replace(random_task(), classes=("a", "b", "d"))
    for other in (random_task(seed=1), renamed):
        with pytest.raises(TaskError, match="another image set named 'letters'"):
            training.ImageSet.add(other, source="test")
    assert len(training.ImageSet()) == 1
    assert sorted(settings.store.rglob("*")) == files


def test_a_configuration_is_kept_once_with_its_defaults(database: Database) -> None:
    config = FitConfig(max_epochs=7)
    key = encoding.FitConfig.add(config)
    assert encoding.FitConfig.add(FitConfig(max_epochs=7, patience=5)) == key
    row = encoding.FitConfig.fetch1()
    assert (row["fit_hash"], row["max_epochs"], row["config"]["patience"]) == (key, 7, 5)
    assert FitConfig.model_validate(row["config"]) == config
