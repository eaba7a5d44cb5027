"""Print frames as tables for people, or as csv, json and parquet for programs."""

from __future__ import annotations

import enum
import io
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

err = Console(stderr=True, highlight=False, soft_wrap=True)
# Where nobody looks on, there is no width to keep to but that of a page.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


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
        table = _table(frame, title, caveat)
        if output is None:
            out.print(table)
            return
        page = Console(file=io.StringIO(), width=160)
        page.print(table)
        text = page.file.getvalue()  # type: ignore[attr-defined]
    if output:
        output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


def _table(frame: pd.DataFrame, title: str, caveat: str) -> Table:
    import pandas as pd

    if "level" in frame and "accuracy" in frame and len(frame):
        frame = _noise_table(frame)
    frame = _scores_of_ceilings(frame)
    table = Table(title=title, caption=f"Note: {caveat}." if caveat else None)
    # Hashes that are the same in all rows, and what the note says, would only make it wide.
    shown = [c for c in frame.columns if c != "simulated" and not _dull_hash(frame, str(c))]
    for column in shown:
        numeric = pd.api.types.is_numeric_dtype(frame[column])
        # Words of a heading may stand under each other.
        table.add_column(str(column).replace("_", " "), justify="right" if numeric else "left")
    for _, row in frame[shown].iterrows():
        table.add_row(*(_cell(v) for v in row))
    return table


def _dull_hash(frame: pd.DataFrame, column: str) -> bool:
    return column.endswith("_hash") and frame[column].nunique() <= 1


def _scores_of_ceilings(frame: pd.DataFrame) -> pd.DataFrame:
    """Each score and its ceiling in one cell; what else there is stands in csv, json, parquet."""
    ceilings = [str(c) for c in frame.columns if str(c).endswith("_ceiling")]
    scores = [s for s in (c.removesuffix("_ceiling") for c in ceilings) if s in frame]
    if not scores:
        return frame
    frame = frame.copy()
    for score in scores:
        pairs = frame[[score, f"{score}_ceiling"]].astype(float).to_numpy()
        frame[score] = [
            "" if math.isnan(value) else f"{value:.3f}" + ("" if math.isnan(c) else f"\nof {c:.3g}")
            for value, c in pairs
        ]
    beside = {f"{s}_{end}" for s in scores for end in ("low", "high", "ceiling")}
    beside |= {f"n_{s}" for s in scores} | {"n_trials", "n_images", "n_epochs", "fit_seconds"}
    return frame.drop(columns=[c for c in frame.columns if c in beside])


def _noise_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each level, a column for each teacher, mean ± SEM in the cells."""
    import pandas as pd

    keys = [c for c in frame.columns if c not in ("level", "accuracy", "sem")]
    several = frame["image_set"].nunique() > 1
    columns: dict[str, dict[str, str]] = {}
    for values, group in frame.groupby(keys, sort=False):
        condition = dict(zip(keys, values, strict=True))
        teacher, alpha, n = condition["teacher"], condition["alpha"], condition["n_seeds"]
        name = f"{condition['image_set']} {teacher}" if several else str(teacher)
        name += f" (alpha {alpha:g}, n = {n})" if alpha else f" (n = {n})"
        if name in columns:
            name += f" {len(columns) + 1}"
        columns[name] = {
            f"{level:g}": f"{mean:.3f}" + ("" if math.isnan(sem) else f" ± {sem:.3f}")
            for level, mean, sem in group[["level", "accuracy", "sem"]].to_numpy()
        }
    levels = sorted({level for cells in columns.values() for level in cells}, key=float)
    rows = [
        {"noise": level, **{name: cells.get(level, "") for name, cells in columns.items()}}
        for level in levels
    ]
    return pd.DataFrame(rows)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return "" if value is None else plain(str(value))
