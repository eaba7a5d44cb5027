"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.printing import Format

Experiment = Annotated[str | None, typer.Option("--experiment", "-e", help="Only this experiment.")]
Scale = Annotated[str | None, typer.Option("--scale", "-s", help="Only this scale of it.")]
User = Annotated[
    str | None, typer.Option("--user", "-u", help="Only experiments that this person added.")
]
Printed = Annotated[Format, typer.Option("--format", "-f", help="How it is printed.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file instead.")]
Hardened = Annotated[
    list[str] | None,
    typer.Option(help="An imported network that was trained on adversarial images; repeatable."),
]
Peek = Annotated[
    bool,
    typer.Option(
        "--peek", help="Show those of which seeds are missing too, and mark them for ever."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")]
CheckOnly = Annotated[bool, typer.Option("--dry-run", help="Check and report only.")]
# Which encoder of a scan that has several.
EncoderOf = Annotated[
    str | None, typer.Option("--experiment", "-e", help="Whose encoder, if the scan has several.")
]
EncoderScale = Annotated[str | None, typer.Option("--scale", "-s", help="Of the experiment.")]


def named_values(options: Sequence[str]) -> dict[str, Any]:
    """Each ``NAME=VALUE``, of which a value that is no JSON is text."""
    found: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not (name.isidentifier() and equals) or name in found:
            raise typer.BadParameter(
                f"{option!r}, expected NAME=VALUE, each name once", param_hint="--option"
            )
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
