"""Who may import whom, and that an import does nothing but import."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("predictive_model", "regularized_training", "schemas", "pipeline")
FILES = sorted(
    path.relative_to(REPOSITORY) for name in PACKAGES for path in (REPOSITORY / name).rglob("*.py")
)
DATABASE_CLIENTS = {"datajoint", "psycopg2", "pymysql"}
FORBIDDEN = {
    "predictive_model": DATABASE_CLIENTS | {"regularized_training", "schemas", "pipeline"},
    "regularized_training": DATABASE_CLIENTS | {"schemas", "pipeline"},
    "schemas": {"pipeline"},
    "pipeline": set(),
}
ONLY_IMPORTERS = {
    "neuralpredictors": Path("predictive_model/encoders/neuralpredictors_compat.py"),
    "foolbox": Path("regularized_training/robustness/foolbox_compat.py"),
}


def module_name(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(file: Path) -> Iterator[str]:
    """Absolute names of all modules that a file imports, at its top or within its functions."""
    package = file.parent.parts
    for node in ast.walk(ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *filter(None, [node.module])))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def test_the_four_packages_are_there() -> None:
    assert {file.parts[0] for file in FILES} == set(PACKAGES)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_module_imports_only_what_its_package_may(file: Path) -> None:
    imported = {name.partition(".")[0] for name in imported_modules(file)}
    assert imported & FORBIDDEN[file.parts[0]] == set()
    for name, only in ONLY_IMPORTERS.items():
        assert file == only or name not in imported


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_module_prints_nothing_at_its_top(file: Path) -> None:
    top = ast.parse((REPOSITORY / file).read_text(encoding="utf-8")).body
    calls = [n.value for n in top if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
    assert "print" not in [call.func.id for call in calls if isinstance(call.func, ast.Name)]


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
import psycopg2, pymysql

def no_connection(*args, **kwargs):
    raise AssertionError(f"a connection was opened while {doing}")

psycopg2.connect = pymysql.connect = no_connection
for name in sys.argv[1:]:
    doing = f"importing {name}"
    importlib.import_module(name)
sys.stderr.write(f"imported {len(sys.argv) - 1}")
"""


def test_importing_every_module_connects_to_nothing_reads_no_settings_and_says_nothing(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    (tmp_path / "datajoint.json").write_text("this is no JSON")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DJ_", "NEUROTEACH_"))}
    environment |= {
        "PYTHONPATH": str(REPOSITORY),
        "NEUROTEACH_HOME": str(home),
        "NEUROTEACH_DATABASE": "nonsense that no command would accept",
    }
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *map(module_name, FILES)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr == f"imported {len(FILES)}"
    assert not home.exists()


def test_stages_one_and_two_need_no_database_client() -> None:
    stages = [module_name(f) for f in FILES if f.parts[0] in PACKAGES[:2]]
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        f"print(sorted({DATABASE_CLIENTS} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *stages],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
