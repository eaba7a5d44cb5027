"""Who may import whom, and that an import does nothing but import."""

from __future__ import annotations

import ast
import functools
import graphlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path

import pytest

from pipeline.cli.lazy import ENVIRONMENT

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("predictive_model", "regularized_training", "schemas", "pipeline", "neuroteach")
FILES = sorted(
    path.relative_to(REPOSITORY)
    for name in PACKAGES
    for path in (REPOSITORY / f"{name}.py", *(REPOSITORY / name).rglob("*.py"))
    if path.is_file()
)
DATABASE_CLIENTS = {"datajoint", "psycopg2", "pymysql"}
FORBIDDEN = {
    "predictive_model": DATABASE_CLIENTS
    | {"regularized_training", "schemas", "pipeline", "neuroteach"},
    "regularized_training": DATABASE_CLIENTS | {"schemas", "pipeline", "neuroteach"},
    "schemas": {"pipeline", "neuroteach"},
    "pipeline": {"neuroteach"},
    "neuroteach": DATABASE_CLIENTS,
}
ONLY_IMPORTERS = {
    "neuralpredictors": Path("predictive_model/encoders/neuralpredictors_compat.py"),
    "foolbox": Path("regularized_training/robustness/foolbox_compat.py"),
}
# Of `pipeline`, the lowest first. What a package imports stands on a lower floor, or on its own.
FLOORS = (
    {"database"},
    {"experiments", "query"},
    {"results", "workers"},
    {"figures"},
    {"evaluations", "search", "transfer"},
    {"cli"},
)
FLOOR_OF = {name: number for number, floor in enumerate(FLOORS) for name in floor}


def module_name(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


@functools.cache
def parsed(file: Path) -> ast.Module:
    return ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))


def imported_names(file: Path, node: ast.AST) -> Iterator[str]:
    """Absolute names of what one statement imports."""
    package = file.parent.parts
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else ()
        base = ".".join((*above, *filter(None, [node.module])))
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in MODULES else base


@functools.cache
def imported_modules(file: Path) -> frozenset[str]:
    """All modules that a file imports, at its top or within its functions."""
    return frozenset(name for node in ast.walk(parsed(file)) for name in imported_names(file, node))


def when_run(node: ast.AST) -> Iterator[ast.AST]:
    """What is within a node, but for what only type checkers read."""
    inner: list[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        inner = list(node.orelse)
    for child in inner:
        yield child
        yield from when_run(child)


@functools.cache
def modules_needed(file: Path) -> frozenset[str]:
    """Modules of ours that a file imports when it is run, at its top or within its functions."""
    names = {n for node in when_run(parsed(file)) for n in imported_names(file, node)}
    return frozenset(names & set(MODULES) - {module_name(file)})


def test_the_packages_and_the_door_are_there() -> None:
    assert {Path(file.parts[0]).stem for file in FILES} == set(PACKAGES)


def test_a_module_imports_only_what_its_package_may() -> None:
    wrong = []
    for file in FILES:
        imported = {name.partition(".")[0] for name in imported_modules(file)}
        forbidden = imported & FORBIDDEN[Path(file.parts[0]).stem]
        forbidden |= {name for name, only in ONLY_IMPORTERS.items() if file != only} & imported
        wrong += [f"{file}: {name}" for name in sorted(forbidden)]
    assert wrong == []


def room_of(module: str) -> str:
    """The package in a package, or the module, that a module is or belongs to."""
    return ".".join(module.split(".")[:2])


def arrows(root: str, place: Callable[[str], str]) -> dict[tuple[str, str], list[str]]:
    """For each two places in a package: the modules by which one imports from the other."""
    found: dict[tuple[str, str], list[str]] = {}
    for module, file in MODULES.items():
        for needed in modules_needed(file):
            ends = place(module), place(needed)
            if {module.split(".")[0], needed.split(".")[0]} == {root} and ends[0] != ends[1]:
                found.setdefault(ends, []).append(f"{module} -> {needed}")
    return found


def circle(links: Set[tuple[str, str]] | Mapping[tuple[str, str], object]) -> list[str]:
    sorter = graphlib.TopologicalSorter[str]()
    for start, end in links:
        sorter.add(start, end)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_circles_are_found() -> None:
    assert circle({("a", "b"), ("b", "c"), ("a", "c")}) == []
    assert set(circle({("a", "b"), ("b", "c"), ("c", "a")})) == {"a", "b", "c"}


@pytest.mark.parametrize("root", ["predictive_model", "regularized_training", "pipeline"])
def test_rooms_of_a_package_do_not_import_each_other_in_a_circle(root: str) -> None:
    found = arrows(root, room_of)
    assert found, "no room imports another, which cannot be"
    assert circle(found) == []


def test_modules_of_tables_do_not_import_each_other_in_a_circle() -> None:
    found = arrows("schemas", lambda module: module)
    assert ("schemas.training", "schemas.teaching") in found
    assert circle(found) == []


def test_rooms_of_the_pipeline_import_downwards() -> None:
    rooms = {file.parts[1] for file in FILES if file.parts[0] == "pipeline" and len(file.parts) > 2}
    assert rooms == set(FLOOR_OF)
    upwards = {
        ends: modules
        for ends, modules in arrows("pipeline", room_of).items()
        if FLOOR_OF[ends[0].split(".")[1]] < FLOOR_OF[ends[1].split(".")[1]]
    }
    assert upwards == {}


def test_a_module_prints_nothing_at_its_top() -> None:
    printing = []
    for file in FILES:
        top = parsed(file).body
        calls = [n.value for n in top if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
        called = [call.func.id for call in calls if isinstance(call.func, ast.Name)]
        printing += [file] if "print" in called else []
    assert printing == []


# What an import opens is seen by an audit hook, which nothing can go round.
IMPORT_ALL = """
import importlib, os, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo"):
        raise AssertionError(f"{event} {arguments} while {doing}")
    file = os.path.basename(str(arguments[0])) if event == "open" else ""
    if file in ("datajoint.json", "settings.toml"):
        raise AssertionError(f"{arguments[0]} was read while {doing}")
    if event == "os.mkdir" and os.environ["NEUROTEACH_HOME"] in str(arguments[0]):
        raise AssertionError(f"{arguments[0]} was made while {doing}")

doing = "starting"
sys.addaudithook(refuse)
clients, *stages = sys.argv[1].split(",")
clients = clients.split()
for name in stages:
    doing = f"importing {name}"
    importlib.import_module(name)
print(sorted(set(clients) & set(sys.modules)), end="")
doing = "importing database clients"
import psycopg2, pymysql

def no_connection(*args, **kwargs):
    raise AssertionError(f"a connection was opened while {doing}")

psycopg2.connect = pymysql.connect = no_connection
for name in sys.argv[2:]:
    doing = f"importing {name}"
    importlib.import_module(name)
sys.stderr.write(f"imported {len(sys.argv) - 2}")
"""


def test_importing_every_module_connects_to_nothing_reads_no_settings_and_says_nothing(
    tmp_path: Path,
) -> None:
    """Nor do stages one and two, which are imported first, need a database client."""
    home = tmp_path / "home"
    (tmp_path / "datajoint.json").write_text("this is no JSON")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DJ_", "NEUROTEACH_"))}
    # As for our commands; in Python the reader's own DataJoint keeps the settings that it has.
    environment |= ENVIRONMENT | {
        "PYTHONPATH": str(REPOSITORY),
        "NEUROTEACH_HOME": str(home),
        "NEUROTEACH_DATABASE": "nonsense that no command would accept",
    }
    stages = [module_name(f) for f in FILES if f.parts[0] in PACKAGES[:2]]
    assert len(stages) > 100
    clients_and_stages = ",".join([" ".join(DATABASE_CLIENTS), *stages])
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, clients_and_stages, *map(module_name, FILES)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    # What is printed is which clients the stages loaded, and nothing besides.
    assert (done.returncode, done.stdout) == (0, "[]"), done.stderr
    assert done.stderr == f"imported {len(FILES)}"
    assert not home.exists()


def loaded_by(statements: str, heavy: Set[str], *arguments: str) -> str:
    """Which of these modules Python has loaded after some statements, as a sorted list."""
    script = f"import importlib, sys\n{statements}\nprint(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


IMPORT_NAMED = "for name in sys.argv[1:]: importlib.import_module(name)"


ANSWERING = ("database", "experiments", "query", "results", "evaluations")
AT_WORK = tuple(f"pipeline.workers.{name}" for name in ("queues", "status", "populate"))
HEAVY = {"torch", "torchvision", "matplotlib", "scipy", "sklearn"}


def test_what_answers_questions_loads_nothing_that_computes() -> None:
    """Nor does what plans, and what hands out work; all tables and results included."""
    names = [
        name for name in MODULES if name.startswith(tuple(f"pipeline.{r}." for r in ANSWERING))
    ]
    assert len(names) > 25
    statements = (
        f"{IMPORT_NAMED}\n"
        "from schemas import tables\n"
        "from pipeline.results.registry import results\n"
        "assert len(tables.computed_tables()) > 10 and len(results()) > 5"
    )
    assert loaded_by(statements, HEAVY, *names, *AT_WORK, "neuroteach") == "[]"


def test_help_of_the_command_waits_for_no_library() -> None:
    statements = "import pipeline.cli.main"
    assert loaded_by(statements, HEAVY | DATABASE_CLIENTS | {"pandas", "numpy"}) == "[]"


def test_an_evaluation_is_known_to_its_own_files_alone() -> None:
    """So another one is three files and their tests: everybody else asks the registry."""
    for file in FILES:
        for name in imported_modules(file):
            package, _, evaluation = name.rpartition(".")
            if package == "schemas.evaluations" and evaluation not in ("base", "judged"):
                assert file == Path("pipeline/evaluations") / f"{evaluation}.py"
