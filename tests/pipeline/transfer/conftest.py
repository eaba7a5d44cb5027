"""Databases that are moved: a full one, its backup, an empty one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.database.settings import Settings
from pipeline.transfer import operations
from tests.pipeline.transfer.content import Made, drop, fill, opened, restore


@pytest.fixture(scope="session")
def filled(new_tables: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A database that no test changes."""
    settings = new_tables(tmp_path_factory.mktemp("filled"))
    with opened(settings):
        fill()
    yield settings
    drop(settings)


@pytest.fixture(scope="session")
def saved(filled: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("saved") / "all.zip"
    with opened(filled) as database:
        operations.backup_database(database, file)
    return file


@pytest.fixture
def empty(with_tables: Settings) -> Settings:
    """Another home, store and schema."""
    return with_tables


@pytest.fixture(scope="session")
def untouched(new_tables: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An empty database, in which nothing is ever written."""
    settings = new_tables(tmp_path_factory.mktemp("untouched"))
    yield settings
    drop(settings)


@pytest.fixture
def restored(saved: Path, empty: Settings) -> Settings:
    restore(empty, saved)
    return empty
