"""The command line `qianmian`: global options, and the table of its commands.

Run with `qianmian --help` or `python -m qianmian.cli.main --help`. Each command lives in a module
of its own name in this package and is imported when it is called.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from qianmian.cli.lazy import Entry, LazyGroup
from qianmian.cli.state import CliState
from qianmian.leave import leave_quietly
from qianmian.workspace import DEFAULT_DATASET

JOURNEY = "The journey, in order"
LOOK = "Look at what it does, and after it"

COMMANDS = (
    Entry(JOURNEY, "data", "Check a folder against the data contract and import it."),
    Entry(JOURNEY, "features", "Build feature snapshots and fill the online store."),
    Entry(JOURNEY, "train", "Train two-tower and ranker, prove parity, publish a release."),
    Entry(JOURNEY, "tune", "Search a profile's knobs on held-out time."),
    Entry(JOURNEY, "evaluate", "Measure a release against its baselines, repeats and new apart."),
    Entry(JOURNEY, "release", "List, show, promote and roll back releases."),
    Entry(JOURNEY, "serve", "Start the service on the live release."),
    Entry(JOURNEY, "events", "Import events into the service's log, follow it, see its state."),
    Entry(JOURNEY, "stream", "Turn events into fresh features; `serve` starts it by itself."),
    Entry(LOOK, "keys", "Rotate and retire the keys that sign tokens."),
    Entry(LOOK, "venue", "Check venue files, show a venue, preview its page."),
    Entry(LOOK, "campaigns", "Sponsored campaigns: budgets, pacing, what they brought."),
    Entry(LOOK, "recommend", "Print one venue page for one shopper as a table."),
    Entry(LOOK, "users", "Merge devices into accounts, forget people, look at receipts."),
    Entry(LOOK, "decisions", "Read what was shown to whom and why."),
    Entry(LOOK, "demo", "Start the service and show two shoppers' pages of one venue."),
)

EPILOG = """\b
Examples:
  qianmian data import complete-journey
  qianmian features build --profile quick
  qianmian train --profile quick
  qianmian release promote latest
  qianmian recommend 18 2375 --explain
  qianmian --dataset my-shop data check path/to/folder

Exit codes: 0 done, 2 a mistake that the message tells how to mend, 130 stopped
by hand. A traceback is a bug of qianmian.
"""


class Root(LazyGroup):
    """The commands of `qianmian`."""

    entries = COMMANDS


app = typer.Typer(
    cls=Root,
    add_completion=False,
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"qianmian {version('qianmian')}")
        raise typer.Exit


@app.callback()
def qianmian(
    ctx: typer.Context,
    home: Annotated[
        Path,
        typer.Option(envvar="QIANMIAN_HOME", help="The folder that holds all data sets."),
    ] = Path("var"),
    dataset: Annotated[
        str,
        typer.Option(envvar="QIANMIAN_DATASET", help="The data set that the command is about."),
    ] = DEFAULT_DATASET,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Rank the items of event venue pages for each visitor (千人千面).

    A venue (会场) is a page of a sales event: it has a period, blocks with slots and a pool of
    items. From the events of a shop qianmian builds point-in-time features, trains a two-tower
    model for retrieval and a model for ranking, publishes both as one release, and serves each
    visitor a page of the venue ranked for them.

    Everything of one data set lies below `<home>/<dataset>/`. Each step is stamped with what it
    was made from: repeated, it says that its result is already there and returns.
    """
    ctx.obj = CliState(root=home, dataset=dataset)


def main() -> None:
    """Run the command line: the entry point of the console script."""
    leave_quietly()
    app(prog_name="qianmian")


if __name__ == "__main__":
    main()
