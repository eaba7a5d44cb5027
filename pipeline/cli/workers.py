"""The commands that compute: in this process, on every device, for as long as there is work."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.printing import Format, err, plain, print_frame
from pipeline.cli.session import Session, interrupted_by_sigterm, reporting_errors

Experiment = Annotated[str | None, typer.Option("--experiment", "-e", help="Only this experiment.")]
Scale = Annotated[str | None, typer.Option("--scale", "-s", help="Only this scale of it.")]


@reporting_errors
def populate(
    experiment: Experiment = None,
    scale: Scale = None,
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="Processes.")] = 1,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed computations again.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
    as_worker: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Compute all that is planned and missing. May be interrupted and run again at any time.

    Example: `neuroteach populate --experiment li2019 --workers 2`
    """
    from pipeline.database.opening import require_store
    from pipeline.experiments.planned import named
    from pipeline.workers import populate as population
    from pipeline.workers import processes

    with interrupted_by_sigterm(), Session() as database:
        require_store(database)
        named(experiment, scale)  # refused here rather than by every worker
        if retry:
            n_failed = population.retry_failures(experiment, scale)
            err.print(f"{n_failed} failed computations will be tried again")
        if workers > 1:
            processes.run(
                database,
                processes.devices(database.settings.device, workers),
                "populate",
                experiment=experiment,
                scale=scale,
                quiet=quiet,
                console=err,
            )
        else:
            shown = processes.Shown.nothing if quiet else processes.Shown.bars
            processes.work(
                experiment=experiment,
                scale=scale,
                shown=processes.Shown.lines if as_worker else shown,
                child=as_worker,
                console=err,
            )
        failed = population.failures(experiment, scale)
    _end_with(failed, as_worker)


@reporting_errors
def worker(
    experiment: Experiment = None,
    scale: Scale = None,
    forever: Annotated[
        bool, typer.Option("--forever", help="Wait for more work rather than end.")
    ] = False,
    processes: Annotated[
        int | None, typer.Option("--processes", "-n", min=1, help="By default one for each GPU.")
    ] = None,
    as_worker: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Take computations from the database until none is left, on any machine that reaches it.

    Told to stop by SIGTERM or Ctrl-C, it puts back what it is computing; whoever takes it up goes
    on from the last checkpoint.

    Example: `neuroteach worker --forever`
    """
    from pipeline.database.opening import require_store
    from pipeline.experiments.planned import named
    from pipeline.workers import populate as population
    from pipeline.workers import processes as computing

    def stop(signum: int, frame: object) -> None:
        raise SystemExit("SIGTERM received")

    signal.signal(signal.SIGTERM, stop)
    try:
        with Session() as database:
            require_store(database)
            named(experiment, scale)
            devices = computing.devices(database.settings.device, processes)
            if len(devices) > 1 and not as_worker:
                err.print(f"a worker on each of {', '.join(devices)}")
                all_succeeded = computing.run(
                    database,
                    devices,
                    "worker",
                    experiment=experiment,
                    scale=scale,
                    forever=forever,
                    quiet=False,
                    console=err,
                )
                if not all_succeeded:
                    _end_with(population.failures(experiment, scale), as_worker)
                return
            err.print(f"worker {os.getpid()} on {devices[0]}, {database.settings.store}")
            result = computing.work(
                experiment=experiment,
                scale=scale,
                shown=computing.Shown.lines,
                forever=forever,
                child=as_worker,
                console=err,
            )
    except SystemExit as told:
        if str(told) != "SIGTERM received":
            raise
        err.print("told to stop; what was being computed was put back")
        return
    done = sum(result.computed.values())
    err.print(f"computed {done}; nothing is left to do here")
    _end_with(result.failures, as_worker)


@reporting_errors
def status(
    experiment: Experiment = None,
    scale: Scale = None,
    format: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
    output: Annotated[Path | None, typer.Option("--output", "-o")] = None,
) -> None:
    """Say what is computed, what is missing, what failed, and who is at work.

    Example: `neuroteach status --format json`
    """
    import pandas as pd

    from pipeline.results import frames as results
    from pipeline.workers import populate as population
    from pipeline.workers.lease import living

    with Session() as database:
        done = population.progress(experiment, scale)
        failed = population.failures(experiment, scale)
        inputs = results.status_of_inputs()
        where = database.settings.database_for_display
        at_work = living(database.connection)
    err.print(f"database {where}")
    for kind, names in inputs.items():
        err.print(f"{kind}: {', '.join(names) or 'none yet'}")
    for one in at_work:
        err.print(
            plain(
                f"at work: {one['user']} on {one['host']}, process {one['pid']}, {one['device']}, "
                f"last heard {one['silence']:.0f} s ago"
            )
        )
    counts = {table: sum(f.table == table for f in failed) for table in {f.table for f in failed}}
    frame = pd.DataFrame(
        [
            {"table": p.table, "done": p.done, "planned": p.total, "failed": counts.get(p.table, 0)}
            for p in done
        ]
    )
    print_frame(frame, format, output, title="Computed")
    _report(failed)


def _end_with(failed: list[Any], as_worker: bool) -> None:
    from pipeline.workers.processes import SOME_FAILED

    if failed:
        _report(failed[:10])
        err.print(f"{len(failed)} failed; mend the cause, then `neuroteach populate --retry`")
        raise typer.Exit(SOME_FAILED if as_worker else 1)


def _report(failed: list[Any]) -> None:
    for failure in failed:
        err.print(f"[red]failed:[/red] {failure.table} {plain(str(failure.key))}")
        err.print(f"        {plain(failure.message.splitlines()[0])}")
