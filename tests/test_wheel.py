"""A wheel, installed where there is no checkout, does the main job."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from pipeline.database.settings import Settings
from tests.tiny_experiment import REPOSITORY, environment

pytestmark = [pytest.mark.database, pytest.mark.timeout(900)]

DEMO = """
import sys
from typer.testing import CliRunner
from pipeline.cli.main import app

for words in (
    ["simulate", "--name", "simulated", "--images", "120"],
    ["import", "images", "digits"],
    ["experiment", "show"],
    ["experiment", "add", "demo", "--scale", "smoke"],
    ["populate", "--quiet"],
    ["results", "noise", "--format", "csv"],
    ["figure", "noise", "-o", "noise.png"],
):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (words, done.stderr)
    if words[0] == "results":
        sys.stdout.write(done.stdout)
"""


def test_the_demo_runs_from_a_wheel(settings: Settings, tmp_path: Path) -> None:
    wheels, home, empty = (tmp_path / name for name in ("wheels", "environment", "empty"))
    empty.mkdir()
    pip = [sys.executable, "-m", "pip"]
    options = ["--quiet", "--no-deps", "--no-build-isolation"]
    source = tmp_path / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    for name in filter(None, files):  # what is built beside the sources is not ours to leave there
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / name).is_file():
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    subprocess.run([*pip, "wheel", *options, "-w", str(wheels), str(source)], check=True)
    (wheel,) = wheels.glob("neuroteach-*.whl")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", *options, str(wheel)], check=True)
    # What it depends on is taken from here, in place of gigabytes; a checkout that is installed
    # here is not, since only its own start-up file leads to it.
    site = next((home / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    variables = {k: v for k, v in environment(settings).items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-P", "-c", f"import pipeline; print(pipeline.__file__)\n{DEMO}"],
        cwd=empty,
        env=variables | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site))
    assert "neural_model" in done.stdout and (empty / "noise.png").stat().st_size > 0
    assert (home / "bin" / "neuroteach").is_file()
