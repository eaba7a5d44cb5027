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
        "101-2-3: 5 neurons of mouse V1; 2 layers of 6 channels, kernels 5, 3, ELU, "
        "depth-separable, not padded, last read out; images of 1 x 10 x 14, mean 99, standard "
        "deviation 65.2; no behaviour; no shifter\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--image-std", "0"), "image_std: 0.0, expected a finite number above 0"),
        (("--behaviour-mean", "1"), "behaviour_mean: [1.0], expected 0 finite numbers"),
        (("--recipe", "other"), "recipe: 'other', expected one of sensorium, small"),
        (("--recipe", "none.toml"), "recipe: none.toml: no such file"),
        (("--height", "4"), "exceeds the image of 4 x 14"),
        (("--scan", "b"), "scan: 'b', expected one of 101-2-3"),
        (("--member", "b"), "member: 'b', expected none, since"),
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


def test_a_recipe_of_one_s_own_is_a_toml_file(file, tmp_path):
    recipe = tmp_path / "ours.toml"
    recipe.write_text(
        "\ufeffimage_shape = [1, 20, 30]\nimage_mean = 110\nimage_std = 60\narea = 'V4'\n"
        "[config.core]\npad_input = true\n",
        encoding="utf-8",
    )
    command = ["import", "encoder", str(file), "--recipe", str(recipe), "--dry-run"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0 and "5 neurons of V4" in result.stderr
    assert "padded" in result.stderr and "not padded" not in result.stderr
    assert "images of 1 x 20 x 30, mean 110, standard deviation 60" in result.stderr
    recipe.write_text("image_shape = [1, 20, 30]\nimage_mean = 110\nimage_sd = 60\n[config]\n")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "ours.toml: image_std: Field required; image_sd: Unexpected" in result.stderr
