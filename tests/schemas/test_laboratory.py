"""DataJoint as a laboratory has set it up, which may be wrong, and is never ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas import base
from schemas.laboratory import without_variables_of_datajoint

# Each alone ends an import, or makes DataJoint refuse what we do, or is anybody's.
WRONG = {
    "DJ_PORT": "",
    "DJ_LOG_LEVEL": "LOUD",
    "DJ_THREAD_SAFE": "true",
    "WIDTH": "wide",
    "MPLBACKEND": "x",
}
ROOT = Path(__file__).parents[2]


def said_by(script: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DJ_")} | WRONG
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_variables_that_datajoint_cannot_read_are_named_and_left_out() -> None:
    said = said_by("import schemas.base, datajoint.settings as s; assert s.config.database.port")
    assert said.count("UserWarning") == 1
    assert "DJ_PORT=''" in said or "DJ_LOG_LEVEL='LOUD'" in said
    assert "neuroteach needs none of them" in said and "WIDTH" not in said


def test_commands_keep_out_what_is_meant_for_other_tables() -> None:
    script = (
        "import os; from pipeline.cli.lazy import ENVIRONMENT, load\n"
        "load('status', 'pipeline.cli.status:status'); import schemas.base\n"
        "there = {n: v for n, v in os.environ.items() if n.startswith(('DJ_', 'MPL'))}\n"
        "assert there == ENVIRONMENT"
    )
    assert said_by(script) == ""


def test_our_connections_have_settings_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**WRONG, "DJ_JOBS_KEEP_COMPLETED": "true", "DJ_HOST": "lab"}.items():
        monkeypatch.setenv(name, value)
    with without_variables_of_datajoint():
        config = base.dj.settings.Config()
    assert (config.database.host, config.jobs.keep_completed) == ("localhost", False)
    assert os.environ["DJ_HOST"] == "lab", "which is for the laboratory's own tables"
