"""`neuroteach experiment add`: mistakes in files, scales, and plans."""

from __future__ import annotations

import json
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


HYPOTHESIS = """
[[hypotheses]]
name = "longer is better"
measure = "noise"
level = 0.1
first = { kind = "none", training = { epochs = 2 } }
second = "none"
direction = "greater"
smallest_effect = 0.02
"""


@pytest.mark.database
def test_hypotheses_are_planned_for_hidden_and_peeked_at(
    run_with_database: Run, study: Path
) -> None:
    run = run_with_database
    teachers = 'teachers = ["none", { kind = "none", training = { epochs = 2 } }]'
    text = STUDY.replace('teachers = ["none"]', teachers).replace("seeds = [0]", "seeds = [0, 1]")
    study.write_text(text.replace('recordings = ["simulated"]', "") + HYPOTHESIS)
    assert run("import", "images", "digits", "--size", "8").exit_code == 0

    given = run("experiment", "power", study, "--sd", "0.02", "-f", "json")
    (power,) = json.loads(given.stdout)
    assert (power["seeds"], power["seeds_to_support"], power["seeds_to_refute"]) == (2, 8, 8)
    assert one_line_error(run("experiment", "power", study, "--sd", "-1")).startswith("sd: -1")
    unknown = one_line_error(run("experiment", "power", study, "--pilot", "dream"))
    assert unknown == "experiment: dream is not in the database, which has none"

    wrong = study.with_name("wrong.toml")
    wrong.write_text(study.read_text().replace("level = 0.1", "level = 0.7"))
    said = one_line_error(run("experiment", "add", wrong))
    assert said.startswith("hypotheses.0: level: 0.7, expected one of those of the file, 0, 0.02")
    assert one_line_error(run("results", "hypotheses", "-e", "wrong")).endswith("which has none")

    assert run("experiment", "add", study).exit_code == 0
    assert run("experiment", "power", "study", "--sd", "0.02").exit_code == 0
    for options in ((), ("--peek",)):
        shown = run("results", "hypotheses", "-e", "study", *options, "-f", "json")
        (row,) = json.loads(shown.stdout)
        assert (row["verdict"], row["n"], row["effect"]) == ("incomplete", 0, None)
        assert row["peeked"] is None, "nothing was there to be seen"
        assert row["missing"] == "first: seeds 0, 1; second: seeds 0, 1"
