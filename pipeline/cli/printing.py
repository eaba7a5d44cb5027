"""Print frames as tables for people, or as csv, json and parquet for programs."""

from __future__ import annotations

import contextlib
import enum
import io
import math
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from predictive_model.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

PAGE_WIDTH = 200  # where no terminal sets one

err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, width=None if sys.stdout.isatty() else PAGE_WIDTH)


class Format(enum.StrEnum):
    """How results are printed."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def plain(text: str) -> str:
    """Text in which rich finds no markup."""
    return text.replace("[", r"\[")


@contextlib.contextmanager
def shown_notes() -> Iterator[None]:
    """Print what is warned of, such as how files were read, as lines for people."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for warning in seen:
                err.print(plain(f"note: {warning.message}"))


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
    keeps every column as it is in a table too. JSON has no infinite numbers: they become the texts
    "Infinity" and "-Infinity", and what is missing or not a number becomes null.

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
        text = _without_infinities(frame).to_json(
            orient="records", date_format="iso", double_precision=15, indent=1
        )
        text += "\n"
    else:
        page = out if output is None else Console(file=io.StringIO(), width=PAGE_WIDTH)
        shown = frame if table is None or frame.empty else table(frame)
        tables = list(_tables(shown if whole else _for_people(shown), page.width))
        tables[0].title = title
        tables[-1].caption = f"Note: {caveat}." if caveat else None
        page.print(*tables, sep="")
        if output is None:
            return
        text = page.file.getvalue()  # type: ignore[attr-defined]
    print_text(text, output)


def print_text(text: str, output: Path | None) -> None:
    """Write text to standard output, or to a file, which is there whole or as it was before.

    Raises
    ------
    FileNotFoundError
        If the folder of the file is missing.
    """
    if output is None:
        sys.stdout.write(text)
    else:
        _write(output, text.encode())


def _write(path: Path, content: bytes) -> None:
    if path.exists() and not path.is_file():
        path.write_bytes(content)  # /dev/stdout and pipes cannot be replaced
        return
    path = path.resolve()  # of a link: the file that it leads to
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder; make it first")
    write_whole(path, content)


class _Column(NamedTuple):
    """A heading, whose words may stand under each other, and a cell for each row."""

    name: str
    cells: tuple[str, ...]
    numeric: bool = False

    @property
    def width(self) -> int:
        lines = [line for cell in self.cells for line in cell.splitlines()]
        return max(map(cell_len, [*lines, *self.name.split()]), default=0)


def _tables(frame: pd.DataFrame, width: int) -> Iterator[Table]:
    """One table if it fits; else a column for each row, as many beside each other as fit."""
    import pandas as pd

    columns = [
        _Column(
            str(name).replace("_", " "),
            tuple(_cell(value) for value in frame[name]),
            pd.api.types.is_numeric_dtype(frame[name]),
        )
        for name in frame.columns
    ]
    if frame.empty or _fit(columns, width):
        yield _table(columns)
        return
    names = _Column("", tuple(column.name for column in columns))
    block = [names]
    for row in zip(*(column.cells for column in columns), strict=True):
        turned = _Column("", tuple(cell.replace("\n", " ") for cell in row))
        if len(block) > 1 and not _fit([*block, turned], width):
            yield _table(block)
            block = [names]
        block.append(turned)
    yield _table(block)


def _fit(columns: Sequence[_Column], width: int) -> bool:
    """Whether these fit, with a line and two blanks beside each, if rich folds what is wide.

    It makes the widest columns equally wide, which breaks none of less than `most` characters.
    """
    most = max(width // 3, 16)  # longer than any number
    return sum(min(column.width, most) + 3 for column in columns) < width


def _table(columns: Sequence[_Column]) -> Table:
    table = Table(show_header=any(column.name for column in columns))
    for column in columns:
        heading = "\n".join(textwrap.wrap(column.name, max(column.width, 1)))
        table.add_column(
            Text(heading), justify="right" if column.numeric else "left", overflow="fold"
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    return table


def _for_people(frame: pd.DataFrame) -> pd.DataFrame:
    """Without hashes that are the same in all rows, and what the note says, which make it wide."""
    frame = _scores_of_ceilings(frame)
    hashes = [c for c in frame.columns if str(c).endswith("_hash") and frame[c].nunique() <= 1]
    return frame.drop(columns=[*hashes, *({"simulated"} & set(frame.columns))])


def _without_infinities(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    spelled = {
        str(name): pd.Series(map(_spelled, frame[name]), frame.index, dtype=object)
        for name, kind in frame.dtypes.items()
        if pd.api.types.is_float_dtype(kind) or pd.api.types.is_object_dtype(kind)
    }
    return frame.assign(**spelled)


def _spelled(value: Any) -> Any:
    """A value with its infinite numbers as text, also those inside of lists and mappings."""
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _spelled(item) for key, item in value.items()}
    return [_spelled(item) for item in value] if isinstance(value, list | tuple) else value


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
