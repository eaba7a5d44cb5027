"""The commands that print results and draw figures: one for each that is registered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.lazy import CONTEXT, LazyGroup, as_command
from pipeline.cli.options import Experiment, Hardened, Output, Peek, Printed, Scale, User
from pipeline.cli.printing import Format, err, plain, print_frame
from pipeline.cli.session import Session, reporting_errors

if TYPE_CHECKING:
    from pipeline.results.registry import Result


class ResultsGroup(LazyGroup):
    """A command for each result, ours and those of installed packages."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all results."""
        from pipeline.results.registry import results

        found = results().values()
        return [result.name for result in sorted(found, key=lambda r: (r.place, r.name))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command that prints a result."""
        from pipeline.results.registry import results

        result = results().get(cmd_name)
        if result is None:
            return None
        example = f"Example: `neuroteach results {result.name} --format csv`"
        return as_command(result.name, _printing(result), f"{result.question}\n\n{example}")


results_app = typer.Typer(
    cls=ResultsGroup, help="Print results.", context_settings=CONTEXT, no_args_is_help=True
)


@results_app.callback()
def _results() -> None:
    """Print results."""


def _printing(result: Result) -> Any:
    def printed(
        of: tuple[str | None, str | None, str | None],
        format: Format,
        output: Path | None,
        **further: Any,
    ) -> None:
        from pipeline.experiments.selection import Selection
        from pipeline.results.encoders import caveat

        selection = Selection(*of)
        with Session():
            frame = result.read(selection, **further)
            if frame.empty:
                err.print(plain(result.why_nothing(selection)))
                if format is Format.table and output is None:
                    return
                said = ""
            else:
                said = "" if result.imported else caveat(selection)
        print_frame(
            frame, format, output, title=result.heading(frame), caveat=said, table=result.table
        )

    @reporting_errors
    def command(
        experiment: Experiment = None,
        scale: Scale = None,
        user: User = None,
        format: Printed = Format.table,
        output: Output = None,
    ) -> None:
        printed((experiment, scale, user), format, output)

    @reporting_errors
    def command_of_hardened(
        experiment: Experiment = None,
        scale: Scale = None,
        user: User = None,
        hardened: Hardened = None,
        format: Printed = Format.table,
        output: Output = None,
    ) -> None:
        printed((experiment, scale, user), format, output, hardened=tuple(hardened or ()))

    @reporting_errors
    def command_of_peek(
        experiment: Experiment = None,
        scale: Scale = None,
        user: User = None,
        peek: Peek = False,
        format: Printed = Format.table,
        output: Output = None,
    ) -> None:
        printed((experiment, scale, user), format, output, peek=peek)

    if result.takes_peek:
        return command_of_peek
    return command_of_hardened if result.takes_hardened else command


def _figure_names(incomplete: str) -> list[str]:
    from pipeline.results.registry import figures

    return [name for name in sorted(figures()) if name.startswith(incomplete)]


@reporting_errors
def figure(
    name: Annotated[
        str | None,
        typer.Argument(help="Which; all are listed without one.", autocompletion=_figure_names),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="PNG, PDF, SVG ...")] = None,
    experiment: Experiment = None,
    scale: Scale = None,
    user: User = None,
    scan: Annotated[
        str | None, typer.Option(help="Only this scan, in a figure of encoders.")
    ] = None,
    hardened: Hardened = None,
) -> None:
    """Draw a figure.

    Example: `neuroteach figure noise -o noise.pdf --experiment li2019`
    """
    from pipeline import figures
    from pipeline.experiments.selection import Selection
    from pipeline.results.registry import figures as known

    if name is None:
        for each, drawing in sorted(known().items()):
            err.print(f"{each:<24}{plain(drawing.question)}")
        return
    if name not in known():
        raise typer.BadParameter(
            f"{name!r}, expected one of {', '.join(sorted(known()))}", param_hint="NAME"
        )
    if output is None:
        raise typer.BadParameter("name a file to draw it into", param_hint="--output")
    with Session():
        selection = Selection(experiment, scale, user)
        figures.draw(name, output, selection, scan=scan, hardened=tuple(hardened or ()))
    err.print(f"wrote {output}")
