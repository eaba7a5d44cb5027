"""The command line ``neuroteach``. Results alone go to standard output, all else to standard error.

Exit codes: 0 done, 1 failed, 2 wrong use.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.encoders import predict
from pipeline.cli.exports import export_app
from pipeline.cli.inputs import import_app, simulate
from pipeline.cli.printing import Format, err, plain, print_frame
from pipeline.cli.query import explain, query
from pipeline.cli.search import search_app
from pipeline.cli.server import database_app
from pipeline.cli.session import Session, reporting_errors
from pipeline.cli.workers import populate, status, worker

# Everything that imports torch or DataJoint is imported by the command that needs it, so that
# --help is there at once.

app = typer.Typer(
    help="Teach deep networks to see robustly with recordings of visual cortex.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
experiment_app = typer.Typer(help="Plan and list experiments.")
results_app = typer.Typer(help="Print results.")
for sub, name in (
    (import_app, "import"),
    (export_app, "export"),
    (experiment_app, "experiment"),
    (search_app, "search"),
    (results_app, "results"),
    (database_app, "database"),
):
    sub.info.no_args_is_help = True
    app.add_typer(sub, name=name)
for command in (simulate, predict, populate, worker, status, query, explain):
    app.command()(command)


class FigureChoice(enum.StrEnum):
    """Figures there are."""

    similarity = "similarity"
    stability = "stability"
    spectra = "spectra"
    pairs = "pairs"
    teachers = "teachers"
    stimuli = "stimuli"
    accuracy = "accuracy"
    accuracy_distribution = "accuracy-distribution"
    superclass_errors = "superclass-errors"
    label_corruption = "label-corruption"
    activations = "activations"
    noise = "noise"
    calibration = "calibration"
    alpha = "alpha"
    adversarial = "adversarial"
    layers = "layers"
    layer_weights = "layer-weights"
    receptive_fields = "receptive-fields"
    filters = "filters"
    gaze = "gaze"
    gain = "gain"
    most_exciting_images = "most-exciting-images"


Experiment = Annotated[str | None, typer.Option("--experiment", "-e", help="Only this experiment.")]
Scale = Annotated[str | None, typer.Option("--scale", "-s", help="Only this scale of it.")]


# -- init --------------------------------------------------------------------------------------


@app.command()
@reporting_errors
def init() -> None:
    """Make the home folder and the database's tables.

    Example: `neuroteach init`
    """
    with Session() as database:
        settings = database.settings
        err.print(f"home      {settings.home}")
        err.print(f"database  {settings.database_for_display}")
        err.print(f"store     {settings.store}")
        if settings.embedded_folder is None and not settings.store_is_shared:
            err.print(
                "note: arrays and weights go to this machine's home; to share them set "
                "NEUROTEACH_STORE to a folder that all users of the server reach, or to "
                "s3://BUCKET/PREFIX"
            )


# -- experiments -------------------------------------------------------------------------------


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
        list[str] | None, typer.Option(help="Use this scan instead; may be given again.")
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
    format: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
    output: Annotated[Path | None, typer.Option("--output", "-o")] = None,
) -> None:
    """List experiments.

    Example: `neuroteach experiment list`
    """
    from pipeline.results import frames as results

    with Session():
        frame = results.experiments()
    print_frame(frame, format, output, title="Experiments")


# -- results and figures -----------------------------------------------------------------------


def _result_command(name: str, title: str, help_text: str) -> None:
    function = name.replace("-", "_")

    @results_app.command(
        name, help=f"{help_text}\n\nExample: `neuroteach results {name} --format csv`"
    )
    @reporting_errors
    def command(
        experiment: Experiment = None,
        scale: Scale = None,
        format: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
        output: Annotated[
            Path | None, typer.Option("--output", "-o", help="Write to a file instead.")
        ] = None,
    ) -> None:
        from pipeline.experiments.planned import why_nothing
        from pipeline.results import frames as results
        from pipeline.results.tables import TABLES

        with Session():
            frame = getattr(results, function)(experiment, scale)
            if frame.empty:
                err.print(plain(why_nothing(function, experiment, scale)))
                if format is Format.table and output is None:
                    return
                caveat = ""
            else:
                caveat = results.caveat(experiment, scale)
        table = TABLES.get(function)
        print_frame(frame, format, output, title=title, caveat=caveat, table=table)


_result_command("similarity", "Agreement with the oracle's similarity", "How good is the denoiser?")
_result_command(
    "stability",
    "Spread of similarity over scans (Eq. 4) and repeats (Eq. 5)",
    "How stable is similarity over scans and repeats?",
)
_result_command(
    "spectra",
    "Range and effective dimension of similarity",
    "How wide and how many-dimensional are recorded and predicted similarity?",
)
_result_command("encoders", "Encoders", "How well are neurons predicted?")
_result_command(
    "accuracy", "Accuracy after training", "How accurate are the networks, and on what?"
)
_result_command(
    "superclass-errors",
    "Errors within the right superclass",
    "How many errors stay within the right superclass?",
)
_result_command(
    "activations", "Variance of a layer's activations", "How diverse are a layer's activations?"
)
_result_command("noise", "Accuracy under noise", "How robust are the networks to noise?")
_result_command(
    "adversarial",
    "Median minimal adversarial distance",
    "How small a perturbation fools the networks?",
)
_result_command(
    "attack-checks",
    "Can attacks be believed?",
    "Do attacks do what attacks must, on each network?",
)
_result_command(
    "layers",
    "Similarity of layers to the brain, on stimuli that did not teach",
    "Which layers became like the brain?",
)
_result_command(
    "differences",
    "Differences between teachers, paired over seeds",
    "How sure are differences between teachers?",
)


@app.command()
@reporting_errors
def figure(
    name: Annotated[FigureChoice, typer.Argument(help="Which figure.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG, PDF, SVG ...")],
    experiment: Experiment = None,
    scale: Scale = None,
    scan: Annotated[
        str | None, typer.Option(help="Only this scan, in a figure of encoders.")
    ] = None,
) -> None:
    """Draw a figure.

    Example: `neuroteach figure noise -o noise.pdf --experiment li2019`
    """
    from pipeline import figures

    with Session():
        figures.draw(name.value, output, experiment=experiment, scale=scale, scan=scan)
    err.print(f"wrote {output}")


def main() -> None:
    """Entry point of the command ``neuroteach``."""
    app()


if __name__ == "__main__":
    main()
