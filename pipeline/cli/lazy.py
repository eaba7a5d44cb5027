"""Commands that are imported when they are called, so that ``--help`` is there at once."""

from __future__ import annotations

import importlib
import os
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

CONTEXT = {"help_option_names": ["-h", "--help"]}
# The process is ours: no variable DJ_* and no datajoint.json of a laboratory is meant for it,
# standard output has results alone, and figures go to files.
ENVIRONMENT = {
    "DJ_IGNORE_CONFIG_FILE": "true",
    "DJ_LOG_STREAM": "stderr",
    "DJ_LOG_LEVEL": "ERROR",
    "MPLBACKEND": "agg",
}


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and by what they do, before it imports them.

    A subclass has ``commands_there``: for each name a ``module:attribute``, a function or a Typer,
    and the line of help that its group shows.
    """

    commands_there: dict[str, tuple[str, str]] = {}
    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, in their order."""
        return [*self.commands_there, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; while commands are listed, what stands for it."""
        if cmd_name not in self.commands_there:
            return super().get_command(ctx, cmd_name)
        target, line = self.commands_there[cmd_name]
        if self._listing:
            return TyperCommand(cmd_name, help=line)
        return load(cmd_name, target)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, importing no command."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


def load(name: str, target: str) -> Any:
    """The command that a function or a Typer of a module is."""
    for variable in [name for name in os.environ if name.upper().startswith("DJ_")]:
        del os.environ[variable]
    os.environ.update(ENVIRONMENT)
    module, _, attribute = target.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, typer.Typer):
        found.info.no_args_is_help = True
        group = typer.main.get_group(found)
        group.name = name
        return group
    return as_command(name, found)


def as_command(name: str, function: Any, help_text: str | None = None) -> Any:
    """A command that calls a function."""
    alone = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings=CONTEXT,
    )
    alone.command(name, help=help_text)(function)
    command = typer.main.get_command(alone)
    command.name = name
    return command
