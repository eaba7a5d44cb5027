"""Writes docs/tables.md from the definitions of the tables; needs no database.

    python docs/draw_tables.py

A new table appears by running this again: everything is read from ``definition`` and the first
line of the docstring of each class that the modules of ``schemas`` declare.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import schemas
from schemas import base
from schemas.base import dj

PAGE = Path(__file__).resolve().parent / "tables.md"
TIERS = {
    base.RunningState: "running",
    dj.Manual: "manual",
    dj.Lookup: "settings",
    dj.Computed: "computed",
}
# `-> Table`, `-> Table.Part`, `-> [nullable] Table` or `-> Table.proj(...)`.
REFERENCE = re.compile(r"->\s*(?:\[[^\]]*\]\s*)?(\w+(?:\.(?!proj\b)\w+)?)")

INTRODUCTION = """\
# Tables

Written by `python docs/draw_tables.py` from the definitions in `schemas/`; do not edit by hand.
`neuroteach query TABLE --list` lists the columns of a table.

An arrow leads from a table to those that refer to it: solid where the reference is a part of the
primary key, dotted where it is not or where a part table holds it. Rounded tables are entered
(inputs and plans, and what workers say of what is running), boxes are settings, keyed by a hash of
their content, and double boxes are computed by `neuroteach populate`.

## What is computed from what

Without the tables of settings, and without the plans that say which combinations are wanted.
"""


@dataclass(frozen=True)
class Table:
    """One table with its parts, as its class defines it."""

    name: str
    tier: str
    module: ModuleType
    summary: str
    parts: tuple[str, ...]
    key: tuple[str, ...]  # tables that the primary key refers to
    others: tuple[str, ...]  # tables that other columns or the parts refer to

    @property
    def is_plan(self) -> bool:
        """Whether it says which rows of another table are wanted."""
        return self.name.endswith("Plan")


def tables() -> list[Table]:
    """All tables, module by module, each module after those that its tables refer to."""
    for module in pkgutil.walk_packages(schemas.__path__, "schemas."):
        importlib.import_module(module.name)
    found = [_described(declared[0]) for declared in base.schema.declare_list]
    module_of = {table.name: table.module.__name__ for table in found}
    above: dict[str, set[str]] = {module: set() for module in module_of.values()}
    for table in found:
        named = {name.partition(".")[0] for name in (*table.key, *table.others)}
        above[table.module.__name__] |= {module_of[name] for name in named if name in module_of}

    def depth(module: str) -> int:
        return 1 + max((depth(other) for other in above[module] - {module}), default=0)

    return sorted(found, key=lambda t: (depth(t.module.__name__), t.module.__name__))


def page() -> str:
    """Content of docs/tables.md."""
    found = tables()
    computed = [t for t in found if t.tier in ("manual", "computed") and not t.is_plan]
    sections = [INTRODUCTION, _diagram(computed, computed)]
    for module in dict.fromkeys(t.module for t in found):
        own = [t for t in found if t.module is module]
        title = _first_line(module).rstrip(".").partition(":")[0]
        lines = [f"| {t.name} | {t.tier} | {_cell(t)} |" for t in own]
        sections += [
            f"## {title}\n\n`{module.__name__}`\n",
            _diagram(own, found),
            "| table | kind | what a row is |\n|---|---|---|\n" + "\n".join(lines) + "\n",
        ]
    return "\n".join(sections)


def _described(table: type[dj.Table]) -> Table:
    key, _, others = _definition(table).partition("---")
    parts = {n: v for n, v in vars(table).items() if inspect.isclass(v) and issubclass(v, dj.Part)}
    of_parts = [name for part in parts.values() for name in _references(_definition(part))]
    primary = [name for name in _references(key) if name != table.__name__]
    secondary = [n for n in (*_references(others), *of_parts) if n not in (*primary, "master")]
    return Table(
        name=table.__name__,
        tier=next(name for kind, name in TIERS.items() if issubclass(table, kind)),
        module=importlib.import_module(table.__module__),
        summary=_first_line(table),
        parts=tuple(parts),
        key=tuple(dict.fromkeys(primary)),
        others=tuple(dict.fromkeys(secondary)),
    )


def _definition(table: type[dj.Table]) -> str:
    definition = table.definition if isinstance(table.definition, str) else table().definition
    return "\n".join(line.partition("#")[0] for line in definition.splitlines())


def _references(definition: str) -> list[str]:
    return REFERENCE.findall(definition)


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def _cell(table: Table) -> str:
    parts = f" Parts: {', '.join(table.parts)}." if table.parts else ""
    return table.summary.replace("|", "\\|") + parts


def _diagram(own: list[Table], among: list[Table]) -> str:
    """A Mermaid diagram of tables and of those, among others, that they refer to."""
    known = {t.name: t for t in among}
    edges: list[str] = []
    shown = {t.name for t in own}
    for table in own:
        for names, arrow in ((table.key, "-->"), (table.others, "-.->")):
            masters = dict.fromkeys(name.partition(".")[0] for name in names)
            wanted = [m for m in masters if m in known and m != table.name]
            edges += [f"    {m} {arrow} {table.name}" for m in wanted]
            shown.update(wanted)
    rounded = ("([", "])")
    brackets = {
        "manual": rounded,
        "running": rounded,
        "settings": ("[", "]"),
        "computed": ("[[", "]]"),
    }
    nodes = []
    for name in (n for n in known if n in shown):
        left, right = brackets[known[name].tier]
        nodes.append(f'    {name}{left}"{name}"{right}')
    return "\n".join(["```mermaid", "flowchart LR", *nodes, *edges, "```", ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
