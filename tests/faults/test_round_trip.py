"""Saved, wiped and restored; copied to a server and back."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.database.embedded import EmbeddedPostgres
from pipeline.database.opening import open_database
from pipeline.database.settings import Settings
from pipeline.workers.populate import populate
from schemas import tables as registry
from tests.servers import postgres_over_tcp
from tests.tiny_experiment import REPOSITORY, plan


def at(home: Path) -> Settings:
    return Settings(
        home=home, database=f"embedded:{home / 'database'}", store=home / "store", device="cpu"
    )


def neuroteach(home: Path, *command: str, **variables: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NEUROTEACH_")}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli.main", *command],
        cwd=REPOSITORY,
        env={**environment, "NEUROTEACH_HOME": str(home), "NEUROTEACH_DEVICE": "cpu", **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def fingerprint(settings: Settings) -> tuple[str, int, int]:
    """Hash of every row as the database has it and of every object's bytes, with their numbers."""
    digest, n_rows, n_objects = hashlib.sha256(), 0, 0
    with open_database(settings) as database:
        for table in registry.all_tables():
            if table.__name__ in ("Worker", "SchemaVersion"):
                continue
            rows = database.connection.query(f"SELECT * FROM {table().full_table_name}").fetchall()
            n_rows += len(rows)
            for row in sorted(map(repr, rows)):
                digest.update(row.encode())
    for file in sorted(settings.store.rglob("*")):
        if file.is_file() and "_checkpoints" not in file.parts:
            n_objects += 1
            digest.update(str(file.relative_to(settings.store)).encode() + file.read_bytes())
    return digest.hexdigest(), n_rows, n_objects


def test_backup_wipe_restore_and_a_copy_there_and_back_are_identical_to_the_byte(
    tmp_path: Path, report: Callable[..., None]
) -> None:
    home, back = tmp_path / "home", tmp_path / "back"
    try:
        with open_database(at(home)):
            plan(teachers=("none", "neural_model"))
            assert populate().failures == []
        before = fingerprint(at(home))
        saved = tmp_path / "saved.zip"
        neuroteach(home, "database", "backup", str(saved))
        EmbeddedPostgres(home / "database").stop(force=True)
        shutil.rmtree(home)
        neuroteach(home, "database", "restore", str(saved))
        neuroteach(home, "database", "check")
        assert fingerprint(at(home)) == before

        with postgres_over_tcp() as server:
            there = {"NEUROTEACH_TARGET_PASSWORD": server.password}
            to = server.url(server.user, "").replace(":@", "@")
            lab = tmp_path / "lab" / "store"
            neuroteach(home, "database", "copy", "--to", to, "--to-store", str(lab), **there)
            here = {
                "NEUROTEACH_DATABASE": to,
                "NEUROTEACH_DATABASE_PASSWORD": server.password,
                "NEUROTEACH_STORE": str(lab),
            }
            embedded = f"embedded:{back / 'database'}"
            store = ("--to-store", str(back / "store"))
            neuroteach(tmp_path / "lab", "database", "copy", "--to", embedded, *store, **here)
        assert fingerprint(at(back)) == before
    finally:
        for folder in (home, back):
            EmbeddedPostgres(folder / "database").stop(force=True)
    report(
        "backup, wipe, restore; copy to a server and back",
        "identical to the byte",
        f"identical: {before[1]} rows, {before[2]} objects",
    )
