"""The notebooks of the documentation run from top to bottom, and show what their text claims."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

REPOSITORY = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((REPOSITORY / "docs").glob("*.ipynb"))


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each code cell of a notebook prints, run in an empty folder."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(folder))
    notebook = nbformat.read(REPOSITORY / "docs" / f"{name}.ipynb", as_version=4)
    NotebookClient(
        notebook,
        timeout=540,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return ["".join(o.get("text", "") for o in cell.outputs) for cell in cells]


def test_these_are_the_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["denoise-your-recording", "query-your-results"]


@pytest.mark.timeout(600)
def test_denoised_responses_are_nearer_to_the_truth_than_trials_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = run("denoise-your-recording", tmp_path, monkeypatch)
    (last,) = [text for text in printed if text.startswith("correlation with the noise-free")]
    single, denoised = map(float, re.findall(r"\d\.\d+", last))
    assert denoised > single + 0.15
    (quality,) = [text for text in printed if "ceiling" in text and "model" in text]
    data, model, ceiling = map(float, re.findall(r"\d\.\d+", quality))
    assert data + 0.05 < model < ceiling


@pytest.mark.timeout(600)
@pytest.mark.database
def test_results_of_a_tiny_experiment_can_be_queried_and_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = "\n".join(run("query-your-results", tmp_path, monkeypatch))
    assert "'TrainedNetwork': 6, 'NoiseAccuracy': 6}\n0 failed" in printed
    assert "the brain was simulated" in printed
    (line,) = re.findall(r"accuracy: (.*)", printed)
    assert len(set(re.findall(r"\d\.\d+", line))) == 1  # by row, by frame, of the network itself
    steps = ("TrainedNetwork", "Teacher", "PredictedResponses", "FittedEncoder", "Scan")
    nested = "".join(
        rf"(?m:^{'   ' * depth}{step}\b.*\n)(?:.*\n)*?" for depth, step in enumerate(steps)
    )
    assert re.search(nested, printed)
    assert "6 networks" in printed  # in a table of the reader's own
    assert "the database is stopped" in printed


def test_a_notebook_stores_what_it_prints_and_no_path_of_a_machine() -> None:
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        assert any(cell.get("outputs") for cell in notebook.cells)
        text = path.read_text()
        assert str(Path.home()) not in text
        assert os.sep + "tmp" + os.sep not in text
