"""The commands that copy, save, restore and check whole databases."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.cli.options import Output, Overwrite, Printed
from pipeline.cli.printing import Format, err, plain, print_frame
from pipeline.cli.session import (
    Session,
    database_errors,
    embedded_stopped_by_the_last,
    interrupted_by_sigterm,
    reporting_errors,
)
from pipeline.database.settings import Settings, SettingsError, load_settings, read_secret

if TYPE_CHECKING:
    from pipeline.transfer.manifest import Manifest
    from pipeline.transfer.merge import MergeResult

SAME_STORE = "same"
TARGET_PASSWORD = "NEUROTEACH_TARGET_PASSWORD"
TARGET_ENDPOINT = "NEUROTEACH_TARGET_STORE_ENDPOINT"
TARGET_KEYS = {
    "store_access_key": "NEUROTEACH_TARGET_STORE_ACCESS_KEY",
    "store_secret_key": "NEUROTEACH_TARGET_STORE_SECRET_KEY",
}

database_app = typer.Typer(help="Start, reach, copy, save and check the database.")


@database_app.command("copy")
@reporting_errors
def database_copy(
    to: Annotated[
        str,
        typer.Option(help="embedded:FOLDER, postgresql://USER@HOST/DATABASE or mysql://USER@HOST."),
    ],
    to_store: Annotated[
        str,
        typer.Option(
            help="Store of the copy: a folder or s3://BUCKET/PREFIX; `same` to use the same one."
        ),
    ],
    to_schema: Annotated[
        str | None, typer.Option(help="Schema of the copy; the same by default.")
    ] = None,
) -> None:
    """Copy the database to another one, with all arrays and weights. May be run again.

    The other one must be empty, or what an interrupted copy left. Its password is taken from
    NEUROTEACH_TARGET_PASSWORD, or from the file that NEUROTEACH_TARGET_PASSWORD_FILE names.

    Example: `neuroteach database copy --to postgresql://lab@db.example.org/neuro --to-store
    s3://lab-neuro/store`
    """
    from pipeline.transfer.operations import copy_database

    source = load_settings()
    target = target_settings(source, to, to_store, to_schema)
    with (
        embedded_stopped_by_the_last(source),
        embedded_stopped_by_the_last(target),
        database_errors(),
        shown_progress() as progress,
    ):
        result = copy_database(source, target, on_progress=progress)
    print_brought("copied", result)
    err.print("every row and every object was read back from the copy and is the same")
    if (target.store, target.schema_name) == (source.store, source.schema_name):
        err.print(
            "note: both databases use the same arrays and weights now; delete nothing in either, "
            "and do not check with --remove-orphans, before the other one is gone"
        )


def target_settings(
    source: Settings, to: str, to_store: str, to_schema: str | None = None
) -> Settings:
    """Settings of the database that is copied to; what is not said is as in the source.

    Raises
    ------
    SettingsError
        If one of them cannot work.
    """
    keys = {key: read_secret(name, os.environ) for key, name in TARGET_KEYS.items()}
    if any(keys.values()) and not all(keys.values()):
        raise SettingsError(
            f"--to-store: expected both {' and '.join(TARGET_KEYS.values())}, or neither for the "
            "keys of the settings"
        )
    own_keys = {key: getattr(source, key) for key in TARGET_KEYS}
    scheme, _, folder = to.partition(":")
    try:
        return Settings.model_validate(
            {
                # An embedded database lies in a home of its own.
                "home": Path(folder).absolute().parent if scheme == "embedded" else source.home,
                "database": to,
                "database_password": read_secret(TARGET_PASSWORD, os.environ),
                "store": source.store if to_store == SAME_STORE else to_store,
                "store_endpoint": os.environ.get(TARGET_ENDPOINT) or source.store_endpoint,
                **(keys if any(keys.values()) else own_keys),
                "schema": to_schema or source.schema_name,
                "device": source.device,
            }
        )
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        option = {"database": "--to", "store": "--to-store", "schema": "--to-schema"}
        name = str(first["loc"][0]) if first["loc"] else "settings"
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{option.get(name, name)}: {message}") from error


@database_app.command("backup")
@reporting_errors
def database_backup(
    file: Annotated[Path, typer.Argument(help="A .zip file to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Save the whole database, with all arrays and weights, in one file.

    Workers may go on computing: the file has what was there when it was begun.

    Example: `neuroteach database backup monday.zip`
    """
    from pipeline.transfer.operations import backup_database

    with Session() as database, shown_progress() as progress:
        manifest = backup_database(database, file, overwrite=overwrite, on_progress=progress)
    print_written(file, manifest)


@database_app.command("restore")
@reporting_errors
def database_restore(
    file: Annotated[Path, typer.Argument(help="What `neuroteach database backup` wrote.")],
) -> None:
    """Bring a saved database back, into an empty one. May be run again.

    Into a database that has gone on since, `neuroteach import archive` brings what was lost.

    Example: `neuroteach database restore monday.zip`
    """
    from pipeline.transfer.operations import restore_database

    with Session() as database, shown_progress() as progress:
        result = restore_database(database, file, on_progress=progress)
    print_brought("restored", result)
    err.print("every row and every object was read back and is the same as in the file")


@database_app.command("check")
@reporting_errors
def database_check(
    quick: Annotated[
        bool, typer.Option("--quick", help="Only whether objects are there, and how large.")
    ] = False,
    remove_orphans: Annotated[
        bool,
        typer.Option(
            "--remove-orphans", help="Remove objects that have had no row for an hour or more."
        ),
    ] = False,
    format: Printed = Format.table,
    output: Output = None,
) -> None:
    """Check that every array and file in the store is what its row says, and belongs to a row.

    Ends with exit code 1 if anything is wrong.

    Example: `neuroteach database check --quick`
    """
    import pandas as pd

    from pipeline.transfer.operations import check_database

    with Session() as database, shown_progress() as progress:
        report = check_database(
            database, quick=quick, remove_orphans=remove_orphans, on_progress=progress
        )
    columns = ["kind", "row", "column", "path", "problem"]
    frame = pd.DataFrame([vars(problem) for problem in report.problems], columns=columns)
    if len(frame) or format is not Format.table or output is not None:
        print_frame(frame, format, output, title="What is wrong")
    read = "looked at" if quick else "read"
    err.print(
        f"{read} {report.objects} objects ({decimal(report.bytes)}) of {report.rows} rows in "
        f"{report.seconds:.1f} s: {len(report.problems) or 'no'} problems"
    )
    for n, what in (
        (report.unchecked, "objects have rows without a checksum; `neuroteach database upgrade`"),
        (report.young, "objects have no row yet, and are younger than an hour"),
        (report.removed, "objects without a row were removed"),
    ):
        if n:
            err.print(f"{n} {what}")
    if report.problems:
        raise typer.Exit(1)


def print_written(file: Path, manifest: Manifest) -> None:
    """Say what was written to an archive."""
    err.print(
        f"wrote {plain(str(file))}: {manifest.n_rows} rows and {len(manifest.objects)} objects "
        f"({decimal(manifest.n_bytes)}), {decimal(file.stat().st_size)} in all"
    )


def print_brought(done: str, result: MergeResult) -> None:
    """Say what was brought into a database."""
    there = []
    if result.rows_present:
        there.append(f"{result.rows_present} rows")
    if result.objects_present:
        there.append(f"{result.objects_present} objects")
    err.print(
        f"{done} {result.rows} rows of {result.tables} tables and {result.objects} objects "
        f"({decimal(result.bytes)}) in {result.seconds:.1f} s"
        + (f"; {' and '.join(there)} were there already" if there else "")
    )
    if result.renamed is not None:
        old, new = result.renamed
        err.print(f"schema {old} is {new} here, also in the paths of objects")
    if result.unrelated:
        err.print(
            f"note: the store has {result.unrelated} other objects of this schema; if another "
            "database uses them, choose another store or schema for this one, since neither may "
            "remove what belongs to the other"
        )
    for row in result.kept:
        err.print(f"kept what is here of {plain(row)}")


@contextlib.contextmanager
def shown_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on a terminal, for what reports a step and how much of it is done.

    SIGTERM interrupts what is done meanwhile, so that no half of it stays behind.
    """
    bars = Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    tasks: dict[str, object] = {}
    with interrupted_by_sigterm(), bars:

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)  # type: ignore[arg-type]

        yield show
