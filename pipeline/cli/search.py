"""The commands that search for good settings of encoders and networks."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import Output, Overwrite, Printed
from pipeline.cli.printing import Format, err, plain, print_frame
from pipeline.cli.session import Session, reporting_errors

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.search.proposals import Trial

search_app = typer.Typer(help="Search for good settings of encoders and networks.")

Name = Annotated[str, typer.Argument(help="Name of the search.")]


@search_app.command("run")
@reporting_errors
def search_run(
    file: Annotated[Path, typer.Argument(help="A search file (TOML).")],
    trials: Annotated[
        int, typer.Option("--trials", "-n", min=1, help="Of the search altogether.")
    ] = 20,
    name: Annotated[str | None, typer.Option(help="The file's name by default.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Try settings. May be interrupted and run again, or run several times at once.

    Example: `neuroteach search run experiments/searches/core.toml --trials 20`
    """
    from pipeline.search.file import read_search
    from pipeline.search.running import add_search, best_trial, pasted, run_search, trials_of
    from schemas import base

    settings, chosen = read_search(file), name or file.stem
    with Session():
        add_search(settings, name=chosen)
        there = sum(trial.n_epochs is not None for trial in trials_of(chosen))
        if there:
            err.print(f"search {chosen}: {there} trials are there already")
        with nullcontext() if quiet else err.status("") as status:
            if status is not None:
                base.configure(progress=lambda line: status.update(plain(line)))
            try:
                run_search(
                    chosen,
                    trials,
                    on_trial=lambda trial: None if quiet else err.print(_described(trial)),
                )
            except KeyboardInterrupt:
                err.print("interrupted; the same command goes on from here")
                raise typer.Exit(1) from None
            finally:
                base.configure(progress=lambda line: None)
        if not quiet and any(trial.state == "complete" for trial in trials_of(chosen)):
            best = best_trial(chosen)
            measure = settings.measure.replace("_", " ")
            err.print(f"best: trial {best.number}, {measure} {best.score:.4f}")
            err.print(plain(pasted(best).rstrip()))
    err.print(
        f"done; see `neuroteach search results {chosen}`; `neuroteach search best {chosen}` "
        "writes an experiment file"
    )


def _described(trial: Trial) -> str:
    """One line about a finished trial."""
    value = trial.score
    said = f"{trial.state:<8}" if value is None else f"{trial.state:<8} {value:.4f}"
    settings = ", ".join(f"{name} {_short(v)}" for name, v in trial.parameters.items())
    line = f"trial {trial.number}: {said} after {trial.n_epochs} epochs"
    if trial.seconds is not None:
        line += f", {trial.seconds:.1f} s"
    line += f"; {settings}"
    return plain(line + (f": {trial.message}" if trial.message else ""))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@search_app.command("list")
@reporting_errors
def search_list(
    format: Printed = Format.table,
    output: Output = None,
) -> None:
    """List searches.

    Example: `neuroteach search list`
    """
    with Session():
        from pipeline.search.running import searches

        frame = searches()
    print_frame(frame, format, output, title="Searches")


@search_app.command("results")
@reporting_errors
def search_results(
    name: Name,
    format: Printed = Format.table,
    output: Output = None,
) -> None:
    """Print all trials, the best first.

    Example: `neuroteach search results core --format csv`
    """
    with Session():
        from pipeline.search import running as search

        frame, caveat = search.trials(name), search.caveat(name)
    messages: list[tuple[int, str]] = []
    if format is Format.table:
        said = frame[frame["message"] != ""]
        messages = list(zip(said["number"], said["message"], strict=True))
        frame = _narrow(frame.drop(columns="message"))
    print_frame(frame, format, output, title=f"Search {plain(name)}", caveat=caveat)
    for number, message in messages:
        err.print(f"trial {number}: {plain(message)}")


def _narrow(frame: pd.DataFrame) -> pd.DataFrame:
    """The last words of settings' names for headings, where no two end alike."""
    last = Counter(str(column).rpartition(".")[2] for column in frame.columns)
    short = {c: word for c in frame.columns if last[word := str(c).rpartition(".")[2]] == 1}
    return frame.rename(columns=short)


@search_app.command("best")
@reporting_errors
def search_best(
    name: Name,
    output: Output = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the best settings as an experiment file, to compute them anew and score them.

    Example: `neuroteach search best core -o best.toml && neuroteach experiment add best.toml`
    """
    from predictive_model.exporters.whole import written_whole

    with Session():
        from pipeline.search.running import best_experiment

        text = best_experiment(name)
    if output is None:
        sys.stdout.write(text)
    else:
        with written_whole(output, overwrite=overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8")
        err.print(f"wrote {output}; plan it with `neuroteach experiment add {output}`")
