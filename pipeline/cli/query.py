"""``neuroteach query`` and ``neuroteach explain``: what is in the database, and where from."""

from __future__ import annotations

import enum
import io
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pipeline.cli.options import Output, Printed
from pipeline.cli.printing import PAGE_WIDTH, Format, err, out, plain, print_frame, print_text
from pipeline.cli.session import Session, reporting_errors
from predictive_model.parts import Origin

if TYPE_CHECKING:
    from rich.tree import Tree

    from pipeline.query.provenance import Node

LONGEST_DOCUMENT = 160  # characters of JSON in a tree


class TreeFormat(enum.StrEnum):
    """How a tree is printed."""

    tree = "tree"
    json = "json"


@reporting_errors
def query(
    tables: Annotated[
        list[str] | None,
        typer.Argument(help="Tables to join, such as Scan or TrainedNetwork.Epoch."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            "-w",
            help="Only rows with this, such as 'alpha >= 0.1', 'seed in 0, 1', 'source like "
            "%.nwb' or 'similarity_loss is null'; repeat it for rows that meet several.",
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", "-c", help="Separated by commas; all by default.")
    ] = None,
    sort: Annotated[
        list[str] | None,
        typer.Option("--sort", help="A column, or 'COLUMN desc'; repeat it to sort by several."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Most rows.")] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List tables, or the columns of those named.")
    ] = False,
    format: Printed = Format.table,
    output: Output = None,
) -> None:
    """Print rows of any tables, joined on the keys that they share.

    Arrays and files are not read: csv, json and parquet say where in the store they are.

    Example: `neuroteach query TrainedNetwork TeacherConfig --where "teacher = neural_model"
    --columns teacher,seed,test_accuracy`
    """
    from pipeline.query import rows as queries

    names = tables or []
    if not names and not listed:
        raise typer.BadParameter("name a table; `neuroteach query --list` lists them")
    if listed:
        with Session():
            frame = queries.described(names)
        if not names and format is Format.table:
            frame = queries.summary(frame)
        elif format is Format.table:
            frame = frame.drop(columns="description")
        print_frame(frame, format, output, title="Tables", whole=True)
        return
    with Session():
        for note in queries.join(names).notes:
            err.print(f"note: {plain(note)}")
        frame = queries.query(
            names,
            where or (),
            _separated(columns) if columns is not None else None,
            sort=sort or (),
            limit=limit,
            paths=format is not Format.table,
        )
    if frame.empty:
        err.print("no rows")
        if format is Format.table and output is None:
            return
    title = names[0] if len(names) == 1 else ""
    print_frame(frame, format, output, title=title, whole=True)


def _separated(columns: str) -> list[str]:
    names = [name.strip() for name in columns.split(",")]
    if not all(names):
        raise typer.BadParameter(f"{columns!r} has an empty name", param_hint="--columns")
    return names


@reporting_errors
def explain(
    table: Annotated[str, typer.Argument(help="Such as TrainedNetwork.")],
    key: Annotated[
        list[str] | None,
        typer.Argument(help="Which row of it: COLUMN=VALUE, also of tables that it refers to."),
    ] = None,
    format: Annotated[TreeFormat, typer.Option("--format", "-f")] = TreeFormat.tree,
    output: Output = None,
) -> None:
    """Say what made a row, and all that it was computed from, down to recordings and images.

    Example: `neuroteach explain TrainedNetwork teacher=neural_model seed=0`
    """
    from pipeline.query.provenance import provenance

    with Session():
        node = provenance(table, key or ())
    if format is TreeFormat.json:
        text = json.dumps(node.to_dict(), indent=1, ensure_ascii=False) + "\n"
    elif output is None:
        out.print(_tree(node))
        return
    else:
        text = _as_text(_tree(node))
    print_text(text, output)


def _as_text(tree: Tree) -> str:
    page = Console(file=io.StringIO(), width=PAGE_WIDTH, highlight=False)
    page.print(tree)
    return str(page.file.getvalue())  # type: ignore[attr-defined]


def _tree(node: Node) -> Tree:
    from rich.tree import Tree

    tree = Tree(_label(node))
    tree.children += map(_tree, node.sources)
    return tree


def _label(node: Node) -> str:
    heading = f"[bold]{node.table}[/bold] {plain(_listed(node.key, '='))}"
    if node.role:
        heading += f"  ({plain(node.role)})"
    if node.above:
        return f"{heading}  as above"
    if node.missing:
        return f"{heading}  [red]was deleted[/red]"
    lines = [_listed(node.values), *(_document(n, v) for n, v in node.documents.items() if v)]
    for stored in node.stored:
        about = ", ".join(filter(None, [stored.shown, stored.checksum, stored.path]))
        lines.append(f"{stored.column}: {about}")
    if node.parts:
        lines.append("parts: " + ", ".join(f"{n} {name}" for name, n in node.parts.items()))
    if node.made:
        lines.append(f"made: {_listed(node.made)}")
    return "\n".join([heading, *(plain(line) for line in lines if line)])


def _listed(row: dict[str, Any], between: str = " ") -> str:
    said = {
        name: f"{value:.4g}" if isinstance(value, float) else str(value).strip()
        for name, value in row.items()
    }
    return ", ".join(f"{name}{between}{value}" for name, value in said.items() if value)


def _document(name: str, value: Any) -> str:
    """JSON in short: without what is unset, and cut where it is long."""
    if name == "origins":
        whose = {o["name"]: Origin(o["distribution"], o["version"], o["digest"]) for o in value}
        return "origins: " + ", ".join(f"{part} of {origin}" for part, origin in whose.items())
    if isinstance(value, list) and isinstance(value[0], dict):
        return f"{name}: {len(value)} records"
    if isinstance(value, dict):
        value = {k: v for k, v in value.items() if v not in (None, "", [], {})}
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > LONGEST_DOCUMENT:
        text = text[: LONGEST_DOCUMENT - 4] + " ..."
    return f"{name}: {text}"
