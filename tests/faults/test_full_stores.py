"""A store on a real file system that is full, or may only be read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from pipeline.database.opening import Database
from pipeline.database.settings import Settings
from pipeline.workers.populate import failures, populate
from schemas import reliability as reliability_tables
from schemas import tables as registry
from schemas.objects import StoreError
from tests.faults.conftest import damaged
from tests.tiny_experiment import REPOSITORY, environment, plan

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]

needs_namespaces = pytest.mark.skipif(
    subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode != 0,
    reason="mounting in a namespace of one's own is not permitted here",
)


def populate_on(settings: Settings, mount: str) -> subprocess.CompletedProcess[str]:
    """Populate where the store is mounted anew, as told."""
    command = f"{mount} && exec {sys.executable} -m pipeline.cli.main populate --quiet --retry"
    return subprocess.run(
        [*NAMESPACE, "sh", "-c", command],
        cwd=REPOSITORY,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=300,
    )


@needs_namespaces
@pytest.mark.parametrize(
    "fault, mount, said",
    [
        (
            "disk full",
            "cp -r {store} {home}/copy && mount -t tmpfs -o size={size}k tmpfs {store} && "
            "cp -r {home}/copy/. {store}",
            "No space left on device",
        ),
        (
            "store read-only",
            "mount --bind {store} {store} && mount -o remount,bind,ro {store}",
            "Read-only file system",
        ),
    ],
    ids=["full", "read-only"],
)
def test_a_store_that_takes_nothing_gives_a_clear_error_and_no_row(
    database: Database,
    settings: Settings,
    fault: str,
    mount: str,
    said: str,
    report: Callable[..., None],
) -> None:
    plan()
    used = sum(f.stat().st_blocks // 2 for f in settings.store.rglob("*") if f.is_file())
    filled = mount.format(store=settings.store, home=settings.home, size=used + 60)
    done = populate_on(settings, filled)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    failed = failures()
    assert failed
    for failure in failed:
        assert said in failure.message
    n_failed = len(failed)
    done_before = sum(len(table()) for table in registry.computed_tables())
    # Space is made, and it is tried again.
    mended = populate_on(settings, "true")
    assert mended.returncode == 0, mended.stderr
    assert failures() == []
    for table in (reliability_tables.Reliability, *registry.computed_tables()):
        assert len(table().key_source - table().proj()) == 0
    report(
        fault,
        "clear error, row not written, recovery",
        f"“{said}” with row and object in {n_failed} of {n_failed + done_before} computations; "
        "all computed after `populate --retry`",
    )


def test_an_object_deleted_or_truncated_is_found_named_and_recovered(
    database: Database, settings: Settings, report: Callable[..., None]
) -> None:
    plan()
    populate()
    files = sorted(f for f in settings.store.rglob("*.npy") if "reliability" in str(f))
    first, second = files[0], files[1]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-4])
    found = damaged(database)
    assert {settings.store / problem.path for problem in found} == {first, second}
    with pytest.raises(StoreError, match="of __reliability .*object _schema/"):
        row = reliability_tables.Reliability.fetch1()
        for name in ("signal", "noise", "weight", "oracle", "fev", "cc_max", "split_half"):
            row[name].load()
    (reliability_tables.Reliability()).delete(prompt=False, part_integrity="cascade")
    populate()
    assert damaged(database) == []
    report(
        "store object deleted or truncated",
        "clear error that names row and object",
        "found by `database check` and by whoever reads it; the row deleted and computed again",
    )
