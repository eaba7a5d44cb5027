"""The commands that write scans of the database to files that others can read."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli_session import Session, reporting_errors
from pipeline.printing import err

export_app = typer.Typer(help="Write recordings to files.")


class ExportFormat(enum.StrEnum):
    """Formats that recordings can be written in."""

    sensorium = "sensorium"
    nwb = "nwb"
    npz = "npz"


@export_app.command("scan")
@reporting_errors
def export_scan(
    name: Annotated[str, typer.Argument(help="Name of a scan in the database.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="A file; for Sensorium trees a folder, or a .zip file."
        ),
    ],
    format: Annotated[ExportFormat, typer.Option("--format", "-f")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already.")
    ] = False,
) -> None:
    """Write a recording to a file that others can read. It says so if it was simulated.

    Example: `neuroteach export scan my-scan --format nwb -o my-scan.nwb`
    """
    from predictive_model.exporters import write_recording
    from schemas.recording import Scan

    with Session():
        names = sorted(Scan.to_arrays("scan").tolist())
        if name not in names:
            raise LookupError(
                f"scan: {name} is not in the database, which has {', '.join(names) or 'none'}"
            )
        recording = Scan.load({"scan": name})
    written = write_recording(recording, output, format=format.value, overwrite=overwrite)
    err.print(f"wrote {written}" + (", a simulated scan" if recording.simulated else ""))
