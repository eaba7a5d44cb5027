"""The command that brings trials of people into the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import CheckOnly
from pipeline.cli.printing import err, plain
from pipeline.cli.session import Session, reporting_errors


@reporting_errors
def import_trials(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of CSV files, one for each observer and session, or one CSV, which may "
            "be compressed; as Geirhos et al. published theirs."
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name in the database; the experiment's by default.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Which experiment, of a file that has several.")
    ] = None,
    licence: Annotated[str, typer.Option(help="A note of the terms of the data.")] = "",
    dry_run: CheckOnly = False,
) -> None:
    """Import trials of people, and of networks beside them, on manipulated images.

    Example: `neuroteach import trials contrast-experiment --name contrast --licence "CC BY 4.0"`
    """
    from predictive_model.recordings.recording import check_name
    from regularized_training.behaviour.trial_files import read_trials
    from schemas.psychophysics import Psychophysics

    trials = read_trials(source, experiment=dataset)
    name = name or trials.experiment
    check_name(name)
    n_people = len(trials.people)
    n_networks = len(trials.observers) - n_people
    unanswered = int((trials.answer == "na").sum())
    err.print(
        plain(
            f"{name}: {len(trials)} trials of {n_people} people"
            + (f" and {n_networks} networks" if n_networks else "")
            + f" in {len(trials.conditions)} conditions: {', '.join(trials.conditions)}; "
            f"{trials.correct.mean():.3f} right, {unanswered} without an answer"
        )
    )
    if dry_run:
        return
    with Session():
        added = Psychophysics.add(trials, name=name, source=source.name, licence=licence)
    err.print("imported" if added else "was there already")
