"""``neuroteach status``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.cli.options import Experiment, Output, Printed, Scale, User
from pipeline.cli.printing import Format, err, plain, print_frame, print_text
from pipeline.cli.session import Session, reporting_errors

if TYPE_CHECKING:
    from pipeline.workers.status import Status


@reporting_errors
def status(
    experiment: Experiment = None,
    scale: Scale = None,
    user: User = None,
    format: Printed = Format.table,
    output: Output = None,
) -> None:
    """Say what is computed, what is missing, what failed, and who is at work.

    Example: `neuroteach status --format json`
    """
    from pipeline.experiments.selection import Selection
    from pipeline.workers import status as statuses

    with Session() as database:
        found = statuses.status(Selection(experiment, scale, user))
        where = database.settings.database_for_display
    if format is Format.json:
        text = json.dumps({"database": where, **asdict(found)}, indent=1, default=str) + "\n"
        print_text(text, output)
        return
    err.print(f"database {where}")
    _print_workers(found)
    frame = statuses.progress_frame(found.tables)
    print_frame(frame, format, output, title="Computed")
    _print_failures(found)


def _print_workers(found: Status) -> None:
    from pipeline.workers.status import duration

    for kind, names in found.inputs.items():
        err.print(f"{kind}: {', '.join(names) or 'none yet'}")
    for one in found.workers:
        who = f"{one.user} on {one.host}, process {one.pid}, {one.device}"
        what = "waits"
        if one.since is not None:
            what = f"computes {one.table} of {one.key} since {one.since:%Y-%m-%d %H:%M:%S} UTC"
        if one.epoch is not None:
            what += f", {one.epoch} of {one.epochs} epochs"
        if one.left is not None:
            what += f", about {duration(one.left)} left"
        heard = f"last heard {one.silence:.0f} s ago"
        err.print(plain(f"at work: {who}, {heard}: {what}"))


def _print_failures(found: Status) -> None:
    for group in found.failures:
        more = f" and {group.n - len(group.keys)} more" if group.n > len(group.keys) else ""
        err.print(f"[red]failed:[/red] {group.table}, {group.n} of them: {plain(group.message)}")
        err.print(f"        {plain('; '.join(group.keys))}{more}")
    if found.failures:
        err.print("fix the cause, then `neuroteach populate --retry`")
