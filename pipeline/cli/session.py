"""What every command does: open the database, and say in one line what went wrong."""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import typer

from pipeline.cli.printing import err, plain

if TYPE_CHECKING:
    from pipeline.database.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


def reporting_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Turn errors that a user can fix into one line and an exit code of 1."""

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
        except Exception as error:
            # What S3's client raises is of no common kind; it is a matter of network and keys.
            if type(error).__module__.split(".")[0] not in ("botocore", "aiohttp"):
                raise
            err.print(
                f"[red]error:[/red] the object store cannot be used ({plain(str(error))}); check "
                "NEUROTEACH_STORE, NEUROTEACH_STORE_ENDPOINT and its keys"
            )
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            err.print("interrupted; run the same command again to resume")
            raise typer.Exit(1) from None

    return wrapped


class Session:
    """An open database; an embedded server is stopped by the last process that uses it."""

    def __enter__(self) -> Any:
        from pipeline.database.opening import open_database
        from pipeline.database.settings import load_settings

        settings = load_settings()
        self._embedded = embedded_stopped_by_the_last(settings)
        with contextlib.ExitStack() as unless_opened:
            unless_opened.enter_context(self._embedded)
            self.database = open_database(settings)
            unless_opened.pop_all()
        return self.database

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.database.close()
        self._embedded.__exit__(None, None, None)
        if isinstance(error, _failures()):
            raise _refused(error, self.database.settings.variables_heeded) from error


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Turn what DataJoint and the drivers raise into an error of one line."""
    try:
        yield
    except _failures() as error:
        raise _refused(error) from error


def _failures() -> tuple[type[Exception], ...]:
    import psycopg2
    import pymysql

    from schemas.base import dj

    return dj.DataJointError, psycopg2.Error, pymysql.Error


def _refused(error: Exception, remark: str = "") -> RuntimeError:
    return RuntimeError(f"the database refused: {' '.join(str(error).split())}{remark}")


@contextlib.contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does, so that what was half written is removed."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def embedded_stopped_by_the_last(settings: Settings) -> Iterator[None]:
    """Stop an embedded server afterwards, also one that a killed command left behind.

    It stays up by itself while others use it, or someone wants it kept.
    """
    from pipeline.database.opening import embedded_server

    try:
        yield
    finally:
        server = embedded_server(settings)
        if server is not None and not settings.database_is_kept.exists() and server.running():
            server.stop(wait=False)
