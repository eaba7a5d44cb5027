"""The whole road on a real recording and real images, as the documentation types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app

pytestmark = pytest.mark.database


@pytest.mark.timeout(900)
def test_the_documented_commands_end_in_tables_and_figures(
    v4_file: Path, data_folder: Path, database_url: str, tmp_path: Path
) -> None:
    environment = {
        "NEUROTEACH_HOME": str(tmp_path),
        "NEUROTEACH_DATABASE": database_url,
        "NEUROTEACH_SCHEMA": "li2019_smoke",
        "NEUROTEACH_DEVICE": "cpu",
    }

    def neuroteach(*arguments: str | Path) -> str:
        done = CliRunner().invoke(app, [str(a) for a in arguments], env=environment)
        assert done.exit_code == 0, (done.stderr, done.exception)
        return done.stdout

    neuroteach(
        "import",
        "scan",
        v4_file,
        "--name",
        "v4-210325",
        "--test-images",
        "100",
        "--species",
        "macaque",
        "--area",
        "V4",
    )
    for name in ("sensorium_sota_model", "sensorium_p_sota_model"):
        neuroteach("import", "encoder", data_folder / "mouse_v1_sensorium" / f"{name}.pth")
    archive = data_folder / "tiny_imagenet" / "tiny_imagenet_50.tar"
    neuroteach("import", "stimuli", archive, "--number", "100", "--name", "tiny-imagenet")
    archive = data_folder / "cifar10" / "cifar10_jpegs.tar.xz"
    neuroteach("import", "images", archive, "--name", "cifar10-grey", "--grey")
    neuroteach("experiment", "add", "li2019", "--scale", "smoke")
    neuroteach("populate", "--experiment", "li2019", "--quiet")

    noise = json.loads(neuroteach("results", "noise", "--format", "json"))
    assert {(row["teacher"], row["brain"]) for row in noise} == {
        ("none", ""),
        ("neural_model", "mouse V1"),
        ("vgg_untrained", "mouse V1"),
        ("neural_model", "macaque V4"),
        ("oracle", "macaque V4"),
    }
    assert {row["level"] for row in noise} == {0, 0.1, 0.3}
    assert all(row["n_images"] == 200 and not row["simulated"] for row in noise)

    (similarity,) = json.loads(neuroteach("results", "similarity", "--format", "json"))
    # What single trials are worth does not depend on the encoder, so it is pinned.
    assert similarity["data_correlation"] == pytest.approx(0.527, abs=1e-3)
    assert similarity["oracle_ceiling"] == pytest.approx(0.889, abs=1e-3)
    assert similarity["n_images"] == 100

    attacked = json.loads(neuroteach("results", "adversarial", "--format", "json"))
    assert {row["norm"] for row in attacked} == {"L2", "Linf"}
    assert all(row["n_images"] == 10 for row in attacked)
    layers = json.loads(neuroteach("results", "layers", "--format", "json"))
    # What a network sees before it is taught depends on its seed and the stimuli alone.
    (stem,) = (
        row
        for row in layers
        if not row["trained"]
        and row["statistics"] == "task"
        and (row["layer"], row["judge"], row["teacher"]) == ("stem", "mouse V1", "none")
    )
    assert stem["n_compared"] == 10

    for name in ("similarity", "teachers", "noise", "adversarial", "layers", "layer-weights"):
        figure = tmp_path / f"{name}.png"
        neuroteach("figure", name, "-o", figure)
        assert figure.stat().st_size > 10_000
