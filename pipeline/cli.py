"""The command line ``neuroteach``. Results alone go to standard output, all else to standard error.

Exit codes: 0 done, 1 failed, 2 wrong use.
"""

from __future__ import annotations

import enum
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar, cast, get_args

import typer

from pipeline.printing import Format, err, plain, print_frame
from pipeline.settings import SettingsError, load_settings

# Everything that imports torch or DataJoint is imported by the command that needs it, so that
# --help is there at once.

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    help="Teach deep networks to see robustly with recordings of visual cortex.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
import_app = typer.Typer(help="Bring recordings and images into the database.")
experiment_app = typer.Typer(help="Plan and list experiments.")
results_app = typer.Typer(help="Print results.")
database_app = typer.Typer(help="Start, stop and name the database.")
for sub, name in (
    (import_app, "import"),
    (experiment_app, "experiment"),
    (results_app, "results"),
    (database_app, "database"),
):
    sub.info.no_args_is_help = True
    app.add_typer(sub, name=name)


class FigureChoice(enum.StrEnum):
    """Figures there are."""

    similarity = "similarity"
    noise = "noise"


Experiment = Annotated[str | None, typer.Option("--experiment", "-e", help="Only this experiment.")]
Scale = Annotated[str | None, typer.Option("--scale", "-s", help="Only this scale of it.")]


def _errors(function: Callable[P, R]) -> Callable[P, R]:
    """Turn errors that a user can mend into one line and an exit code of 1."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except typer.Exit:
            raise  # it is a RuntimeError too
        except (ValueError, LookupError, OSError, RuntimeError) as error:
            text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
            err.print(f"[red]error:[/red] {plain(text)}")
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            err.print("interrupted; `neuroteach populate` goes on from here")
            raise typer.Exit(1) from None

    return wrapped


class _Session:
    """An open database; an embedded server that was started for it is stopped after it."""

    def __enter__(self) -> Any:
        from pipeline.database import embedded_server, open_database

        settings = load_settings()
        self.server = embedded_server(settings)
        self.started = self.server is not None and not self.server.running()
        try:
            self.database = open_database(settings)
        except BaseException:
            self._stop()
            raise
        return self.database

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        import psycopg2

        from schemas.base import dj

        self.database.close()
        self._stop()
        if isinstance(error, (dj.DataJointError, psycopg2.Error)):
            said = " ".join(str(error).split())
            raise RuntimeError(f"the database refused: {said}") from error

    def _stop(self) -> None:
        if self.server is not None and self.started:
            self.server.stop()  # stays up by itself if others use it


# -- init --------------------------------------------------------------------------------------


@app.command()
@_errors
def init() -> None:
    """Make the home folder and the database's tables.

    Example: `neuroteach init`
    """
    with _Session() as database:
        settings = database.settings
        err.print(f"home      {settings.home}")
        err.print(f"database  {settings.database_for_display}")
        err.print(f"store     {settings.store}")


# -- import and simulate -----------------------------------------------------------------------


@import_app.command("scan")
@_errors
def import_scan(
    file: Annotated[Path, typer.Argument(help="An .npz file of arrays.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the scan; the file's by default.")
    ] = None,
    test_images: Annotated[
        int | None,
        typer.Option(help="Hold out so many repeated images, where every image was repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses test and validation images.")] = 0,
    species: Annotated[str, typer.Option(help="For instance: macaque.")] = "",
    area: Annotated[str, typer.Option(help="For instance: V4.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and report only.")] = False,
) -> None:
    """Import a recording.

    Example: `neuroteach import scan session.npz --name v4-210325 --test-images 100`
    """
    from predictive_model.importers.arrays import read_arrays

    recording = read_arrays(
        file, name=name, test_images=test_images, seed=seed, species=species, area=area
    )
    _describe(recording)
    if not dry_run:
        _add_scan(recording, source=file.name)


@import_app.command("images")
@_errors
def import_images(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder or archive of {train,test}/CLASS/IMAGE; `digits`; or one of "
            "torchvision's: CIFAR10, CIFAR100, MNIST, FashionMNIST, SVHN."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the image set.")] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Convert colour to grey.")] = False,
    size: Annotated[int | None, typer.Option(help="Resize to so many pixels a side.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where torchvision keeps its sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let torchvision fetch it.")] = False,
) -> None:
    """Import labelled images.

    Example: `neuroteach import images cifar10.tar.xz --name cifar10-grey --grey`
    """
    from dataclasses import replace

    from predictive_model.recording import check_name
    from regularized_training import tasks
    from schemas import training

    if source == "digits":
        task = tasks.digits(size or 32)
    elif source in get_args(tasks.TorchvisionName):
        folder = root or load_settings().home / "torchvision"
        set_name = cast("tasks.TorchvisionName", source)
        task = tasks.read_torchvision(set_name, folder, grey=grey, download=download)
    else:
        task = tasks.read_image_folder(source, grey=grey, size=size)
    task = replace(task, name=name or task.name)
    check_name(task.name)
    err.print(
        f"{task.name}: {len(task.train_images)} training and {len(task.test_images)} test images "
        f"of {' x '.join(map(str, task.image_shape))}, {len(task.classes)} classes"
    )
    with _Session():
        added = training.ImageSet.add(task, source=Path(source).name)
    err.print("imported" if added else "was there already")


@app.command()
@_errors
def simulate(
    name: Annotated[str, typer.Option(help="Name of the scan.")] = "simulated",
    neurons: Annotated[int, typer.Option(min=1)] = 100,
    images: Annotated[int, typer.Option(min=20, help="Distinct images.")] = 1000,
    repeated: Annotated[int, typer.Option(min=3, help="How many of them are repeated.")] = 60,
    repeats: Annotated[int, typer.Option(min=2, help="How often.")] = 10,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    height: Annotated[int, typer.Option(min=16)] = 36,
    width: Annotated[int, typer.Option(min=16)] = 64,
) -> None:
    """Simulate a recording of visual cortex: Gabor-energy neurons, gaze, running, Poisson noise.

    Example: `neuroteach simulate --name sim-a --neurons 200 --images 2000 --seed 1`
    """
    from predictive_model.simulation import SimulatedCortex, SimulatedCortexConfig
    from predictive_model.stimuli import natural_stimuli

    if repeated >= images:
        raise typer.BadParameter(
            "expected fewer repeated images than images", param_hint="--repeated"
        )
    config = SimulatedCortexConfig(n_neurons=neurons, image_shape=(height, width))
    cortex = SimulatedCortex(config, seed=seed)
    # The stimuli do not depend on the scan's seed: scans of the same size share them.
    stimuli = natural_stimuli(images, (height, width), seed=0)
    recording = cortex.record(stimuli, n_repeated=repeated, n_repeats=repeats, seed=seed, name=name)
    _describe(recording)
    _add_scan(recording, source=f"SimulatedCortex, seed {seed}: {config.model_dump_json()}")


def _describe(recording: Any) -> None:
    tiers = ", ".join(f"{len(recording.trials_of(t))} {t}" for t in ("train", "validation", "test"))
    extras = [x for x in ("behaviour", "pupil") if getattr(recording, x) is not None]
    err.print(
        f"{recording.name}: {recording.n_images} images of "
        f"{' x '.join(map(str, recording.image_shape))}, {recording.n_trials} trials ({tiers}), "
        f"{recording.n_neurons} neurons, {int((recording.repeats > 1).sum())} images repeated"
        + "".join(f", {extra}" for extra in extras)
        + (", simulated" if recording.simulated else "")
    )


def _add_scan(recording: Any, *, source: str) -> None:
    from schemas.recording import Scan

    with _Session():
        added = Scan.add(recording, source=source)
    err.print("imported" if added else "was there already")


# -- experiments -------------------------------------------------------------------------------


@experiment_app.command("add")
@_errors
def experiment_add(
    file: Annotated[Path, typer.Argument(help="An experiment file (TOML).")],
    scale: Annotated[str, typer.Option("--scale", "-s", help="smoke, small or paper.")] = "small",
    name: Annotated[str | None, typer.Option(help="The file's name by default.")] = None,
    scan: Annotated[
        list[str] | None, typer.Option(help="Use this scan instead; may be given again.")
    ] = None,
    images: Annotated[str | None, typer.Option(help="Use this image set instead.")] = None,
) -> None:
    """Plan an experiment; `neuroteach populate` computes it.

    Example: `neuroteach experiment add experiments/li2019.toml --scale small`
    """
    from pipeline.experiments import add_experiment, read_experiment

    changes: dict[str, Any] = {}
    if scan:
        changes["recordings"] = scan
    if images:
        changes["images"] = images
    settings = read_experiment(file, scale, **changes)
    with _Session():
        added = add_experiment(settings, name=name or file.stem, scale=scale)
    err.print("planned" if added else "was planned already")


@experiment_app.command("list")
@_errors
def experiment_list(
    format: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
    output: Annotated[Path | None, typer.Option("--output", "-o")] = None,
) -> None:
    """List experiments.

    Example: `neuroteach experiment list`
    """
    from pipeline import results

    with _Session():
        frame = results.experiments()
    print_frame(frame, format, output, title="Experiments")


# -- populate and status -----------------------------------------------------------------------


@app.command()
@_errors
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
    from pipeline import populate as population
    from pipeline import workers as worker_processes

    with _Session() as database:
        if retry:
            err.print(f"{population.retry_failures()} failed computations will be tried again")
        if workers > 1:
            failed = worker_processes.run(
                database, workers, experiment=experiment, scale=scale, quiet=quiet, console=err
            )
        else:
            failed = worker_processes.work(
                experiment=experiment, scale=scale, quiet=quiet, as_worker=as_worker, console=err
            )
    if failed:
        for failure in failed[:10]:
            err.print(f"[red]failed:[/red] {failure.table} {plain(str(failure.key))}")
            err.print(f"        {plain(failure.message.splitlines()[0])}")
        err.print(
            f"{len(failed)} computations failed; mend the cause and `neuroteach populate --retry`"
        )
        raise typer.Exit(1)


@app.command()
@_errors
def status(
    experiment: Experiment = None,
    scale: Scale = None,
    format: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
    output: Annotated[Path | None, typer.Option("--output", "-o")] = None,
) -> None:
    """Say what is computed, what is missing and what failed.

    Example: `neuroteach status --format json`
    """
    import pandas as pd

    from pipeline import populate as population
    from pipeline import results

    with _Session() as database:
        done = population.progress(experiment, scale)
        failed = population.failures()
        inputs = results.status_of_inputs()
        where = database.settings.database_for_display
    err.print(f"database {where}")
    for kind, names in inputs.items():
        err.print(f"{kind}: {', '.join(names) or 'none yet'}")
    counts = {table: sum(f.table == table for f in failed) for table in {f.table for f in failed}}
    frame = pd.DataFrame(
        [
            {"table": p.table, "done": p.done, "planned": p.total, "failed": counts.get(p.table, 0)}
            for p in done
        ]
    )
    print_frame(frame, format, output, title="Computed")
    _report(failed)


def _report(failed: list[Any]) -> None:
    for failure in failed:
        err.print(f"[red]failed:[/red] {failure.table} {plain(str(failure.key))}")
        err.print(f"        {plain(failure.message.splitlines()[0])}")


# -- results and figures -----------------------------------------------------------------------


def _result_command(name: str, title: str, help_text: str) -> None:
    @results_app.command(
        name, help=f"{help_text}\n\nExample: `neuroteach results {name} --format csv`"
    )
    @_errors
    def command(
        experiment: Experiment = None,
        scale: Scale = None,
        format: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
        output: Annotated[
            Path | None, typer.Option("--output", "-o", help="Write to a file instead.")
        ] = None,
    ) -> None:
        from pipeline import results

        with _Session():
            frame = getattr(results, name)(experiment, scale)
            caveat = results.caveat(experiment, scale)
        print_frame(frame, format, output, title=title, caveat=caveat)


_result_command("similarity", "Agreement with the oracle's similarity", "How good is the denoiser?")
_result_command("encoders", "Encoders", "How well are neurons predicted?")
_result_command("noise", "Accuracy under Gaussian noise", "How robust are the networks?")


@app.command()
@_errors
def figure(
    name: Annotated[FigureChoice, typer.Argument(help="Which figure.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG, PDF, SVG ...")],
    experiment: Experiment = None,
    scale: Scale = None,
) -> None:
    """Draw a figure.

    Example: `neuroteach figure noise -o noise.pdf --experiment li2019`
    """
    from pipeline import figures

    with _Session():
        figures.draw(name.value, output, experiment=experiment, scale=scale)
    err.print(f"wrote {output}")


# -- database ----------------------------------------------------------------------------------


def _embedded() -> Any:
    from pipeline.database import embedded_server

    server = embedded_server(load_settings())
    if server is None:
        raise SettingsError(
            "NEUROTEACH_DATABASE names a server, which is not this program's to start or stop"
        )
    return server


@database_app.command("start")
@_errors
def database_start() -> None:
    """Start the embedded database and leave it running, so that commands begin sooner.

    Example: `neuroteach database start`
    """
    _embedded().start()
    err.print("the database is running")


@database_app.command("stop")
@_errors
def database_stop(
    force: Annotated[bool, typer.Option("--force", help="Cut open sessions.")] = False,
) -> None:
    """Stop the embedded database, unless someone is using it.

    Example: `neuroteach database stop`
    """
    result = _embedded().stop(force=force)
    err.print(str(result))
    if not result.stopped:
        raise typer.Exit(1)


@database_app.command("url")
@_errors
def database_url() -> None:
    """Print what other programs need to connect. An embedded database is started for that.

    Example: `psql "$(neuroteach database url)"`
    """
    from urllib.parse import quote

    from pipeline.database import embedded_server

    settings = load_settings()
    server = embedded_server(settings)
    if server is None:
        sys.stdout.write(settings.database + "\n")
        return
    s = server.start()
    sys.stdout.write(
        f"postgresql://{s.user}:{quote(s.password)}@/{s.database}"
        f"?host={quote(str(s.socket_folder), safe='')}&port={s.port}\n"
    )


def main() -> None:
    """Entry point of the command ``neuroteach``."""
    app()


if __name__ == "__main__":
    main()
