"""A command group that imports a command's module only when that command runs.

So `qianmian --help` answers at once, and no command pays for another one's libraries. It is also
where a mistake of the user, or an optional part that is not installed, becomes one line and exit
code 2 instead of a traceback.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import typer
import typer.core
import typer.main

from qianmian.cli.extras import extra_with
from qianmian.errors import QianmianError

if TYPE_CHECKING:
    from typer import _click

USER_MISTAKE = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table of commands: where it stands, what it is called and what it does.

    The module `qianmian.cli.<name>` holds either `app`, a group of commands, or a function of the
    command's own name.
    """

    section: str
    name: str
    summary: str

    @property
    def module(self) -> str:
        return f"qianmian.cli.{self.name}"

    def load(self) -> _click.Command:
        """Import the module and build its command."""
        module = importlib.import_module(self.module)
        app: typer.Typer | None = getattr(module, "app", None)
        if app is None:
            app = typer.Typer(add_completion=False)
            app.command(self.name)(getattr(module, self.name))
        app.rich_markup_mode = None
        app.pretty_exceptions_enable = False
        command = typer.main.get_command(app)
        command.name = self.name
        return command


class LazyGroup(typer.core.TyperGroup):
    """A group whose commands are stand-ins, with a summary each, until one of them is called.

    Subclasses name their commands in `entries`.
    """

    entries: Sequence[Entry] = ()

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for entry in self.entries:
            stand_in = typer.core.TyperCommand(entry.name, short_help=entry.summary)
            self.add_command(stand_in, entry.name)

    def resolve_command(
        self, ctx: _click.Context, args: list[str]
    ) -> tuple[str | None, _click.Command | None, list[str]]:
        """Put the real command in its stand-in's place."""
        name, command, rest = super().resolve_command(ctx, args)
        for entry in self.entries:
            if entry.name == name:
                return name, entry.load(), rest
        return name, command, rest

    def format_commands(self, ctx: _click.Context, formatter: _click.HelpFormatter) -> None:
        """Write the commands in the order of the table, under its sections."""
        del ctx
        width = max((len(entry.name) for entry in self.entries), default=0)
        for section, entries in groupby(self.entries, key=lambda entry: entry.section):
            with formatter.section(section):
                formatter.write_dl([(entry.name.ljust(width), entry.summary) for entry in entries])

    def invoke(self, ctx: _click.Context) -> object:
        """Run the command; a mistake its user can mend is told in one message, exit code 2."""
        try:
            return super().invoke(ctx)
        except QianmianError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(USER_MISTAKE) from None
        except ModuleNotFoundError as error:
            extra = extra_with(error.name)
            if extra is None:  # no optional part: a bug, or a broken installation
                raise
            typer.echo(
                f"error: the package of the module {error.name} is not installed: it belongs to "
                f"the extra qianmian[{extra}]; in a checkout `make env` installs everything",
                err=True,
            )
            raise typer.Exit(USER_MISTAKE) from None
