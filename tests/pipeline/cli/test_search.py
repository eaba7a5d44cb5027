"""`neuroteach search`: what becomes of a file that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.cli.invoked import Run, one_line_error


def test_the_best_settings_replace_a_file_only_when_asked_to(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import nullcontext

    from pipeline.cli import search as cli_search
    from pipeline.search import running as search

    monkeypatch.setattr(cli_search, "Session", nullcontext)
    monkeypatch.setattr(search, "best_experiment", lambda name: f"title = {name!r}")
    output = tmp_path / "best.toml"
    output.write_text("mine")
    refused = run("search", "best", "core", "-o", output)
    assert "best.toml: is there already" in one_line_error(refused)
    assert output.read_text() == "mine"
    assert run("search", "best", "core", "-o", output, "--overwrite").exit_code == 0
    assert output.read_text() == "title = 'core'"
