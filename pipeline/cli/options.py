"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.printing import Format

Experiment = Annotated[str | None, typer.Option("--experiment", "-e", help="Only this experiment.")]
Scale = Annotated[str | None, typer.Option("--scale", "-s", help="Only this scale of it.")]
User = Annotated[
    str | None, typer.Option("--user", "-u", help="Only experiments that this person added.")
]
Printed = Annotated[Format, typer.Option("--format", "-f", help="How it is printed.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file instead.")]
