from __future__ import annotations

import math
import subprocess
import sys

import pytest

from regularized_training.robustness.manipulations.config import (
    COHERENCE,
    IN_COLOUR,
    PUBLISHED_LEVELS,
    Manipulation,
    require_levels,
)


@pytest.mark.parametrize("name", PUBLISHED_LEVELS)
def test_published_levels_are_allowed(name: Manipulation) -> None:
    require_levels(PUBLISHED_LEVELS[name], name)


def test_levels_are_those_of_the_paper() -> None:
    assert PUBLISHED_LEVELS["salt_and_pepper"] == (0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
    assert PUBLISHED_LEVELS["eidolon_2"] == tuple(2**k for k in range(8))
    assert COHERENCE == {"eidolon_1": 1, "eidolon_2": 0.3, "eidolon_3": 0}
    assert {"grey", "false_colour", "rotation"} == IN_COLOUR


@pytest.mark.parametrize(
    ("name", "levels", "said"),
    [
        ("contrast", (), "at least one"),
        ("contrast", (0.5, 0.5), "every level once"),
        ("contrast", (30,), "0 to 1 for contrast"),
        ("contrast", (math.nan,), "0 to 1 for contrast"),
        ("uniform_noise", (-0.1,), "0 to 2 for uniform_noise"),
        ("salt_and_pepper", (1.1,), "a fraction of the pixels"),
        ("low_pass", (math.inf,), "0 to 1000 for low_pass"),
        ("high_pass", (0,), "above 0 and up to 1000 .* or infinity"),
        ("high_pass", (math.nan,), "above 0"),
        ("phase_noise", (181,), "degrees"),
        ("rotation", (45,), "expected of 0, 90, 180, 270 for rotation"),
        ("false_colour", (0.5,), "expected of 0, 1"),
        ("eidolon_1", (-1,), "reach"),
        ("blur", (1,), "manipulation: 'blur', expected one of contrast, eidolon_1"),
    ],
)
def test_impossible_levels_are_refused(
    name: Manipulation, levels: tuple[float, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        require_levels(levels, name)


def test_names_and_levels_are_known_without_torch() -> None:
    program = (
        "import sys; import regularized_training.robustness.manipulations.config;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
