"""Fixtures that all tests share, and the rule that unit tests never connect."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from pipeline.database.settings import Settings

if TYPE_CHECKING:
    from pipeline.database.opening import Database
    from tests.schema_pool import SchemaPool
    from tests.tiny_experiment import Worker

DATA_VARIABLE = "NEUROTEACH_DATA"
IN_CI = os.environ.get("CI") == "true"


def pytest_configure() -> None:
    import torch

    # Tests run in parallel, and threads of several processes get in each other's way.
    torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    """A test that is skipped in CI has failed: nobody would notice that it never runs."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which nothing may be in CI: {report.longrepr[2]}"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only root can try, where nobody is; begin with what takes long.

    With several workers, what takes minutes would otherwise be the last that one of them does,
    while the others have nothing left to do.
    """
    if hasattr(config, "workerinput"):

        def limit(item: pytest.Item) -> float:
            marker = item.get_closest_marker("timeout")
            return marker.args[0] if marker else 0

        items.sort(key=limit, reverse=True)
    if os.geteuid() == 0:
        return
    for_root = [item for item in items if item.get_closest_marker("root")]
    config.hook.pytest_deselected(items=for_root)
    items[:] = [item for item in items if item not in for_root]


@pytest.fixture(autouse=True)
def _no_connection(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting fails, except in tests marked ``database``."""
    if request.node.get_closest_marker("database"):
        return
    import psycopg2
    import pymysql

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a unit test tried to connect to a database")

    monkeypatch.setattr(psycopg2, "connect", refuse)
    monkeypatch.setattr(pymysql, "connect", refuse)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of real recordings and images; its absence is a failure in CI, a skip elsewhere."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get(DATA_VARIABLE, default))
    if not folder.is_dir():
        message = f"{folder}: no such folder; set {DATA_VARIABLE} to where the real data are"
        if IN_CI:
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a private server that lives as long as the tests of one process."""
    from pipeline.database.embedded import EmbeddedPostgres

    root = Path(tempfile.mkdtemp(prefix="neuroteach-tests-"))
    server = EmbeddedPostgres(root / "database", durable=False)
    s = server.start()
    try:
        yield (
            f"postgresql://{s.user}:{quote(s.password)}@/{s.database}"
            f"?host={quote(str(s.socket_folder), safe='')}&port={s.port}"
        )
    finally:
        server.stop(force=True)
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def new_settings(database_url: str) -> Callable[[Path], Settings]:
    """Makes settings with the folder as their home and a schema that nobody else uses."""

    def made(home: Path) -> Settings:
        return Settings(
            home=home,
            database=database_url,
            store=home / "store",
            schema_name=f"t_{uuid.uuid4().hex[:12]}",
            device="cpu",
        )

    return made


@pytest.fixture
def settings(new_settings: Callable[[Path], Settings], tmp_path: Path) -> Settings:
    """Settings with a home of their own and a schema that nobody else uses."""
    return new_settings(tmp_path)


@pytest.fixture(scope="session")
def schema_pool(
    new_settings: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SchemaPool]:
    """Schemas with all tables, for tests that are not about how tables are made."""
    from tests.schema_pool import SchemaPool

    pool = SchemaPool(new_settings(tmp_path_factory.mktemp("declared")))
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def new_tables(
    new_settings: Callable[[Path], Settings], schema_pool: SchemaPool
) -> Callable[[Path], Settings]:
    """Makes settings as `new_settings` does, with all tables in their schema, and no rows."""

    def made(home: Path) -> Settings:
        settings = new_settings(home)
        schema_pool.declare(settings)
        return settings

    return made


@pytest.fixture
def with_tables(settings: Settings, schema_pool: SchemaPool) -> Iterator[Settings]:
    """The test's `settings`, with all tables in their schema, and no rows."""
    schema_pool.declare(settings)
    yield settings
    schema_pool.take_back(settings)


@pytest.fixture
def database(with_tables: Settings) -> Iterator[Database]:
    """An open database without any rows."""
    from pipeline.database.opening import open_database

    opened = open_database(with_tables)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """Address of an S3 server on the loopback interface."""
    from tests.servers import object_store as running

    with running() as endpoint:
        yield endpoint


@pytest.fixture
def settings_with_bucket(settings: Settings, object_store: str) -> Settings:
    """Settings whose store is in a bucket of its own."""
    changed = Settings.model_validate(
        {
            **settings.model_dump(by_alias=True),
            "store": f"s3://bucket-{uuid.uuid4().hex[:8]}/brains",
            "store_endpoint": object_store,
            "store_access_key": "key",
            "store_secret_key": "secret",
        }
    )
    root = changed.store_root()
    root.fs.mkdir(root.path.split("/")[0])
    return changed


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts processes that populate; takes a command and variables of theirs instead."""
    from tests.tiny_experiment import Worker

    workers: list[Worker] = []

    def start(*command: str, **variables: str) -> Worker:
        log = tmp_path / f"worker{len(workers)}.log"
        workers.append(Worker(settings, log, *command, **variables))
        return workers[-1]

    yield start
    for worker in workers:
        worker.end()
