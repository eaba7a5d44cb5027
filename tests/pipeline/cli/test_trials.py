"""Trials of people from the command line: imported, refused, printed, drawn and deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.cli.invoked import Run, one_line_error

HEADER = "subj,session,trial,rt,object_response,category,condition,imagename\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people and a network, two conditions of thirty images; people take bears for cats."""
    found = tmp_path / "contrast-experiment"
    found.mkdir()
    for who in ("subject-01", "subject-02", "vgg"):
        lines = []
        for i in range(60):
            condition, category = ("c05", "c50")[i % 2], ("cat", "dog", "bear")[i // 2 % 3]
            answer = "na" if i == 57 else "cat" if who == "vgg" or category == "bear" else category
            name = f"{i:04d}_con_s01_{condition}_{category}_10_n02123045_{i // 2}.png"
            lines.append(f"{who},1,{i},0.5,{answer},{category},{condition},{name}\n")
        (found / f"contrast-experiment_{who}_session_1.csv").write_text(HEADER + "".join(lines))
    return found


@pytest.mark.database
def test_trials_are_imported_once_and_deleted(run_with_database: Run, folder: Path) -> None:
    command = ("import", "trials", folder, "--licence", "CC BY 4.0")
    said = " ".join(run_with_database(*command, "--dry-run").stderr.split())
    assert "contrast: 180 trials of 2 people and 1 networks in 2 conditions: c05, c50;" in said
    assert "3 without an answer" in said
    assert run_with_database(*command).stderr.split()[-1] == "imported"
    assert "was there already" in run_with_database(*command).stderr
    asked = ("query", "Psychophysics.Trial", "-w", "observer = vgg", "-w", "answer = na")
    assert "c50" in run_with_database(*asked, "--format", "csv").stdout
    gone = run_with_database("delete", "trials", "contrast", "--yes").stderr
    assert "180 of Psychophysics.Trial" in gone and "1 of Psychophysics" in gone
    assert "contrast is not in the database" in one_line_error(
        run_with_database("delete", "trials", "contrast", "--yes")
    )


def test_what_is_no_trials_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    message = one_line_error(run("import", "trials", tmp_path / "wrong.csv", "--dry-run"))
    assert "lacks the columns subj, session" in message
    assert "no such file or folder" in one_line_error(run("import", "trials", tmp_path / "none"))


@pytest.mark.database
def test_results_of_people_are_printed_and_drawn(
    run_with_database: Run, folder: Path, tmp_path: Path
) -> None:
    run = run_with_database
    assert (
        "no trials of people yet; run `neuroteach import trials`" in run("results", "people").stderr
    )
    assert run("import", "trials", folder, "--name", "grey").exit_code == 0
    printed = run("results", "people", "--format", "csv").stdout.splitlines()
    assert printed[0].startswith("trials,manipulation,condition,accuracy,accuracy_low")
    # Of thirty images, ten are of bears, and to one of a dog nobody answered.
    assert [line.split(",")[:4] for line in printed[1:]] == [
        ["grey", "contrast", "c05", str(20 / 30)],
        ["grey", "contrast", "c50", str(19 / 30)],
    ]
    file = tmp_path / "people.png"
    assert run("figure", "people", "-o", file).exit_code == 0 and file.stat().st_size > 10_000
    refused = run("results", "people", "--experiment", "li2019")
    assert "li2019 is not in the database" in one_line_error(refused)
