"""A command leaves no server behind, unless it was asked to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeline.cli.session import Session
from pipeline.database.embedded import EmbeddedPostgres
from pipeline.database.opening import embedded_server
from pipeline.database.settings import load_settings

pytestmark = pytest.mark.database


def stops(server: EmbeddedPostgres) -> bool:
    """Whether it was told to stop: a command does not wait for its last checkpoint."""
    deadline = time.monotonic() + 20
    while server.running() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not server.running()


def test_the_command_that_ends_last_stops_the_embedded_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE", "STORE", "SCHEMA"):
        monkeypatch.delenv(f"NEUROTEACH_{name}", raising=False)
    monkeypatch.setenv("NEUROTEACH_HOME", str(tmp_path))
    settings = load_settings()
    server = embedded_server(settings)
    assert server is not None
    try:
        with Session():
            assert server.running()
        assert stops(server)

        server.start()  # as a command leaves it that was killed
        with Session():
            pass
        assert stops(server)

        settings.database_is_kept.touch()
        with Session():
            pass
        assert server.running()
    finally:
        server.stop(force=True)
