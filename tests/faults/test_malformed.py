"""Configurations, files and conditions that are wrong in ways that nobody thought of."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.database.opening import Database
from pipeline.database.settings import Settings
from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import read_experiment
from pipeline.query.rows import QueryError, query
from pipeline.transfer.operations import backup_database, import_archive
from predictive_model.recordings.recording import RecordingError
from schemas import tables as registry
from tests.tiny_experiment import REPOSITORY, environment, plan

N = 50
EXAMPLES = settings(
    max_examples=N,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
DEMO = (REPOSITORY / "experiments" / "demo.toml").read_text()
LINES = [i for i, line in enumerate(DEMO.splitlines()) if "=" in line and line[0] != "#"]
WRONG = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["-1", "nan", "1e400", "[]", "{}", '"', "true", "''", "'../../x'", "0x", "[[",
                     "'; DROP TABLE scan; --'", "99999999999999999999", "'\\u0000'"]),
)  # fmt: skip


def everything(database: Database) -> tuple[int, int]:
    rows = sum(len(table()) for table in registry.all_tables())
    return rows, sum(1 for path in database.settings.store.rglob("*") if path.is_file())


@pytest.fixture
def unchanged(database: Database) -> Any:
    """Says whether rows and objects are as they were."""
    plan()
    before = everything(database)
    return lambda: everything(database) == before


def test_malformed_experiments(
    database: Database, unchanged: Any, tmp_path: Path, report: Callable[..., None]
) -> None:
    file, seen = tmp_path / "wrong.toml", {"refused": 0, "right": 0}

    @EXAMPLES
    @given(line=st.sampled_from(LINES), value=WRONG)
    def try_one(line: int, value: str) -> None:
        lines = DEMO.splitlines()
        name = lines[line].split("=")[0]
        lines[line] = f"{name}= {value}"
        file.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        try:
            read_experiment(file, "smoke")
            seen["right"] += 1  # as of a title that may be anything
        except ExperimentError as error:
            assert str(error).strip() and "\n\n" not in str(error)
            seen["refused"] += 1

    try_one()
    assert unchanged()
    report(
        f"{N} malformed experiment files (property-based)",
        "error of the right type, nothing written",
        f"{seen['refused']} refused, {seen['right']} were right after all; nothing written",
    )


def test_malformed_recordings(
    database: Database,
    unchanged: Any,
    settings: Settings,
    tmp_path: Path,
    report: Callable[..., None],
) -> None:
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        images=rng.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8),
        image_index=np.arange(20),
        responses=rng.random((20, 3)).astype(np.float32),
    )
    good = buffer.getvalue()
    file = tmp_path / "wrong.npz"
    codes = []

    @EXAMPLES
    @given(start=st.integers(0, len(good) - 1), junk=st.binary(max_size=60), cut=st.booleans())
    def try_one(start: int, junk: bytes, cut: bool) -> None:
        file.write_bytes(good[:start] + junk + (b"" if cut else good[start + len(junk) + 1 :]))
        from predictive_model.importers import read_recording

        try:
            read_recording(file, name="wrong")
            codes.append(0)
        except (RecordingError, ValueError, OSError) as error:
            assert str(error)
            codes.append(1)

    try_one()
    file.write_bytes(good[: len(good) // 2])  # of the last one tried nobody knows
    done = CliRunner().invoke(
        app, ["import", "scan", str(file), "--name", "wrong"], env=environment(settings)
    )
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert unchanged()
    report(
        f"{N} damaged recordings (property-based)",
        "error of the right type, nothing written",
        f"{sum(codes)} refused, {codes.count(0)} readable after all; nothing written",
    )


def test_malformed_conditions(
    database: Database, unchanged: Any, report: Callable[..., None]
) -> None:
    columns = ["scan", "n_neurons", "simulated", "imported", "no_such", "responses", '"scan"']
    seen = {"refused": 0, "answered": 0}

    @EXAMPLES
    @given(
        column=st.sampled_from(columns),
        operator=st.sampled_from(["=", "!=", "<", "like", "in", "is", "; DROP TABLE", "= 1 OR"]),
        value=WRONG,
    )
    def try_one(column: str, operator: str, value: str) -> None:
        try:
            query("Scan", [f"{column} {operator} {value}"])
            seen["answered"] += 1
        except QueryError as error:
            assert str(error)
            seen["refused"] += 1

    try_one()
    assert unchanged()
    report(
        f"{N} malformed conditions, SQL among them (property-based)",
        "error of the right type, nothing changed",
        f"{seen['refused']} refused, {seen['answered']} answered as plain values; nothing changed",
    )


def test_damaged_archives(
    database: Database, unchanged: Any, tmp_path: Path, report: Callable[..., None]
) -> None:
    whole, file = tmp_path / "whole.zip", tmp_path / "wrong.zip"
    backup_database(database, whole)
    good = whole.read_bytes()
    refused = 0

    @EXAMPLES
    @given(at=st.integers(0, len(good) - 1), flip=st.integers(1, 255), cut=st.booleans())
    def try_one(at: int, flip: int, cut: bool) -> None:
        nonlocal refused
        changed = good[:at] + (b"" if cut else bytes([good[at] ^ flip]) + good[at + 1 :])
        file.write_bytes(changed)
        try:
            import_archive(database, file)
        except (ValueError, OSError, RuntimeError, LookupError) as error:
            assert str(error)
            refused += 1

    try_one()
    assert unchanged()
    report(
        f"{N} damaged archives (property-based)",
        "error of the right type, nothing written",
        f"{refused} refused, {N - refused} differ where nothing is said; nothing written",
    )


def test_the_example_that_is_spoilt_is_right_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "right.toml").write_text(DEMO)
    assert tomllib.loads(DEMO)
    assert read_experiment(tmp_path / "right.toml", "smoke").title
