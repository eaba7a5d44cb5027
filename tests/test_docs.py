"""The documents agree with the code: links resolve, examples can be read, tables are all there."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import sys
import tomllib
import unicodedata
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import click
import nbformat
import pytest
import typer.main
from typer.core import TyperGroup

import neuroteach
from pipeline.cli.main import app
from pipeline.experiments.file import ExperimentSettings, read_experiment
from schemas import tables as registry
from tests.test_architecture import FILES, PACKAGES, REPOSITORY

TEXT = ("CHANGELOG.md", "CONTRIBUTING.md", "README.md", "benchmarks", "docker", "docs")
PAGES = sorted(
    page
    for root in (REPOSITORY / name for name in TEXT)
    for page in (root, *root.rglob("*"))
    if page.suffix in (".md", ".ipynb")
)
CODE = re.compile(r"^ *(```+).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# Of a file or folder of this repository, in the text.
FOLDERS = "|".join((*TEXT[3:], *PACKAGES, "experiments", "tests"))
QUOTED = re.compile(rf"`((?:{FOLDERS})/[\w./-]*)`")
# As code and experiment files name them: docs/PAGE.md, without a fragment.
NAMED = re.compile(r"\bdocs/[\w./-]+?\.(?:md|ipynb|py)\b")


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@cache
def text_of(page: Path) -> str:
    if page.suffix == ".md":
        return page.read_text(encoding="utf-8")
    cells = nbformat.read(page, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@cache
def anchors_of(page: Path) -> set[str]:
    """What GitHub makes of the headings: lower case, without punctuation, hyphens for blanks."""
    found: dict[str, int] = {}
    anchors = set()
    for heading in re.findall(r"^#+ +(.*?) *$", CODE.sub("", text_of(page)), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        letters = "".join(c for c in plain if c in " -_" or unicodedata.category(c)[0] in "LN")
        anchor = letters.replace(" ", "-")
        n = found[anchor] = found.get(anchor, -1) + 1
        anchors.add(f"{anchor}-{n}" if n else anchor)
    return anchors


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(CODE.sub("", text_of(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        known = target.exists() and target.is_relative_to(REPOSITORY)
        if not known or (fragment and fragment not in anchors_of(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_pages_name_are_there(page: Path) -> None:
    named = {name for name in QUOTED.findall(text_of(page)) if "NAME" not in name}
    assert {name for name in named if not (REPOSITORY / name).exists()} == set()


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [REPOSITORY / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        links = [unquote(link).partition("#")[0] for link in LINK.findall(text_of(page))]
        targets = [(page.parent / link).resolve() for link in links if link]
        waiting += [target for target in targets if target in PAGES]
    assert set(PAGES) - reached <= {REPOSITORY / "CHANGELOG.md"}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_that_pages_show_can_be_read_and_imports_what_is_there(page: Path) -> None:
    for code in blocks(page, "toml"):
        tomllib.loads(code)
    missing = []
    for code in python_of(page):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
                module = importlib.import_module(node.module or "")
                missing += [f"{node.module}.{n.name}" for n in node.names if not found(module, n)]
            elif isinstance(node, ast.Attribute):
                missing += unknown_names(ast.unparse(node))
    assert missing == []


def python_of(page: Path) -> list[str]:
    """Code that a page shows; of a notebook also its cells."""
    if page.suffix == ".md":
        return blocks(page, "python")
    cells = nbformat.read(page, as_version=4).cells
    magic = re.compile(r"^%.*$", re.MULTILINE)
    return [magic.sub("", cell.source) for cell in cells if cell.cell_type == "code"]


def unknown_names(written: str) -> list[str]:
    """What is asked of the module ``neuroteach``, or of its results or tables, and is not there."""
    if not re.fullmatch(r"[\w.]+", written):
        return []
    names = written.removeprefix("neuroteach.").split(".")
    if written.startswith("neuroteach.") and names[0] not in neuroteach.__all__:
        return [written]
    offered = {"results": neuroteach.results, "tables": neuroteach.tables}
    if len(names) == 2 and names[0] in offered and names[1] not in dir(offered[names[0]]):
        return [written]
    return []


def test_names_that_the_module_lacks_are_found() -> None:
    good = ("neuroteach.open_database", "neuroteach.results.noise", "tables.Scan", "other.thing")
    assert [name for name in good if unknown_names(name)] == []
    bad = ("neuroteach.nothing", "neuroteach.results.nothing", "results.nothing", "tables.Nothing")
    assert [name for name in bad if not unknown_names(name)] == []


def found(module: ModuleType, name: ast.alias) -> bool:
    if hasattr(module, name.name):
        return True
    return importlib.util.find_spec(f"{module.__name__}.{name.name}") is not None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_pages_show_have_these_options(page: Path) -> None:
    unknown = []
    for block in blocks(page, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            _, called, rest = line.partition("neuroteach ")
            if called and re.fullmatch(r"(\w+=\S+ )*| +", _):
                unknown += unknown_words(rest)
    assert unknown == []


def unknown_words(line: str) -> list[str]:
    """Subcommands and options of a call of ``neuroteach`` that it does not have."""
    words = iter(shlex.split(line, comments=True))
    command: Any = typer.main.get_command(app)
    options = set[str]()
    for word in words:
        if word in ("|", ";", "&&", ">") or "$" in word:
            break
        if word.startswith("-"):
            options.add(word)
        elif isinstance(command, TyperGroup):
            inner = command.get_command(click.Context(command), word)
            if inner is None:
                return [f"{word} in: {line}"]
            command = inner
    known = {o for param in command.params for o in param.opts} | {"--help", "-h"}
    return [f"{option} in: {line}" for option in options - known]


def test_pages_that_code_names_are_there() -> None:
    others = [*(REPOSITORY / "experiments").rglob("*.*"), *(REPOSITORY / "docker").rglob("*.*")]
    files = [REPOSITORY / file for file in FILES] + [f for f in others if f.is_file()]
    named = {n for f in files for n in NAMED.findall(f.read_text(encoding="utf-8"))}
    assert {name for name in named if not (REPOSITORY / name).exists()} == set()


def test_the_experiment_that_newcomers_read_can_be_planned(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "for-newcomers.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```", text, re.M | re.S)
    file = tmp_path / "first.toml"
    file.write_text(example)
    settings = read_experiment(file, "small")
    assert isinstance(settings, ExperimentSettings)
    assert [entry.kind for entry in settings.teachers] == ["none", "neural_model", "shuffle"]


@cache
def draw_tables() -> ModuleType:
    path = REPOSITORY / "docs" / "draw_tables.py"
    spec = importlib.util.spec_from_file_location("draw_tables", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_tables_is_up_to_date() -> None:
    page = (REPOSITORY / "docs" / "tables.md").read_text(encoding="utf-8")
    assert page == draw_tables().page(), "run `python docs/draw_tables.py`"


def test_the_page_of_tables_has_them_all_and_a_line_for_each() -> None:
    masters = [table for table in registry.all_tables() if "." not in table.__qualname__]
    described = {table.name: table for table in draw_tables().tables()}
    assert set(described) == {table.__name__ for table in masters}
    assert all(re.search(r"[.?]$", table.summary) for table in described.values())


def test_foreign_keys_are_arrows() -> None:
    tables = {table.name: table for table in draw_tables().tables()}
    assert tables["FittedEncoder"].key == ("Scan", "EncoderConfig", "FitConfig", "Seed")
    assert tables["Scan"].others == ("StimulusSet",)  # a nullable reference, outside of the key
    assert "Teacher" in tables["LayerSimilarity"].key  # under another name, by `.proj()`
    assert "StimulusSet" in tables["ScanGroup"].others  # by its part table
