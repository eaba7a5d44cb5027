"""What tests of commands share: a small experiment file, and what a command said."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import Result

Run = Callable[..., Result]

STUDY = """
title = "a study"
recordings = ["simulated"]
images = "digits"
teachers = ["none"]
seeds = [0]

[training]
epochs = 1

[scales.smoke]
"""


def one_line_error(result: Result) -> str:
    """The message of a command that failed for a reason that a user can mend."""
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")
