"""The commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.database.settings import ServerAddress, Settings
from tests.pipeline.transfer.content import (
    content_of,
    n_rows,
    objects_of,
)
from tests.tiny_experiment import environment

pytestmark = pytest.mark.database


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the command line with settings in the environment."""
    from pipeline.cli.main import app

    def run(settings: Settings, *arguments: str, **variables: str) -> Any:
        for name, value in (environment(settings) | variables).items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(app, arguments)

    return run


def test_the_command_check_prints_what_is_wrong_and_fails(
    restored: Settings, command: Callable[..., Any]
) -> None:
    whole = command(restored, "database", "check")
    assert (whole.exit_code, whole.stdout) == (0, ""), whole.stderr
    assert "no problems" in whole.stderr
    next(Path(restored.store_root()).glob("_schema/*/scan/scan=sim/pupil_*.npy")).unlink()
    found = command(restored, "database", "check", "--quick", "--format", "json")
    assert found.exit_code == 1, found.stderr
    (problem,) = json.loads(found.stdout)
    assert (problem["kind"], problem["row"], problem["column"]) == (
        "missing",
        "Scan (scan=sim)",
        "pupil",
    )


def test_the_commands_backup_and_restore_say_what_they_did(
    filled: Settings, empty: Settings, command: Callable[..., Any], tmp_path: Path
) -> None:
    file = str(tmp_path / "all.zip")
    done = command(filled, "database", "backup", file)
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    assert f"{n_rows(filled)} rows and {len(objects_of(filled))} objects" in done.stderr
    assert command(filled, "database", "backup", file).exit_code == 1
    done = command(empty, "database", "restore", file)
    assert done.exit_code == 0, done.stderr
    assert f"schema {filled.schema_name} is {empty.schema_name} here" in done.stderr
    assert content_of(empty) == content_of(filled)


def test_the_command_copy_takes_the_password_from_a_file_and_shows_none(
    filled: Settings, empty: Settings, command: Callable[..., Any], tmp_path: Path
) -> None:
    secret = ServerAddress.from_url(empty.database).password
    assert secret is not None
    password = secret.get_secret_value()
    (tmp_path / "password").write_text(f"{password}\n")
    without = empty.database.replace(f":{password}@", "@")
    assert without != empty.database
    done = command(
        filled,
        *("database", "copy", "--to", without, "--to-schema", empty.schema_name),
        *("--to-store", str(empty.store)),
        NEUROTEACH_TARGET_PASSWORD_FILE=str(tmp_path / "password"),
    )
    assert done.exit_code == 0, done.stderr
    assert password not in done.output
    assert content_of(empty) == content_of(filled)
    refused = command(filled, "database", "copy", "--to", without)
    assert refused.exit_code == 2
    assert "--to-store" in refused.output
    nonsense = command(filled, "database", "copy", "--to", "x://y:secret@z", "--to-store", "same")
    assert nonsense.exit_code == 1
    assert "--to: expected" in nonsense.stderr
    assert "secret" not in nonsense.output
