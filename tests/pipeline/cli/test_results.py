"""`neuroteach results` and `neuroteach figure`, also where there is nothing to show."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from tests.pipeline.cli.invoked import Run, one_line_error


@pytest.mark.database
def test_an_unknown_experiment_is_one_line(run_with_database: Run) -> None:
    for command in (("results", "noise"), ("figure", "noise", "-o", "a.png")):
        message = one_line_error(run_with_database(*command, "--experiment", "dream"))
        assert message == "experiment: dream is not in the database, which has none"


@pytest.mark.database
def test_results_alone_are_on_standard_output(planned: Run, tmp_path: Path) -> None:
    note = "nothing computed yet; run `neuroteach populate`\n"
    for name in ("noise", "encoders", "similarity", "stability", "spectra"):
        result = planned("results", name)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", note)
        result = planned("results", name, "--format", "json")
        assert (result.exit_code, json.loads(result.stdout), result.stderr) == (0, [], note)
        result = planned("results", name, "--format", "csv")
        frame = pd.read_csv(io.StringIO(result.stdout))
        assert (len(frame), result.stderr) == (0, note)
        assert {"simulated"} <= set(frame.columns)
    listed = json.loads(planned("experiment", "list", "-f", "json").stdout)
    assert [(e["experiment"], e["scale"], e["title"]) for e in listed] == [
        ("study", "smoke", "a study")
    ]
    output = tmp_path / "list.parquet"
    result = planned("experiment", "list", "-f", "parquet", "-o", output)
    assert (result.exit_code, result.stdout) == (0, "")
    assert pd.read_parquet(output)["experiment"].tolist() == ["study"]
    assert planned("experiment", "list", "-f", "parquet").exit_code == 2


@pytest.mark.database
def test_an_experiment_without_networks_has_no_noise_and_says_so(
    planned: Run, study: Path, tmp_path: Path
) -> None:
    study.write_text('title = "encoders"\nrecordings = ["simulated"]\n[scales.smoke]\n')
    assert planned("experiment", "add", study, "--name", "fits").exit_code == 0
    said = "experiment fits tests no network under noise; give it teachers, and no empty list noise"
    assert planned("results", "noise", "-e", "fits").stderr == said + "\n"
    figure = planned("figure", "noise", "-e", "fits", "-o", tmp_path / "noise.png")
    assert one_line_error(figure) == said
    assert "populate" in planned("results", "encoders", "-e", "fits").stderr


@pytest.mark.database
def test_where_nothing_is_planned_results_say_what_to_do(run_with_database: Run) -> None:
    said = "nothing planned yet; run `neuroteach experiment add`\n"
    assert run_with_database("results", "encoders").stderr == said


def test_the_command_lists_the_figures_that_there_are(run: Run) -> None:
    from pipeline.results.registry import figures

    result = run("figure")
    assert (result.exit_code, result.stdout) == (0, "")
    listed = [line.split()[0] for line in result.stderr.splitlines()]
    assert listed == sorted(figures()) and {"noise", "filters"} <= set(listed)
