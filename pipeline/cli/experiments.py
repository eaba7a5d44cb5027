"""The commands that plan, list and remove experiments."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.cli.options import Output, Printed, User
from pipeline.cli.printing import Format, err, plain, print_frame
from pipeline.cli.session import Session, reporting_errors

experiment_app = typer.Typer(help="Plan and list experiments.")


@experiment_app.command("add")
@reporting_errors
def experiment_add(
    file: Annotated[
        str, typer.Argument(help="An experiment file (TOML), or the name of a published study.")
    ],
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
        typer.Option(help="Let imported encoders teach with these stimuli instead."),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(help="The lowest number is computed first; 5 by default.")
    ] = None,
) -> None:
    """Plan an experiment; `neuroteach populate` computes it.

    Example: `neuroteach experiment add li2019 --scale small`
    """
    from pipeline.experiments.adding import DEFAULT_PRIORITY, add_experiment
    from pipeline.experiments.file import read_experiment
    from pipeline.experiments.studies import default_scale, experiment_file

    path = experiment_file(file)
    scale = scale or default_scale(path)
    changes: dict[str, Any] = {}
    if scan:
        changes["recordings"] = scan
    if images:
        changes["images"] = images
    settings = read_experiment(path, scale, **changes)
    if stimuli:
        settings = settings.with_stimuli(stimuli)
    with Session():
        added = add_experiment(
            settings,
            name=name or path.stem,
            scale=scale,
            priority=DEFAULT_PRIORITY if priority is None else priority,
        )
    err.print("planned" if added else "was planned already")


@experiment_app.command("show")
@reporting_errors
def experiment_show(
    file: Annotated[
        str | None,
        typer.Argument(help="An experiment file or a published study; all are listed without one."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option("--scale", "-s", help="What it asks for at this scale.")
    ] = None,
) -> None:
    """Show what an experiment file asks for: as it is written, or at one scale with all defaults.

    Example: `neuroteach experiment show li2019 --scale small`
    """
    import json
    import sys

    from pipeline.experiments.content import read_toml
    from pipeline.experiments.file import read_experiment, scales_of
    from pipeline.experiments.studies import experiment_file, studies

    if file is None:
        for name, path in studies().items():
            title = read_toml(path, "an experiment file").get("title", "")
            err.print(plain(f"{name:<22}{', '.join(scales_of(path)):<27}{title}"))
        return
    path = experiment_file(file)
    if scale is None:
        sys.stdout.write(path.read_text(encoding="utf-8"))
    else:
        settings = read_experiment(path, scale).model_dump(mode="json")
        sys.stdout.write(json.dumps(settings, indent=1) + "\n")


@experiment_app.command("power")
@reporting_errors
def experiment_power(
    name: Annotated[
        str,
        typer.Argument(help="An experiment file, one in the database, or a published study."),
    ],
    scale: Annotated[
        str | None,
        typer.Option("--scale", "-s", help="By default small, or its only one."),
    ] = None,
    power: Annotated[
        float, typer.Option(help="How often the smallest effect of interest is to be found.")
    ] = 0.8,
    pilot: Annotated[
        str | None, typer.Option(help="An experiment whose networks say how seeds differ.")
    ] = None,
    pilot_scale: Annotated[str | None, typer.Option(help="Which scale of the pilot.")] = None,
    sd: Annotated[
        float | None, typer.Option(help="Standard deviation of the paired differences.")
    ] = None,
    format: Printed = Format.table,
    output: Output = None,
) -> None:
    """Estimate how many seeds each hypothesis of an experiment takes.

    Example: `neuroteach experiment power study.toml --pilot li2019 --pilot-scale small`
    """
    from pathlib import Path

    from pipeline.experiments.file import read_experiment
    from pipeline.experiments.selection import Selection
    from pipeline.experiments.studies import default_scale, experiment_file
    from pipeline.results.power import planned_settings, power_of_hypotheses, power_table

    with Session():
        settings = None if Path(name).suffix == ".toml" else planned_settings(name, scale)
        if settings is None:
            path = experiment_file(name)
            settings = read_experiment(path, scale or default_scale(path))
        frame = power_of_hypotheses(
            settings,
            power=power,
            pilot=None if pilot is None else Selection(pilot, pilot_scale),
            sd=sd,
        )
    title = (
        f"Seeds for a power of {power:g}: an effect of the smallest size supported, none refuted"
    )
    print_frame(frame, format, output, title=title, table=power_table)


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
