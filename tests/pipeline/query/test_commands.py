"""The commands `neuroteach query` and `neuroteach explain`, asked of a tiny experiment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli import query as cli_query
from pipeline.database.opening import Database
from pipeline.database.settings import Settings

# What all of them read is computed once, as `filled`.
pytestmark = [
    pytest.mark.database,
    pytest.mark.xdist_group("query"),
    pytest.mark.usefixtures("opened"),
]


@pytest.fixture
def run(filled: Settings, opened: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    opened.close()
    for name in ("home", "database", "store"):
        monkeypatch.setenv(f"NEUROTEACH_{name.upper()}", str(getattr(filled, name)))
    monkeypatch.setenv("NEUROTEACH_SCHEMA", filled.schema_name)
    app = typer.Typer()
    app.command()(cli_query.query)
    app.command()(cli_query.explain)
    yield lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


TAUGHT = ("TrainedNetwork", "TeacherConfig", "--columns", "teacher, seed,weights")


def test_a_query_is_printed_in_every_format(run: Any, tmp_path: Path) -> None:
    found = run("query", *TAUGHT, "-w", "teacher = neural_model", "-f", "json")
    assert found.exit_code == 0, found.stderr
    rows = json.loads(found.stdout)
    assert [(r["teacher"], r["seed"]) for r in rows] == [("neural_model", 0), ("neural_model", 1)]
    assert list(rows[0]) == ["teacher", "seed", "weights", "weights.path"]
    found = run("query", *TAUGHT, "--sort", "seed desc", "--limit", 1, "-f", "csv")
    assert found.stdout.splitlines()[0] == "teacher,seed,weights,weights.path"
    assert found.stdout.splitlines()[1].split(",")[1] == "1"
    table = run("query", *TAUGHT)
    assert "neural_model" in table.stdout and "path" not in table.stdout
    file = tmp_path / "found.parquet"
    assert run("query", *TAUGHT, "-f", "parquet", "-o", file).exit_code == 0
    assert str(pd.read_parquet(file)["seed"].dtype) == "Int64"
    assert run("query", *TAUGHT, "-f", "parquet").exit_code == 2


def test_a_query_that_finds_nothing_says_so_and_keeps_its_columns(run: Any) -> None:
    found = run("query", "Scan", "-w", "scan = other", "-c", "scan,n_neurons", "-f", "csv")
    assert (found.exit_code, found.stdout) == (0, "scan,n_neurons\n")
    assert "no rows" in found.stderr


def test_wrong_use_is_told_in_a_line(run: Any) -> None:
    assert run("query").exit_code == 2
    assert run("query", "Scan", "-c", "scan,,source").exit_code == 2
    found = run("query", "Scan", "-w", "scan")
    assert (found.exit_code, found.stdout) == (1, "")
    assert len(found.stderr.splitlines()) == 1
    found = run("explain", "TrainedNetwork", "seed=9")
    assert (found.exit_code, found.stdout) == (1, "")


def test_tables_are_listed(run: Any) -> None:
    assert "TrainedNetwork.Epoch" in run("query", "--list").stdout
    found = run("query", "Scan", "--list", "-f", "json")
    assert {"column": "scan", "key": True}.items() <= json.loads(found.stdout)[0].items()


def test_a_tree_is_printed_for_people_and_for_programs(run: Any, tmp_path: Path) -> None:
    which = ("explain", "TrainedNetwork", "teacher=neural_model", "seed=0")
    tree = run(*which)
    assert tree.exit_code == 0, tree.stderr
    for said in ("Scan scan=sim", "as above", "made: package_version", "float32 (96, 10)"):
        assert said in tree.stdout
    file = tmp_path / "tree.txt"
    assert run(*which, "-o", file).stdout == ""
    assert file.read_text(encoding="utf-8") == tree.stdout
    found = json.loads(run(*which, "-f", "json").stdout)
    assert (found["table"], found["key"]["seed"]) == ("TrainedNetwork", 0)
    assert found["stored"]["weights"]["size"] > 0
    assert found["values"]["layers"]
