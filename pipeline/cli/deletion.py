"""``neuroteach delete``: rows, and everything that was computed from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import Experiment, Scale
from pipeline.cli.printing import err, plain
from pipeline.cli.session import Session, reporting_errors

if TYPE_CHECKING:
    from pipeline.query.deletion import Deletion

delete_app = typer.Typer(help="Delete rows and everything that was computed from them.")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@delete_app.command("scan")
@reporting_errors
def scan(name: str, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Delete a scan, its encoders, their teachers and the networks that these taught.

    Example: `neuroteach delete scan my-scan --dry-run`
    """
    from pipeline.query import deletion

    with Session():
        _delete(deletion.of_scan(name), dry_run, yes)


@delete_app.command("encoder")
@reporting_errors
def encoder(
    scan: Annotated[str, typer.Argument(help="The scan that it was fitted to.")],
    experiment: Experiment = None,
    scale: Scale = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Delete the encoders of a scan, and what was made of them.

    Example: `neuroteach delete encoder my-scan --experiment li2019 --dry-run`
    """
    from pipeline.experiments.selection import Selection
    from pipeline.query import deletion

    with Session():
        _delete(deletion.of_encoder(scan, Selection(experiment, scale)), dry_run, yes)


@delete_app.command("images")
@reporting_errors
def images(name: str, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Delete an image set and all networks that were trained on it.

    Example: `neuroteach delete images cifar10 --dry-run`
    """
    from pipeline.query import deletion

    with Session():
        _delete(deletion.of_images(name), dry_run, yes)


@delete_app.command("evaluation-set")
@reporting_errors
def evaluation(name: str, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Delete an evaluation set, and what networks answered to it.

    Example: `neuroteach delete evaluation-set sketches --dry-run`
    """
    from pipeline.query import deletion

    with Session():
        _delete(deletion.of_evaluation_set(name), dry_run, yes)


@delete_app.command("trials")
@reporting_errors
def trials(name: str, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Delete trials of people, by the name that they were imported by.

    Example: `neuroteach delete trials contrast --dry-run`
    """
    from pipeline.query import deletion

    with Session():
        _delete(deletion.of_trials(name), dry_run, yes)


@delete_app.command("soft-labels")
@reporting_errors
def soft_labels(image_set: str, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Delete people's answers to an image set, and what was measured by them.

    Example: `neuroteach delete soft-labels cifar10 --dry-run`
    """
    from pipeline.query import deletion

    with Session():
        _delete(deletion.of_soft_labels(image_set), dry_run, yes)


@delete_app.command("labels")
@reporting_errors
def labels(image_set: str, name: str, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Delete a label set of an image set, and all networks that learned it.

    Example: `neuroteach delete labels cifar10 worst --dry-run`
    """
    from pipeline.query import deletion

    with Session():
        _delete(deletion.of_labels(image_set, name), dry_run, yes)


@delete_app.command("stimuli")
@reporting_errors
def stimuli(
    name: Annotated[str, typer.Argument(help="Their name or key.")],
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Delete a stimulus set, scans that showed it, and what was predicted to it.

    Example: `neuroteach delete stimuli my-stimuli --dry-run`
    """
    from pipeline.query import deletion

    with Session():
        _delete(deletion.of_stimuli(name), dry_run, yes)


@delete_app.command("rsm")
@reporting_errors
def rsm(name: str, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Delete a similarity matrix that was given, and its teachers.

    Example: `neuroteach delete rsm v1 --dry-run`
    """
    from pipeline.query import deletion

    with Session():
        _delete(deletion.of_rsm(name), dry_run, yes)


@delete_app.command("network")
@reporting_errors
def network(
    where: Annotated[
        list[str],
        typer.Argument(help="Conditions, such as teacher=none seed=0; all must hold."),
    ],
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Delete trained networks and what was evaluated of them.

    Example: `neuroteach delete network teacher=none "seed in 0, 1" --dry-run`
    """
    from pipeline.query import deletion

    with Session():
        _delete(deletion.of_networks(where), dry_run, yes)


@delete_app.command("imported-network")
@reporting_errors
def imported_network(name: str, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Delete a network that others trained, and what was evaluated of it.

    Example: `neuroteach delete imported-network resnet20_std --dry-run`
    """
    from pipeline.query import deletion

    with Session():
        _delete(deletion.of_imported_network(name), dry_run, yes)


@delete_app.command("experiment")
@reporting_errors
def experiment(
    name: str,
    scale: Annotated[str, typer.Option("--scale", "-s", help="Which scale of it.")],
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Delete an experiment with what was computed for it alone; `experiment remove` keeps that.

    Example: `neuroteach delete experiment li2019 --scale smoke --dry-run`
    """
    from pipeline.query import deletion

    with Session():
        _delete(deletion.of_experiment(name, scale), dry_run, yes)


def _delete(deletion: Deletion, dry_run: bool, yes: bool) -> None:
    from pipeline.workers.status import duration

    affected = deletion.affected()
    for one in affected:
        took = f", computed in {duration(one.seconds)}" if one.seconds else ""
        err.print(plain(f"{one.rows:>7} of {one.table}{took}"))
    if dry_run:
        err.print("nothing was deleted")
        return
    if not yes and not typer.confirm("Delete these rows?", err=True):
        err.print("nothing was deleted")
        raise typer.Exit(1)
    deletion.execute()
    err.print(
        "deleted; `neuroteach database check --remove-orphans` frees their place in the store"
    )
