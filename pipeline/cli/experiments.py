"""The commands that plan, list and remove experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.options import Output, Printed, User
from pipeline.cli.printing import Format, err, print_frame
from pipeline.cli.session import Session, reporting_errors

experiment_app = typer.Typer(help="Plan and list experiments.")


@experiment_app.command("add")
@reporting_errors
def experiment_add(
    file: Annotated[Path, typer.Argument(help="An experiment file (TOML).")],
    scale: Annotated[
        str | None,
        typer.Option("--scale", "-s", help="One of the file's: by default small, or its only one."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The file's name by default.")] = None,
    scan: Annotated[
        list[str] | None, typer.Option(help="Use this scan instead; repeatable.")
    ] = None,
    images: Annotated[str | None, typer.Option(help="Use this image set instead.")] = None,
    stimuli: Annotated[
        str | None,
        typer.Option(help="Let imported encoders teach with the stimuli of this key instead."),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(help="The lowest number is computed first; 5 by default.")
    ] = None,
) -> None:
    """Plan an experiment; `neuroteach populate` computes it.

    Example: `neuroteach experiment add experiments/li2019.toml --scale small`
    """
    from pipeline.experiments.adding import DEFAULT_PRIORITY, add_experiment
    from pipeline.experiments.file import read_experiment

    scale = scale or _default_scale(file)
    changes: dict[str, Any] = {}
    if scan:
        changes["recordings"] = scan
    if images:
        changes["images"] = images
    settings = read_experiment(file, scale, **changes)
    if stimuli:
        settings = settings.with_stimuli(stimuli)
    with Session():
        added = add_experiment(
            settings,
            name=name or file.stem,
            scale=scale,
            priority=DEFAULT_PRIORITY if priority is None else priority,
        )
    err.print("planned" if added else "was planned already")


def _default_scale(file: Path) -> str:
    from pipeline.experiments.file import ExperimentError, scales_of

    scales = scales_of(file)
    if "small" in scales or not scales:
        return "small"
    if len(scales) > 1:
        raise ExperimentError(f"{file}: has the scales {', '.join(scales)}; choose by --scale NAME")
    return scales[0]


@experiment_app.command("priority")
@reporting_errors
def experiment_priority(
    name: Annotated[str, typer.Argument(help="Of the experiment.")],
    priority: Annotated[int, typer.Argument(help="The lowest number is computed first.")],
    scale: Annotated[str, typer.Option("--scale", "-s", help="Which scale of it.")],
) -> None:
    """Have an experiment computed earlier or later; workers take note within seconds.

    Example: `neuroteach experiment priority li2019 1 --scale small`
    """
    from pipeline.experiments.adding import set_priority

    with Session():
        set_priority(name, scale, priority)
    err.print(f"{name} ({scale}) has priority {priority}")


@experiment_app.command("remove")
@reporting_errors
def experiment_remove(
    name: Annotated[str, typer.Argument(help="Of the experiment.")],
    scale: Annotated[str, typer.Option("--scale", "-s", help="Which scale of it.")],
) -> None:
    """Forget an experiment, for instance to plan it anew. What was computed for it stays.

    Example: `neuroteach experiment remove li2019 --scale small`
    """
    from pipeline.experiments.adding import remove_experiment

    with Session():
        remove_experiment(name, scale)
    err.print("removed")


@experiment_app.command("list")
@reporting_errors
def experiment_list(
    user: User = None, format: Printed = Format.table, output: Output = None
) -> None:
    """List experiments.

    Example: `neuroteach experiment list`
    """
    from pipeline.experiments.selection import Selection
    from pipeline.results.encoders import experiments

    with Session():
        frame = experiments(Selection(user=user))
    print_frame(frame, format, output, title="Experiments")
