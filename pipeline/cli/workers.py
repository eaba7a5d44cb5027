"""The commands that compute: in this process, on every device, for as long as there is work."""

from __future__ import annotations

import os
import signal
from typing import Annotated, Any

import typer

from pipeline.cli.options import Experiment, Scale
from pipeline.cli.printing import err, out, plain
from pipeline.cli.session import Session, interrupted_by_sigterm, reporting_errors


@reporting_errors
def populate(
    experiment: Experiment = None,
    scale: Scale = None,
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="Processes.")] = 1,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed computations again.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how much there is to do, and how long.")
    ] = False,
    as_worker: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Compute all that is planned and missing. May be interrupted and run again at any time.

    Example: `neuroteach populate --experiment li2019 --workers 2`
    """
    from pipeline.database.opening import require_store
    from pipeline.experiments.selection import Selection
    from pipeline.workers import populate as population
    from pipeline.workers import processes

    with interrupted_by_sigterm(), Session() as database:
        require_store(database)
        selection = Selection(experiment, scale)
        selection.named  # noqa: B018 - refused here rather than by every worker
        if dry_run:
            _print_forecast(selection, workers)
            return
        if retry:
            n_failed = population.retry_failures(selection)
            err.print(f"{n_failed} failed computations will be tried again")
        if workers > 1:
            processes.run(
                database,
                processes.devices(database.settings.device, workers),
                "populate",
                selection=selection,
                quiet=quiet,
                console=err,
            )
        else:
            shown = processes.Shown.nothing if quiet else processes.Shown.bars
            processes.work(
                selection,
                shown=processes.Shown.lines if as_worker else shown,
                child=as_worker,
                console=err,
            )
        failed = population.failures(selection)
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

    Told to stop by SIGTERM or Ctrl-C, it puts back what it is computing; the worker that takes it
    up resumes from the last checkpoint.

    Example: `neuroteach worker --forever`
    """
    from pipeline.database.opening import require_store
    from pipeline.experiments.selection import Selection
    from pipeline.workers import populate as population
    from pipeline.workers import processes as computing

    def stop(signum: int, frame: object) -> None:
        raise SystemExit("SIGTERM received")

    signal.signal(signal.SIGTERM, stop)
    try:
        with Session() as database:
            require_store(database)
            selection = Selection(experiment, scale)
            selection.named  # noqa: B018 - refused here rather than by every worker
            devices = computing.devices(database.settings.device, processes)
            if len(devices) > 1 and not as_worker:
                err.print(f"a worker on each of {', '.join(devices)}")
                all_succeeded = computing.run(
                    database,
                    devices,
                    "worker",
                    selection=selection,
                    forever=forever,
                    quiet=False,
                    console=err,
                )
                if not all_succeeded:
                    _end_with(population.failures(selection), as_worker)
                return
            err.print(f"worker {os.getpid()} on {devices[0]}, {database.settings.store}")
            result = computing.work(
                selection,
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


def _print_forecast(selection: Any, n_workers: int) -> None:
    """How many keys are missing, and how long they take, from rows that are comparable."""
    from pipeline.workers.status import duration, forecast

    seconds, unknown = 0.0, 0
    for one in forecast(selection):
        each = "unknown" if one.seconds is None else f"{duration(one.seconds)} each"
        out.print(f"{one.table:<22}{one.missing:>7} to compute, {each}")
        if one.seconds is None:
            unknown += one.missing
        else:
            seconds += one.missing * one.seconds
    workers = "1 worker" if n_workers == 1 else f"{n_workers} workers"
    total = f"about {duration(seconds / n_workers)} with {workers}"
    if unknown and not seconds:
        total = "how long it takes is not known, as nothing comparable was computed yet"
    elif unknown:
        total += f", and {unknown} of which nothing comparable was computed yet"
    err.print(total if seconds or unknown else "nothing is left to compute")


def _end_with(failed: list[Any], as_worker: bool) -> None:
    from pipeline.workers.processes import SOME_FAILED

    if failed:
        _report(failed[:10])
        err.print(f"{len(failed)} failed; fix the cause, then `neuroteach populate --retry`")
        raise typer.Exit(SOME_FAILED if as_worker else 1)


def _report(failed: list[Any]) -> None:
    for failure in failed:
        err.print(f"[red]failed:[/red] {failure.table} {plain(str(failure.key))}")
        err.print(f"        {plain(failure.message.splitlines()[0])}")
