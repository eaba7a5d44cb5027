"""The commands about the database server: start it, reach it, share it, bring it up to date."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.database import database_app
from pipeline.cli.printing import err
from pipeline.cli.session import Session, embedded_stopped_by_the_last, reporting_errors
from pipeline.database.roles import Role
from pipeline.database.settings import SettingsError, load_settings, read_secret

GRANTED_PASSWORD = "NEUROTEACH_GRANTED_PASSWORD"


def _embedded() -> Any:
    from pipeline.database.opening import embedded_server

    server = embedded_server(load_settings())
    if server is None:
        raise SettingsError(
            "NEUROTEACH_DATABASE names a server, which is not this program's to start or stop"
        )
    return server


def _keep_running() -> None:
    marker = load_settings().database_is_kept
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()


@database_app.command("start")
@reporting_errors
def database_start() -> None:
    """Start the embedded database and leave it running, so that commands begin sooner.

    Example: `neuroteach database start`
    """
    server = _embedded()
    server.start()
    _keep_running()
    err.print("the database is running")


@database_app.command("stop")
@reporting_errors
def database_stop(
    force: Annotated[bool, typer.Option("--force", help="Cut open sessions.")] = False,
) -> None:
    """Stop the embedded database, unless someone is using it.

    Example: `neuroteach database stop`
    """
    load_settings().database_is_kept.unlink(missing_ok=True)
    result = _embedded().stop(force=force)
    err.print(str(result))
    if not result.stopped:
        raise typer.Exit(1)


@database_app.command("url")
@reporting_errors
def database_url() -> None:
    """Print what other programs need to connect, without a password.

    An embedded database is started for that, and its URL names the file that holds the password.

    Example: `psql "$(neuroteach database url)"`
    """
    from pipeline.database.opening import embedded_server

    settings = load_settings()
    server = embedded_server(settings)
    if server is None:
        sys.stdout.write(settings.server_address.url() + "\n")
        return
    s = server.start()
    _keep_running()
    address = s.address.model_copy(update={"passfile": str(server.passfile(s))})
    sys.stdout.write(address.url() + "\n")


@database_app.command("grant")
@reporting_errors
def database_grant(
    role: Annotated[Role, typer.Argument(help="What the user may do.")],
    user: Annotated[str, typer.Argument(help="Of the database server; made if it is new.")],
    run: Annotated[
        bool, typer.Option("--apply", help="Run the statements, rather than print them.")
    ] = False,
) -> None:
    """Print the SQL that makes a user an admin, a worker or a reader.

    It is for a superuser of the server: first for an admin, then for workers and readers. With
    `--apply` it is run as the user of NEUROTEACH_DATABASE, and the new user gets the password in
    NEUROTEACH_GRANTED_PASSWORD, or in the file that NEUROTEACH_GRANTED_PASSWORD_FILE names.

    Example: `neuroteach database grant reader alice | psql -h HOST -U postgres DATABASE`
    """
    from pipeline.database.opening import connect
    from pipeline.database.roles import apply, grant, set_password

    settings = load_settings()
    statements = grant(role, user, settings)
    if not run:
        sys.stdout.write("".join(f"{statement};\n" for statement in statements))
        how = {
            "postgresql": f"in psql by \\password {user}",
            "mysql": f"by ALTER USER '{user}'@'%' IDENTIFIED BY ... ACCOUNT UNLOCK",
        }
        err.print(f"then give {user} a password, {how[settings.server_address.backend]}")
        return
    password = read_secret(GRANTED_PASSWORD, os.environ)
    connection = connect(settings)
    try:
        apply(connection, statements)
        if password is not None:
            set_password(connection, user, password.get_secret_value())
    except Exception as error:
        raise RuntimeError(
            f"{settings.database_for_display}: {' '.join(str(error).split())}; only a superuser "
            "of the server may do this"
        ) from error
    finally:
        connection.close()
    err.print(f"{user} is {role.value} of {settings.schema_name}")


@database_app.command("upgrade")
@reporting_errors
def database_upgrade(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    backup: Annotated[
        Path | None, typer.Option(help="Where to save the backup; by default in the home folder.")
    ] = None,
    no_backup: Annotated[bool, typer.Option("--no-backup", help="Save none.")] = False,
) -> None:
    """Bring the tables of an earlier version up to date, after saving a backup.

    May be stopped and run again. No worker may be running meanwhile.

    Example: `neuroteach database upgrade --dry-run`
    """
    from pipeline.database import migrations
    from pipeline.database.opening import activation_lock, open_database
    from pipeline.transfer.operations import backup_database
    from schemas import tables
    from schemas.base import schema as bound

    settings = load_settings()
    with (
        embedded_stopped_by_the_last(settings),
        open_database(settings, create=False, any_version=True) as database,
    ):
        connection, catalogue = database.connection, bound.catalogue
        assert catalogue is not None
        version = migrations.current_version(catalogue) or 0
        todo = migrations.pending(version)
        if not todo:
            err.print(f"the tables are of version {version}, which is the latest here")
            return
        for migration in todo:
            err.print(f"{migration.number}: {migration.name}")
        if dry_run:
            err.print(f"{len(todo)} to do; nothing was changed")
            return
        if not no_backup:
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            name = f"before-{todo[-1].number}-{stamp}.zip"
            file = backup or settings.home / "backups" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            backup_database(database, file)
            err.print(f"backup in {file}")
        with activation_lock(connection):
            tables.activate_missing(catalogue)
            migrations.upgrade(
                catalogue, settings.store_root(), version, lambda line: err.print(f"  {line}")
            )
        err.print(f"the tables are of version {migrations.LATEST}")


@reporting_errors
def init() -> None:
    """Make the home folder and the database's tables.

    Example: `neuroteach init`
    """
    with Session() as database:
        settings = database.settings
        err.print(f"home      {settings.home}")
        err.print(f"database  {settings.database_for_display}")
        err.print(f"store     {settings.store}")
        if settings.embedded_folder is None and not settings.store_is_shared:
            err.print(
                "note: arrays and weights go to this machine's home; to share them set "
                "NEUROTEACH_STORE to a folder that all users of the server reach, or to "
                "s3://BUCKET/PREFIX"
            )
