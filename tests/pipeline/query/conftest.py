"""A tiny experiment, computed once for all tests of queries and provenance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.database.opening import Database, open_database
from pipeline.database.settings import Settings
from pipeline.workers import populate
from schemas import base
from tests.tiny_experiment import plan


@pytest.fixture(scope="package")
def home(
    new_tables: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    return new_tables(tmp_path_factory.mktemp("query"))


@pytest.fixture(scope="package")
def filled(home: Settings) -> Settings:
    """One scan, two teachers and two seeds, computed."""
    with open_database(home):
        plan(teachers=("none", "neural_model"), seeds=(0, 1))
        assert populate.populate().failures == []
    return home


@pytest.fixture(scope="package")
def last_opened() -> Iterator[list[Database]]:
    databases: list[Database] = []
    yield databases
    for database in databases:
        database.close()


@pytest.fixture
def opened(filled: Settings, last_opened: list[Database]) -> Database:
    """The database, opened once, and again after a command that opened and closed it itself."""
    if not last_opened or base.schema.connection is not last_opened[0].connection:
        for database in last_opened:
            database.close()
        last_opened[:] = [open_database(filled)]
    return last_opened[0]


@pytest.fixture
def emptied_store(opened: Database) -> Iterator[None]:
    """The store is elsewhere: whoever reads a file from it fails."""
    store = opened.settings.store
    elsewhere = store.with_name("elsewhere")
    store.rename(elsewhere)
    yield
    elsewhere.rename(store)
