"""Commands that are run in this process, without a database or with one of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipeline.cli.main import app
from pipeline.database.settings import Settings
from tests.pipeline.cli.invoked import STUDY, Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process; errors of our own making are not swallowed."""
    monkeypatch.setenv("NEUROTEACH_HOME", str(tmp_path / "home"))
    for name in ("DATABASE", "STORE", "SCHEMA", "DEVICE", "IMAGES"):
        monkeypatch.delenv(f"NEUROTEACH_{name}", raising=False)

    def invoke(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def run_with_database(run: Run, with_tables: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same with an empty database."""
    monkeypatch.setenv("NEUROTEACH_HOME", str(with_tables.home))
    monkeypatch.setenv("NEUROTEACH_DATABASE", with_tables.database)
    monkeypatch.setenv("NEUROTEACH_SCHEMA", with_tables.schema_name)
    monkeypatch.setenv("NEUROTEACH_DEVICE", "cpu")
    return run


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def planned(run_with_database: Run, study: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A database with inputs and a planned experiment whose computations all fail."""
    run = run_with_database
    size = ("--images", "40", "--repeated", "12", "--repeats", "3", "--height", "18")
    for command in (
        ("simulate", "--neurons", "5", *size, "--width", "32"),
        ("import", "images", "digits", "--size", "8"),
        ("experiment", "add", study, "--scale", "smoke"),
    ):
        done = run(*command)
        assert done.exit_code == 0, done.output
    from predictive_model.fits import fitting
    from regularized_training import training

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError("the brain [bold]is tired")

    monkeypatch.setattr(fitting, "fit", fail)
    monkeypatch.setattr(training, "train", fail)
    return run
