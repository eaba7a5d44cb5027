"""Print frames as tables for people, or as csv, json and parquet for programs."""

from __future__ import annotations

import enum
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

err = Console(stderr=True, highlight=False)
out = Console(highlight=False, soft_wrap=True)


class Format(enum.StrEnum):
    """How results are printed."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def plain(text: str) -> str:
    """Text in which rich finds no markup."""
    return text.replace("[", r"\[")


def print_frame(
    frame: pd.DataFrame, format: Format, output: Path | None, *, title: str, caveat: str = ""
) -> None:
    """Print a frame, or write it to a file; ``caveat`` is what must be said beside it."""
    if caveat and format is not Format.table:
        err.print(f"note: {caveat}")
    if format is Format.parquet:
        if output is None:
            raise typer.BadParameter(
                "parquet is not text; name a file with -o", param_hint="--format"
            )
        frame.to_parquet(output)
        return
    if format is Format.csv:
        text = frame.to_csv(index=False)
    elif format is Format.json:
        text = frame.to_json(orient="records", date_format="iso", double_precision=15, indent=1)
        text += "\n"
    else:
        console = Console(file=output.open("w"), width=160) if output else out
        console.print(_table(frame, title, caveat))
        return
    if output:
        output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


def _table(frame: pd.DataFrame, title: str, caveat: str) -> Table:
    import pandas as pd

    if "level" in frame and "accuracy" in frame:
        frame = _noise_table(frame)
    table = Table(title=title, caption=f"Note: {caveat}." if caveat else None)
    # What is the same in all rows, and the hashes, would only make the table wide.
    shown = [c for c in frame.columns if not c.endswith("_hash") or frame[c].nunique() > 1]
    for column in shown:
        numeric = pd.api.types.is_numeric_dtype(frame[column])
        table.add_column(str(column), justify="right" if numeric else "left", overflow="fold")
    for _, row in frame[shown].iterrows():
        table.add_row(*(_cell(v) for v in row))
    return table


def _noise_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Levels as columns, mean ± SEM in each cell."""
    import pandas as pd

    rows = []
    keys = ["image_set", "teacher", "alpha", "n_seeds", "training_hash", "noise_hash"]
    for values, group in frame.groupby(keys, sort=False):
        row = dict(zip(keys, values, strict=True))
        for level, mean, sem in group[["level", "accuracy", "sem"]].to_numpy():
            beside = "" if math.isnan(sem) else f" ± {sem:.3f}"
            row[f"{level:g}"] = f"{mean:.3f}{beside}"
        rows.append(row)
    return pd.DataFrame(rows)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return "" if value is None else plain(str(value))
