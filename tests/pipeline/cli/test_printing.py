"""Tables for people."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from pipeline.cli import printing
from pipeline.cli.printing import Format, print_frame


def encoders() -> pd.DataFrame:
    row = {"scan": "a", "oracle": 0.45, "n_trials": 9}
    row |= {"feve": 0.31, "feve_low": 0.2, "feve_high": 0.4, "feve_ceiling": 1.0, "n_feve": 46}
    other = {"scan": "b", "n_trials": 9, "single_trial": 0.1234, "single_trial_ceiling": None}
    return pd.DataFrame([row | {"single_trial": 0.2861, "single_trial_ceiling": 0.5479}, other])


def test_a_score_and_its_ceiling_share_a_cell(tmp_path: Path) -> None:
    print_frame(encoders(), Format.table, tmp_path / "table.txt", title="Encoders")
    text = (tmp_path / "table.txt").read_text(encoding="utf-8")
    assert "0.286" in text and "of 0.548" in text and "of 1 " in text
    assert text.count("of ") == 2  # the other scan has no repeats, and so no ceiling
    assert "0.123" in text
    assert "nan" not in text.lower()
    assert not any(word in text for word in ("ceiling", "low", "high"))


def test_intervals_ceilings_and_counts_stand_in_csv(tmp_path: Path) -> None:
    print_frame(encoders(), Format.csv, tmp_path / "table.csv", title="Encoders")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), encoders())


def test_a_ceiling_of_something_else_is_left_alone(tmp_path: Path) -> None:
    frame = pd.DataFrame({"model_correlation": [0.3], "oracle_ceiling": [0.9], "n_images": [12]})
    print_frame(frame, Format.table, tmp_path / "table.txt", title="Similarity")
    text = (tmp_path / "table.txt").read_text(encoding="utf-8")
    assert all(word in text for word in ("ceiling", "0.9", "12"))


def spectra(n_rows: int) -> pd.DataFrame:
    """As wide as `neuroteach results spectra`, each number another one."""
    kinds = ("recorded", "oracle", "model")
    names = [f"{kind}_{what}" for what in ("sd", "range", "dimension") for kind in kinds]
    rows = [
        {"scan": f"scan-number-{i}", "status": "no repeats", "n_images": 1000 + i}
        | {name: 0.4001 + (100 * i + k) / 10_000 for k, name in enumerate(names)}
        for i in range(n_rows)
    ]
    return pd.DataFrame(rows)


def printed(frame: pd.DataFrame, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    page = Console(file=io.StringIO(), width=width)
    monkeypatch.setattr(printing, "out", page)
    print_frame(frame, Format.table, None, title="Spectra", caveat="the brain was simulated")
    return page.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("n_rows", [1, 3, 12])
def test_no_number_and_no_heading_is_cut_at_any_width(
    width: int, n_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = spectra(n_rows)
    text = printed(frame, width, monkeypatch)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for _, row in frame.iterrows():
        for value in row:
            said = f"{value:.4g}" if isinstance(value, float) else str(value)
            assert said in text
    for name in frame.columns:
        assert all(word in text for word in name.split("_"))
    assert text.count("Spectra") == text.count("the brain was simulated") == 1


def test_a_few_wide_rows_stand_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(spectra(2), 80, monkeypatch).splitlines()
    assert any("model dimension" in line and "0.4009" in line for line in lines)
    assert sum("scan-number-0" in line and "scan-number-1" in line for line in lines) == 1


def test_many_wide_rows_stand_under_each_other_and_each_says_what_its_values_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = spectra(12)
    lines = printed(frame, 80, monkeypatch).splitlines()
    for name in frame.columns:
        said = [line for line in lines if name.replace("_", " ") in line]
        assert len(said) == sum("scan-number-" in line for line in lines) < len(frame)
    (place,) = (i for i, line in enumerate(lines) if "scan-number-7" in line)
    column = lines[place].index("scan-number-7")
    assert [line[column:].split()[0] for line in lines[place : place + 4]] == [
        "scan-number-7",
        "no",
        "1007",
        "0.4701",
    ]


def test_sentences_are_wrapped_rather_than_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "what was found and what was expected and what is to be done about it"
    frame = spectra(1)[["scan", "model_sd"]].assign(title=sentence)
    lines = printed(frame, 80, monkeypatch).splitlines()
    assert any("scan-number-0" in line and "0.4003" in line for line in lines)
    assert all(any(word in line for line in lines) for word in sentence.split())


def test_brackets_are_printed_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"scan": ["[bold]a"], "value": [1.5]})
    assert "[bold]a" in printed(frame, 80, monkeypatch)


def found() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "scan": ["a", None],
            "n_images": pd.array([2**53 + 1, None], dtype="Int64"),
            "simulated": pd.array([True, None], dtype="boolean"),
            "computed": pd.to_datetime(["2026-01-31T14:00:01", None]),
            "feve": [0.1, None],
            "feve_ceiling": [1.0, None],
        }
    )


def test_parquet_keeps_types_and_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "found.parquet"
    print_frame(found(), Format.parquet, file, title="Found")
    pd.testing.assert_frame_equal(pd.read_parquet(file), found(), check_dtype=True)
    print_frame(found().head(1), Format.parquet, file, title="Found")
    assert len(pd.read_parquet(file)) == 1


def test_whole_numbers_stay_whole_where_some_are_missing(tmp_path: Path) -> None:
    file = tmp_path / "found"
    print_frame(found()[["n_images", "simulated"]], Format.csv, file, title="Found")
    assert file.read_text() == f"n_images,simulated\n{2**53 + 1},True\n,\n"
    print_frame(found()[["n_images"]], Format.json, file, title="Found")
    assert json.loads(file.read_text()) == [{"n_images": 2**53 + 1}, {"n_images": None}]
    print_frame(found(), Format.table, file, title="Found", whole=True)
    assert str(2**53 + 1) in file.read_text() and "NA" not in file.read_text()
    assert "NaT" not in file.read_text()


def test_infinite_numbers_are_said_in_json(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    frame = pd.DataFrame(
        {
            "distance": [math.inf, -math.inf, math.nan, 0.1],
            "rounded": pd.array([math.inf, None, 0.5, 1], dtype="Float64"),
            "curve": [[1.5, math.inf], {"last": -math.inf}, None, "text"],
            "n": pd.array([1, None, 3, 2**53 + 1], dtype="Int64"),
        }
    )
    before = frame.copy()
    print_frame(frame, Format.json, file, title="Found")
    rows = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert [row["distance"] for row in rows] == ["Infinity", "-Infinity", None, 0.1]
    assert [row["rounded"] for row in rows] == ["Infinity", None, 0.5, 1]
    assert [row["curve"] for row in rows][:2] == [[1.5, "Infinity"], {"last": "-Infinity"}]
    assert [row["curve"] for row in rows][2:] == [None, "text"]
    assert [row["n"] for row in rows] == [1, None, 3, 2**53 + 1]
    pd.testing.assert_frame_equal(frame, before)


def test_printing_is_imported_without_what_is_slow() -> None:
    command = "import sys, pipeline.cli.printing; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert {"torch", "pandas", "numpy"} & set(done.stdout.split()) == set()
    assert "rich" in done.stdout, done.stderr


def test_a_whole_table_has_every_column(tmp_path: Path) -> None:
    file = tmp_path / "found.txt"
    frame = found().head(1).assign(scan_hash="0123456789abcdef")
    print_frame(frame, Format.table, file, title="Found", whole=True)
    text = file.read_text(encoding="utf-8")
    assert all(said in text for said in ("simulated", "ceiling", "0123456789abcdef"))
    print_frame(frame, Format.table, file, title="Found")
    assert "simulated" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("format", [Format.parquet, Format.csv])
def test_a_file_that_cannot_be_written_whole_is_left_as_it_was(
    format: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "found"
    print_frame(found(), format, file, title="Found")
    before = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        print_frame(found().head(1), format, file, title="Found")
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["found"]
    with pytest.raises(FileNotFoundError, match="no such folder"):
        print_frame(found(), format, tmp_path / "nowhere" / "found", title="Found")


def test_a_link_goes_on_to_lead_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    print_frame(found(), Format.csv, tmp_path / "link", title="Found")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text().startswith("scan,")
