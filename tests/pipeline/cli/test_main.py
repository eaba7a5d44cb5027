"""The command line: exit codes, what goes to which stream, and messages of one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from pipeline.cli.main import app
from tests.pipeline.cli.invoked import Run, one_line_error


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Words of every command below this one, or of this one if it is no group."""
    if not isinstance(command, TyperGroup):
        yield path
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*path, name))


COMMANDS = sorted(leaves(typer.main.get_command(app)))


# -- help and wrong use ------------------------------------------------------------------------


def test_there_is_a_command_for_every_step() -> None:
    first = {command[0] for command in COMMANDS}
    steps = {
        "init",
        "import",
        "export",
        "simulate",
        "experiment",
        "populate",
        "status",
        "results",
        "figure",
    }
    assert steps | {"database", "delete", "explain", "query", "search", "worker"} <= first


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_shows_an_example_of_itself(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stderr == ""
    _, _, example = result.stdout.partition("Example")
    assert f"neuroteach {' '.join(command)}" in example


def test_help_needs_neither_torch_nor_datajoint() -> None:
    script = (
        "import sys, pipeline.cli.main; print({'torch', 'datajoint', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("populate", "--wrong"),
        ("populate", "--workers", "0"),
        ("results", "noise", "--format", "xml"),
        ("figure", "nothing", "-o", "a.png"),
        ("figure", "noise"),
        ("import", "scan"),
        ("simulate", "--neurons", "many"),
        ("simulate", "--images", "30", "--repeated", "30"),
        ("dance",),
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2_and_computes_nothing(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr
    assert not (tmp_path / "home").exists()


# -- mistakes that need no database to be found ------------------------------------------------


@pytest.mark.parametrize(
    "variable, value",
    [("DATABASE", "sqlite:brain"), ("SCHEMA", "Not One"), ("DEVICE", "abacus")],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"NEUROTEACH_{variable}", value)
    message = one_line_error(run("status"))
    assert message.startswith(f"{variable.lower()}: ")
    assert f"NEUROTEACH_{variable}" in message


def test_a_server_that_is_not_ours_is_neither_started_nor_stopped(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROTEACH_DATABASE", "postgresql://me:hush@lab.example/brain")
    for command in ("start", "stop"):
        message = one_line_error(run("database", command))
        assert "not this program's to start or stop" in message
        assert "hush" not in message


# -- with a database ---------------------------------------------------------------------------


@pytest.mark.database
def test_an_unreachable_server_is_one_line_without_its_password(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://me:hush@/brain?host={tmp_path}"
    monkeypatch.setenv("NEUROTEACH_DATABASE", url)
    message = one_line_error(run("status"))
    assert "cannot connect" in message
    assert "hush" not in message


@pytest.mark.database
def test_a_dry_run_says_what_is_missing_and_how_long_it_takes_where_that_is_known(
    planned: Run,
) -> None:
    result = planned("populate", "--dry-run")
    missing = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert missing["FittedEncoder"] == "1 to compute, unknown"
    assert "is not known" in result.stderr and "about" not in result.stderr
    planned("populate", "--quiet")  # computes the reliability, and fails at the encoder
    result = planned("populate", "--dry-run")
    assert "Reliability" not in result.stdout
    assert "1 to compute, unknown" in result.stdout


@pytest.mark.database
def test_failures_end_populate_with_1_and_stand_in_the_status(planned: Run) -> None:
    result = planned("populate", "--quiet")
    assert (result.exit_code, result.stdout) == (1, "")
    # What else is there comes from DataJoint, which logs errors to standard error.
    lines = result.stderr.splitlines()[-5:]
    assert lines[0].startswith("failed: FittedEncoder {'scan': 'simulated', 'encoder_hash': ")
    assert lines[2].startswith("failed: TrainedNetwork {'image_set': 'digits', ")
    assert lines[1].strip() == lines[3].strip() == "ValueError: the brain [bold]is tired"
    assert lines[4].startswith("2 failed; fix the cause, then")
    status = planned("status", "--format", "json")
    assert status.exit_code == 0
    found = json.loads(status.stdout)
    assert set(found) == {"database", "tables", "workers", "failures", "inputs"}
    table = {row["table"]: row for row in found["tables"]}
    done = {"table": "Reliability", "done": 1, "total": 1, "reserved": 0, "failed": 0}
    assert table["Reliability"] == done
    assert table["FittedEncoder"]["failed"] == table["TrainedNetwork"]["failed"] == 1
    assert [(f["table"], f["n"], f["message"]) for f in found["failures"]] == [
        (name, 1, "ValueError: the brain [bold]is tired")
        for name in ("FittedEncoder", "TrainedNetwork")
    ]
    assert found["workers"] == []
    assert found["inputs"] == {"scans": ["simulated"], "image sets": ["digits"]}
    said = planned("status")
    assert "simulated" in said.stderr and "digits" in said.stderr
    assert "failed: FittedEncoder, 1 of them: ValueError: the brain [bold]is tired" in said.stderr
    (row,) = [line for line in said.stdout.splitlines() if "Reliability" in line]
    assert [word for word in row.split() if word.isdigit()] == ["1", "1", "0", "0"]
    again = planned("populate", "--quiet")
    assert again.exit_code == 1, "failures stand until they are mended"
    assert "is tired" not in again.stderr.split("failed:")[0], "nor are they tried again unasked"
    retried = planned("populate", "--quiet", "--retry")
    assert retried.exit_code == 1
    assert "2 failed computations will be tried again" in retried.stderr
    for command in (
        ("status",),
        ("populate",),
        ("populate", "--workers", "2"),
        ("populate", "--retry"),
    ):
        refused = planned(*command, "--experiment", "typo")
        assert "experiment: typo is not in the database" in one_line_error(refused)
