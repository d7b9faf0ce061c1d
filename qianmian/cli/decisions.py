"""`qianmian decisions`: read what was shown to whom and why."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from qianmian.cli.state import CliState

app = typer.Typer(help="Read the decision log: what was shown to whom and why.")

MOMENT = "ISO 8601, UTC unless it says so."

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        exists=True,
        file_okay=False,
        help="As `args.decision_log.folder` has it, if the service does.",
    ),
]


@app.command()
def tail(
    ctx: typer.Context,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="Decisions to print.")] = 10,
    folder: Folder = None,
) -> None:
    """Print the newest decisions, one JSON object a line, the oldest first.

    What a running service answered is there within moments.
    """
    from qianmian.decisions.segments import newest

    for row in newest(folder or CliState.of(ctx).workspace.decisions, lines):
        typer.echo(json.dumps(row, ensure_ascii=False, default=datetime.isoformat))


@app.command()
def export(
    ctx: typer.Context,
    to: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"From then on; {MOMENT}")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Before then; {MOMENT}")
    ] = None,
    folder: Folder = None,
) -> None:
    """Write decisions to one Parquet file, the oldest segment first."""
    from qianmian.decisions.segments import read, write_sealed
    from serving.clock import parse_moment

    tables = read(
        folder or CliState.of(ctx).workspace.decisions,
        since=parse_moment(since, field="--since") if since else None,
        until=parse_moment(until, field="--until") if until else None,
    )
    to.parent.mkdir(parents=True, exist_ok=True)
    rows = write_sealed(to, (batch for table in tables for batch in table.to_batches()))
    typer.echo(f"{to}: {rows} rows, one for each block that was shown")
