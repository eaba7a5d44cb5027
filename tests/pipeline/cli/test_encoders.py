"""What `neuroteach import encoder` says of a file before any database is opened."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from pipeline.cli.main import app
from predictive_model.fits import published
from tests.plain_encoder import plain_encoder
from tests.predictive_model.fits.test_published import NEURONS, RECIPE, SCAN, SMALL


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(published.RECIPES, "small", RECIPE)
    model = plain_encoder(SCAN, NEURONS, **SMALL)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    return tmp_path / "model.pth"


def test_a_dry_run_reports_what_was_found(file):
    result = CliRunner().invoke(
        app,
        ["import", "encoder", str(file), "--recipe", "small", "--image-mean", "99", "--dry-run"],
    )
    assert result.exit_code == 0
    assert result.stderr == (
        "101-2-3: 5 neurons of mouse V1; 2 layers of 6 channels; images of 1 x 10 x 14, mean 99, "
        "standard deviation 65.2; no behaviour; no shifter\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--image-std", "0"), "image_std: 0.0, expected a finite number above 0"),
        (("--behaviour-mean", "1"), "behaviour_mean: [1.0], expected 0 finite numbers"),
        (("--recipe", "other"), "recipe: 'other', expected one of sensorium, small"),
        (("--recipe", "sensorium"), "not as recipe 'sensorium' has it: 'core.features.layer2"),
        (("--name", "a b"), "name: 'a b', expected only letters"),
    ],
)
def test_what_cannot_be_is_one_line(file, options, message):
    result = CliRunner().invoke(
        app, ["import", "encoder", str(file), "--recipe", "small", *options]
    )
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") and message in result.stderr
    assert len(result.stderr.splitlines()) == 1
