"""A command leaves no server behind, unless it was asked to."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli.session import Session
from pipeline.database.opening import embedded_server
from pipeline.database.settings import load_settings

pytestmark = pytest.mark.database


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
        assert not server.running()

        server.start()  # as a command leaves it that was killed
        with Session():
            pass
        assert not server.running()

        settings.database_is_kept.touch()
        with Session():
            pass
        assert server.running()
    finally:
        server.stop(force=True)
