"""All tables: found by their modules, bound to a database, in the order of computation."""

from __future__ import annotations

import functools
import graphlib
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import datajoint as dj

import schemas
from predictive_model import parts
from schemas.base import Computed, schema
from schemas.catalogue import Catalogue
from schemas.worker import SchemaVersion

PLUGINS = "neuroteach.evaluations"
_REFERENCE = re.compile(
    r"^\s*->\s*(?:\[[^\]]*\]\s*)?([A-Za-z_][\w.]*?)(?:\.proj\b.*?)?\s*(?:#.*)?$", re.MULTILINE
)


@functools.cache
def load() -> None:
    """Import every module of tables, ours and those of installed packages, which register them."""
    for module in pkgutil.walk_packages(schemas.__path__, "schemas."):
        importlib.import_module(module.name)
    parts.load_installed(PLUGINS)


def activate(
    catalogue: Catalogue, *, create: bool = True, stamp: Callable[[], None] | None = None
) -> None:
    """Bind every table to a schema of the database.

    Callers that may race with others hold a lock while tables are declared.

    Parameters
    ----------
    catalogue : Catalogue
    create : bool
        Declare what is missing, job tables too; False asks the database nothing at all.
    stamp : callable, optional
        Called once the table of versions is there, before all others are declared.

    Raises
    ------
    DataJointError
        If a schema or table is not there and may not be made. What was bound before stays bound.
    """
    load()
    bound = schema.catalogue
    try:
        if create:
            _declare(catalogue, stamp)
        schema.bind(catalogue)
    except BaseException:
        schema.unbind()
        if bound is not None:
            schema.bind(bound)
        raise


def missing(catalogue: Catalogue) -> list[type[dj.Table]]:
    """Tables that the schema of the database lacks."""
    return [table for table in known_tables() if table.table_name not in catalogue.names]


def _declare(catalogue: Catalogue, stamp: Callable[[], None] | None) -> None:
    if stamp is not None:
        every = schema.declare_list
        schema.declare_list = [entry for entry in every if entry[0] is SchemaVersion]
        try:
            _declare_registered(catalogue)
            stamp()
        finally:
            schema.declare_list = every
    _declare_registered(catalogue)
    for table in queued_tables():
        if not table().jobs.is_declared:
            table().jobs.declare()
    catalogue.forget()


def _declare_registered(catalogue: Catalogue) -> None:
    schema.unbind()
    schema.activate(
        catalogue.schema,
        connection=catalogue.connection,
        create_schema=True,
        create_tables=True,
    )


def known_tables() -> list[type[dj.Table]]:
    """Every table, ours and those of installed packages, also those that no database has yet.

    Each is followed by its parts, in the order of the modules that define them.
    """
    load()
    return [table for table, _ in schema.tables()]


def all_tables() -> list[type[dj.Table]]:
    """The same; while a database is open, those that it has."""
    return [table for table in known_tables() if _is_here(table)]


def _is_here(table: type[dj.Table]) -> bool:
    return schema.catalogue is None or table.table_name in schema.catalogue.names


@functools.cache
def _queued() -> tuple[type[Computed], ...]:
    """Computed tables, each after those that it depends on."""
    load()
    order = list(_contexts())
    sorter = graphlib.TopologicalSorter({table: set(parents_of(table)) for table in order})
    sorter.prepare()
    found: list[type[Computed]] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        computed = [table for table in ready if issubclass(table, Computed)]
        # Those that take long come last among those that do not depend on each other.
        found += sorted(computed, key=lambda table: (table.takes_long, order.index(table)))
        sorter.done(*ready)
    return tuple(found)


def queued_tables() -> list[type[Computed]]:
    """All tables with a job queue, each after those it depends on."""
    return [table for table in _queued() if _is_here(table)]


def computed_tables() -> list[type[Computed]]:
    """All computed tables that experiments plan, each after those it depends on."""
    return [table for table in queued_tables() if table.in_experiments]


@functools.cache
def _contexts() -> dict[type[dj.Table], Any]:
    load()
    return dict(schema.tables())


def parents_of(table: type[dj.Table]) -> Iterator[type[dj.Table]]:
    """Tables that the definition of a table, or of one of its parts, refers to, but for itself."""
    definitions = [(table, _contexts()[table])]
    definitions += [
        (part, context)
        for part, context in _contexts().items()
        if issubclass(part, dj.Part) and part._master is table
    ]
    for each, context in definitions:
        for name in _REFERENCE.findall(each.definition):
            first, *rest = name.split(".")
            found = context[first]
            for attribute in rest:
                found = getattr(found, attribute)
            if found is not table:
                yield found


def forget_vanished(table: Any) -> None:
    """Delete jobs of keys that nobody can compute any more, since what they build on is gone."""
    there = dj.Not(table.key_source.proj())
    waiting = table.jobs & "status IN ('pending', 'error')"
    waiting.restrict(there, semantic_check=False).delete_quick()


def activate_missing(catalogue: Catalogue) -> None:
    """Bind the tables anew, declaring those that are missing."""
    catalogue.forget()
    activate(catalogue)


def deactivate() -> None:
    """Unbind all tables, so that another database can be opened in this process."""
    schema.unbind()
