"""The documents agree with the code: links resolve, examples can be read, tables are all there."""

from __future__ import annotations

import importlib.util
import re
import tomllib
import unicodedata
from functools import cache
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import nbformat
import pytest

from pipeline.experiments.file import ExperimentSettings, read_experiment
from schemas import base
from tests.test_architecture import FILES, REPOSITORY

TEXT = ("CHANGELOG.md", "CONTRIBUTING.md", "README.md", "benchmarks", "docker", "docs")
PAGES = sorted(
    page
    for root in (REPOSITORY / name for name in TEXT)
    for page in (root, *root.rglob("*"))
    if page.suffix in (".md", ".ipynb")
)
CODE = re.compile(r"^ *(```+).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_that_pages_show_is_valid(page: Path) -> None:
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```", text_of(page), re.M | re.S):
        if language == "python":
            compile(code, name_of(page), "exec")
        if language == "toml":
            tomllib.loads(code)


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
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_tables_is_up_to_date() -> None:
    page = (REPOSITORY / "docs" / "tables.md").read_text(encoding="utf-8")
    assert page == draw_tables().page(), "run `python docs/draw_tables.py`"


def test_the_page_of_tables_has_them_all_and_a_line_for_each() -> None:
    masters = [table for table in base.all_tables() if "." not in table.__qualname__]
    described = {table.name: table for table in draw_tables().tables()}
    assert set(described) == {table.__name__ for table in masters}
    assert all(table.summary.endswith(".") for table in described.values())


def test_foreign_keys_are_arrows() -> None:
    tables = {table.name: table for table in draw_tables().tables()}
    assert tables["FittedEncoder"].key == ("Scan", "EncoderConfig", "FitConfig", "Seed")
    assert tables["Scan"].others == ("StimulusSet",)  # a nullable reference, outside of the key
    assert "Teacher" in tables["LayerSimilarity"].key  # under another name, by `.proj()`
    assert "StimulusSet" in tables["ScanGroup"].others  # by its part table
