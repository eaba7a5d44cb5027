"""The command line ``neuroteach``. Results alone go to standard output, all else to standard error.

Exit codes: 0 done, 1 failed, 2 wrong use.
"""

from __future__ import annotations

import typer

from pipeline.cli.lazy import CONTEXT, LazyGroup


class Commands(LazyGroup):
    """All commands, with what their groups say of them."""

    commands_there = {
        "init": (
            "pipeline.cli.server:init",
            "Make the home folder and the database's tables.",
        ),
        "simulate": ("pipeline.cli.inputs:simulate", "Simulate a scan of visual cortex."),
        "predict": (
            "pipeline.cli.encoders:predict",
            "Predict a scan's responses to stimuli that it need not have seen.",
        ),
        "populate": (
            "pipeline.cli.workers:populate",
            "Compute all that is planned and missing.",
        ),
        "worker": (
            "pipeline.cli.workers:worker",
            "Take computations from the database until none is left.",
        ),
        "status": (
            "pipeline.cli.status:status",
            "Say what is computed, what is missing, what failed, and who is at work.",
        ),
        "query": (
            "pipeline.cli.query:query",
            "Print rows of any tables, joined on the keys that they share.",
        ),
        "explain": (
            "pipeline.cli.query:explain",
            "Say what made a row, and all that it was computed from.",
        ),
        "figure": ("pipeline.cli.results:figure", "Draw a figure."),
        "import": (
            "pipeline.cli.inputs:import_app",
            "Bring recordings, encoders, images and networks into the database.",
        ),
        "export": (
            "pipeline.cli.exports:export_app",
            "Write scans, responses, networks and experiments to files.",
        ),
        "experiment": ("pipeline.cli.experiments:experiment_app", "Plan and list experiments."),
        "search": (
            "pipeline.cli.search:search_app",
            "Search for settings of encoders.",
        ),
        "results": ("pipeline.cli.results:results_app", "Print results."),
        "delete": (
            "pipeline.cli.deletion:delete_app",
            "Delete rows and everything that was computed from them.",
        ),
        "database": (
            "pipeline.cli.server:database_app",
            "Start, reach, copy, save and check the database.",
        ),
    }


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help takes longer to import than all else that --help needs
    context_settings=CONTEXT,
)


@app.callback()
def neuroteach() -> None:
    """Teach deep networks to see robustly with recordings of visual cortex."""


def main() -> None:
    """Entry point of the command ``neuroteach``."""
    app()


if __name__ == "__main__":
    main()
