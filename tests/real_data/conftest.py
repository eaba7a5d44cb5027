"""Everything here reads real recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from predictive_model.importers.arrays import read_arrays
from predictive_model.recordings.recording import Recording

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real_data)


@pytest.fixture(scope="session")
def v4_file(data_folder: Path) -> Path:
    return data_folder / "macaque_v4" / "session_210325_trials.npz"


@pytest.fixture(scope="session")
def v4(v4_file: Path) -> Recording:
    return read_arrays(v4_file, test_images=100, species="macaque", area="V4")
