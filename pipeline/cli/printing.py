"""Print frames as tables for people, or as csv, json and parquet for programs."""

from __future__ import annotations

import enum
import io
import math
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from predictive_model.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

PAGE_WIDTH = 200  # where no terminal sets one

err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, width=None if sys.stdout.isatty() else PAGE_WIDTH)

# These say which row it is, and are repeated where a table is divided.
IDENTIFYING = frozenset(
    ("experiment", "scale", "scan", "encoder_hash", "fit_hash", "seed", "noise", "number", "table")
)


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
    frame: pd.DataFrame,
    format: Format,
    output: Path | None,
    *,
    title: str,
    caveat: str = "",
    table: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    whole: bool = False,
) -> None:
    """Print a frame, or write it to a file, which is there whole or as it was before.

    ``caveat`` is what must be said beside it; ``table`` makes of it what people read. ``whole``
    keeps every column as it is in a table too.

    Raises
    ------
    FileNotFoundError
        If the folder of the file is missing.
    """
    if caveat and format is not Format.table:
        err.print(f"note: {caveat}")
    if format is Format.parquet:
        if output is None:
            raise typer.BadParameter(
                "parquet is not text; name a file with -o", param_hint="--format"
            )
        buffer = io.BytesIO()
        frame.to_parquet(buffer)
        _write(output, buffer.getvalue())
        return
    if format is Format.csv:
        text = frame.to_csv(index=False)
    elif format is Format.json:
        text = frame.to_json(orient="records", date_format="iso", double_precision=15, indent=1)
        text += "\n"
    else:
        page = out if output is None else Console(file=io.StringIO(), width=PAGE_WIDTH)
        shown = frame if table is None or frame.empty else table(frame)
        for part in _tables(shown, title, caveat, page.width, whole):
            page.print(part)
        if output is None:
            return
        text = page.file.getvalue()  # type: ignore[attr-defined]
    if output:
        write_text(output, text)
    else:
        sys.stdout.write(text)


def write_text(path: Path, text: str) -> None:
    """Write a file whole, or leave what is there.

    Raises
    ------
    FileNotFoundError
        If its folder is missing.
    """
    _write(path, text.encode())


def _write(path: Path, content: bytes) -> None:
    if path.exists() and not path.is_file():
        path.write_bytes(content)  # /dev/stdout and pipes cannot be replaced
        return
    path = path.resolve()  # of a link: the file that it leads to
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder; make it first")
    write_whole(path, content)


@dataclass(frozen=True)
class _Column:
    """A heading, whose words may stand under each other, and a cell for each row."""

    name: str
    cells: tuple[str, ...]
    numeric: bool

    @property
    def heading(self) -> str:
        return self.name.replace("_", " ")

    def width(self, most: int | None = None) -> int:
        """Characters that it needs; words in cells may be broken at ``most``, numbers never."""
        cells = max((len(line) for cell in self.cells for line in cell.splitlines()), default=0)
        if most is not None and not self.numeric:
            cells = min(cells, most)
        return max([cells, *(len(word) for word in self.heading.split())])


def _tables(frame: pd.DataFrame, title: str, caveat: str, width: int, whole: bool) -> list[Table]:
    """One table if it fits; else one with a column for each row, or several with fewer columns."""
    columns = _columns(frame, whole)
    most = max(width // 3, 16)  # longer than any number
    blocks = [columns]
    if _total(columns) <= width:
        most = width
    elif _total(columns, most) > width:
        turned = _transposed(columns)
        fits = len(frame) > 0 and _total(turned, most) <= width
        blocks = [turned] if fits else _blocks(columns, width, most)
    tables = [_table(block, most) for block in blocks]
    tables[0].title = title
    tables[-1].caption = f"Note: {caveat}." if caveat else None
    return tables


def _columns(frame: pd.DataFrame, whole: bool) -> list[_Column]:
    import pandas as pd

    shown = list(frame.columns)
    if not whole:
        frame = _scores_of_ceilings(frame)
        # Hashes that are the same in all rows, and what the note says, would only make it wide.
        shown = [c for c in frame.columns if c != "simulated" and not _dull_hash(frame, str(c))]
    columns = []
    for name in shown:
        cells = tuple(_cell(value) for value in frame[name])
        numeric = pd.api.types.is_numeric_dtype(frame[name])
        columns.append(_Column(str(name), cells, numeric))
    return columns


def _total(columns: Sequence[_Column], most: int | None = None) -> int:
    """Characters across, with a line and two blanks beside each column."""
    return sum(column.width(most) + 3 for column in columns) + 1


def _transposed(columns: Sequence[_Column]) -> list[_Column]:
    """A column for each row; the names stand at the side."""
    rows = zip(*(column.cells for column in columns), strict=True)
    names = _Column("", tuple(column.heading for column in columns), numeric=True)
    values = [
        _Column("", tuple(cell.replace("\n", " ") for cell in row), numeric=False) for row in rows
    ]
    return [names, *values]


def _blocks(columns: Sequence[_Column], width: int, most: int) -> list[list[_Column]]:
    """Columns beside each other as far as they fit, each time after those that identify a row."""
    fixed: list[_Column] = []
    for column in [c for c in columns if c.name in IDENTIFYING] or columns[:1]:
        if not fixed or _total([*fixed, column], most) <= width // 2:
            fixed.append(column)
    blocks: list[list[_Column]] = []
    block = list(fixed)
    for column in columns:
        if column in fixed:
            continue
        if len(block) > len(fixed) and _total([*block, column], most) > width:
            blocks.append(block)
            block = list(fixed)
        block.append(column)
    return [*blocks, block]


def _table(columns: Sequence[_Column], most: int) -> Table:
    table = Table(show_header=any(column.heading for column in columns))
    for column in columns:
        width = column.width(most)
        table.add_column(
            plain("\n".join(textwrap.wrap(column.heading, width))),
            justify="right" if column.numeric else "left",
            min_width=width,
            max_width=width,
            overflow="fold",
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(plain, row))
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


def _cell(value: Any) -> str:
    import pandas as pd

    if value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return "" if value is None else str(value)
