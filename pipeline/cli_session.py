"""What every command does: open the database, and say in one line what went wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import typer

from pipeline.printing import err, plain
from pipeline.settings import load_settings

P = ParamSpec("P")
R = TypeVar("R")


def reporting_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Turn errors that a user can mend into one line and an exit code of 1."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except typer.Exit:
            raise  # it is a RuntimeError too
        except (ValueError, LookupError, OSError, RuntimeError) as error:
            text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
            err.print(f"[red]error:[/red] {plain(text)}")
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            err.print("interrupted; `neuroteach populate` goes on from here")
            raise typer.Exit(1) from None

    return wrapped


class Session:
    """An open database; an embedded server is stopped by whoever is the last to use it."""

    def __enter__(self) -> Any:
        from pipeline.database import embedded_server, open_database

        settings = load_settings()
        self.server = embedded_server(settings)
        self.kept = settings.database_is_kept
        try:
            self.database = open_database(settings)
        except BaseException:
            self._stop()
            raise
        return self.database

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        import psycopg2

        from schemas.base import dj

        self.database.close()
        self._stop()
        if isinstance(error, (dj.DataJointError, psycopg2.Error)):
            said = " ".join(str(error).split())
            raise RuntimeError(f"the database refused: {said}") from error

    def _stop(self) -> None:
        # Whoever leaves last stops it, also after a command that was killed. It stays up by
        # itself while others use it.
        if self.server is not None and not self.kept.exists() and self.server.running():
            self.server.stop()
