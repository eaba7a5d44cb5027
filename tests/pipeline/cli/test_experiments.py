"""`neuroteach experiment add`: mistakes in files, scales, and plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.cli.invoked import STUDY, Run, one_line_error


def test_a_missing_experiment_file_is_one_line(run: Run, tmp_path: Path) -> None:
    message = one_line_error(run("experiment", "add", tmp_path / "none.toml"))
    assert message == f"{tmp_path / 'none.toml'}: no such file; expected an experiment file (TOML)"


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("[training]", "[training", "not valid TOML"),
        ("scales.smoke", "scales.tiny", "scale 'smoke' is not among ['tiny']"),
        ("epochs = 1", "epoch = 1", "training.epoch: Extra inputs are not permitted"),
        ("epochs = 1", "epochs = 0", "training.epochs: "),
        ('["none"]', '["all"]', "teacher 'all': no part of this name is installed"),
    ],
)
def test_a_mistake_in_an_experiment_file_is_one_line(
    run: Run, study: Path, old: str, new: str, message: str
) -> None:
    study.write_text(STUDY.replace(old, new))
    said = one_line_error(run("experiment", "add", study, "--scale", "smoke"))
    assert said.startswith(str(study))
    assert message in said


@pytest.mark.database
def test_an_experiment_without_its_scan_is_one_line_that_says_how_to_add_it(
    run_with_database: Run, study: Path
) -> None:
    message = one_line_error(run_with_database("experiment", "add", study, "--scale", "smoke"))
    assert message == (
        "scan: simulated not in the database, which has none; add it with `neuroteach import "
        "scan` first"
    )


@pytest.mark.database
def test_an_experiment_is_planned_once(planned: Run, study: Path) -> None:
    again = planned("experiment", "add", study, "--scale", "smoke")
    assert (again.exit_code, again.stderr) == (0, "was planned already\n")
    study.write_text(STUDY.replace("epochs = 1", "epochs = 2"))
    changed = planned("experiment", "add", study, "--scale", "smoke")
    assert "give this one another name with --name" in one_line_error(changed)
    assert planned("experiment", "add", study, "-s", "smoke", "--name", "other").exit_code == 0


@pytest.mark.parametrize(
    ("scales", "read"), [(("tiny",), "tiny"), (("tiny", "small"), "small"), (("paper",), "paper")]
)
def test_without_a_scale_small_or_the_only_one_is_read(
    run: Run, study: Path, scales: tuple[str, ...], read: str
) -> None:
    wrong = STUDY.replace("epochs = 1", "epochs = 0")
    study.write_text(wrong.replace("[scales.smoke]", "\n".join(f"[scales.{s}]" for s in scales)))
    said = one_line_error(run("experiment", "add", study))
    assert said.startswith(f"{study}, scale {read}: training.epochs: ")


def test_of_several_scales_without_small_one_has_to_be_chosen(run: Run, study: Path) -> None:
    study.write_text(STUDY + "[scales.paper]\n")
    said = one_line_error(run("experiment", "add", study))
    assert said == f"{study}: has the scales smoke, paper; choose by --scale NAME"
