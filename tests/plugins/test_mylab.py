"""A real package of another laboratory is installed, and everything works with its parts."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.database.settings import Settings
from tests.tiny_experiment import REPOSITORY, environment, few_digits, tiny_recording

pytestmark = [pytest.mark.database, pytest.mark.timeout(900)]

PACKAGE = Path(__file__).with_name("mylab")
EXPERIMENT = """
title = "Parts of another laboratory"
recordings = ["sim"]
images = "digits"
teachers = ["none", "mylab_brightness"]
seeds = [0]
fit = { max_epochs = 1, batch_size = 16 }
network = { architecture = "mylab_net", width = 4 }
flips = { n_images = 30 }
noise = { levels = [0.0] }

[encoder.core]
layers = 2
input_kernel = 5
hidden_channels = 4

[training]
epochs = 1
batch_size = 32
augment = { flip = false }
regularizer = { method = "mylab_contrast", n_stimuli = 4 }

[[attacks]]
method = "pgd"
norm = "Linf"
n_images = 4
steps = [2]
step_sizes = [0.5]

[scales.smoke]
"""
# Runs commands, one after another, and says what each came to.
RUN = """
import json, sys
from typer.testing import CliRunner
from pipeline.cli.main import app

found = []
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, words)
    found.append({"code": done.exit_code, "out": done.stdout, "err": done.stderr})
print(json.dumps(found))
"""
LOAD = """
import neuroteach

with neuroteach.open_database():
    networks = neuroteach.tables.TrainedNetwork
    networks.load(networks.keys()[0])
"""


class Laboratory:
    """Processes in an environment that has the package, or not."""

    def __init__(self, settings: Settings, site: Path) -> None:
        self.settings, self.site = settings, site

    def python(self, script: str, *words: str, installed: bool) -> Any:
        path = [str(self.site), str(REPOSITORY)] if installed else [str(REPOSITORY)]
        return subprocess.run(
            [sys.executable, "-P", "-c", script, *words],
            env=environment(self.settings) | {"PYTHONPATH": ":".join(path)},
            cwd=self.settings.home,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def run(self, *commands: list[str], installed: bool = True) -> list[dict[str, Any]]:
        done = self.python(RUN, json.dumps(commands), installed=installed)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return found


@pytest.fixture
def lab(settings: Settings, tmp_path: Path) -> Laboratory:
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(PACKAGE, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, timeout=300)
    return Laboratory(settings, site)


def test_its_parts_are_trained_attacked_evaluated_drawn_passed_on_and_explained(
    lab: Laboratory, tmp_path: Path
) -> None:
    from pipeline.database.opening import open_database
    from schemas import recording, training

    with open_database(lab.settings):
        recording.Scan.add(tiny_recording(), source="test")
        training.ImageSet.add(few_digits(), source="test")
    file, figure, archive = (tmp_path / name for name in ("lab.toml", "flips.png", "lab.zip"))
    file.write_text(EXPERIMENT)
    done = lab.run(
        ["experiment", "add", str(file)],
        ["populate", "--quiet"],
        ["results", "flips", "--format", "csv"],
        ["results", "adversarial", "--format", "csv"],
        ["figure", "flips", "-o", str(figure)],
        ["export", "experiment", "lab", "-o", str(archive)],
        ["explain", "TrainedNetwork", "teacher=mylab_brightness", "--format", "json"],
    )
    assert [one["code"] for one in done] == [0] * 7, done
    rows = list(csv.DictReader(io.StringIO(done[2]["out"])))
    assert {row["teacher"] for row in rows} == {"none", "mylab_brightness"}
    assert {row["architecture"] for row in rows} == {"mylab_net"}
    assert all(0 <= float(row["agreement"]) <= 1 for row in rows)
    assert len(done[3]["out"].splitlines()) == 3
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert archive.stat().st_size > 0

    explained = json.loads(done[6]["out"])
    origins = {o["name"]: o for o in explained["values"]["origins"]}
    for name in ("mylab_net", "mylab_contrast"):
        origin = origins[name]
        assert (origin["distribution"], origin["version"]) == ("mylab-parts", "1.2")
        assert len(origin["digest"]) == 16
    assert '"name": "mylab_brightness"' in json.dumps(explained["sources"])
    assert_what_is_missing_is_said(lab)


def assert_what_is_missing_is_said(lab: Laboratory) -> None:
    """Where the package is not installed, what needs it says so, and all else works."""
    status, noise, flips = lab.run(
        ["status"], ["results", "noise"], ["results", "flips"], installed=False
    )
    assert (status["code"], noise["code"], flips["code"]) == (0, 0, 2)
    done = lab.python(LOAD, installed=False)
    assert "PartError: network 'mylab_net': no part of this name is installed" in done.stderr
    assert "mylab-parts 1.2" in done.stderr
