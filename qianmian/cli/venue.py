"""`qianmian venue`: check the operators' files, show a venue, preview its page."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from qianmian.cli.options import AsJson, ClockText, Config
from qianmian.cli.preview import print_page, service_at, shopper
from qianmian.cli.state import CliState
from qianmian.cli.wide import console
from qianmian.errors import ConfigError, VenueNotFoundError

if TYPE_CHECKING:
    from qianmian.data.store import Dataset
    from qianmian.venues import Venue, VenueBook
    from qianmian.workspace import Workspace

app = typer.Typer(
    add_completion=False,
    help="Check venue files, show a venue, preview its page.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Configs = Annotated[
    Path | None, typer.Option(help="Folder that holds venues/; else the shipped configs/.")
]
VenueId = Annotated[str, typer.Argument(help="Venue id.", metavar="VENUE")]
#: Parts of a venue that `show` prints as they are written, without what is as always.
_PARTS: Final = ("pool", "eligibility", "rules", "fallback", "sponsored", "racing")


@app.command()
def check(ctx: typer.Context, configs: Configs = None) -> None:
    """Check every venue file of the data set, beside the data set.

    Faults are told with file, line, path, value and what was expected, and end it with exit code 2.
    What may be a slip, an item or a value that the data set does not hold, is told as a note.
    """
    from qianmian.venues.advice import advice

    dataset, book = _book(CliState.of(ctx).workspace, configs)
    if book.refused:
        raise ConfigError("\n".join(book.refused.values()))
    values = _values(dataset)
    for path, venue_id in book.files():
        typer.echo(f"ok {path}" if venue_id is None else f"ok {path}: venue {venue_id}")
        if venue_id is not None:
            for note in advice(book.venues[venue_id], values):
                typer.echo(f"  note: {note}")
    typer.echo(f"{len(book.venues)} venues of {dataset.spec.name}")


@app.command()
def show(
    ctx: typer.Context, venue: VenueId, configs: Configs = None, as_json: AsJson = False
) -> None:
    """Show a venue as it is in force: data set, default.yaml and its own file together."""
    from qianmian.config.document import write_document

    _, book = _book(CliState.of(ctx).workspace, configs)
    found = _found(book, venue)
    parts = {name: part for name in _PARTS if (part := _plain(getattr(found, name)))}
    if as_json:
        typer.echo(json.dumps({**_heading(found), **parts}, indent=2, ensure_ascii=False))
        return
    heading = _heading(found)
    out = console()
    out.print(f"{found.id}: {found.name} ({found.kind or 'no kind'}), times in {found.time_zone}")
    out.print(f"from {heading['starts_at'] or 'ever'} to {heading['ends_at'] or 'ever'}")
    out.print(_table(("phase", "from", "objective", "rules"), heading["phases"]))
    out.print(_table(("block", "kind", "title", "page_size", "differs in"), heading["blocks"]))
    if parts:
        out.print(write_document(parts), highlight=False, markup=False)


@app.command()
def preview(
    ctx: typer.Context,
    venue: VenueId,
    user: Annotated[str, typer.Argument(help="User id; one nobody knows gets the cold page.")],
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The moment it is, ISO 8601, UTC unless it says so."),
    ] = None,
    block: Annotated[
        list[str] | None, typer.Option(help="Only this block; may be repeated.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, max=100, help="Items of each block; else its own.")
    ] = None,
    region: Annotated[str | None, typer.Option(help="Where the shopper is.")] = None,
    release: Annotated[str, typer.Option(help="Alias of the release that answers.")] = "live",
    explain: Annotated[
        bool, typer.Option("--explain", help="Show scores, probabilities and what was removed.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the answer as the service would give it.")
    ] = False,
) -> None:
    """Print a venue's page for one shopper as at a moment, every block of it, without a server.

    Without --at it is one day after what the release has learned from.
    """
    from qianmian.contracts import columns as c
    from qianmian.contracts.api import BlockQuery, Params, RecommendRequest

    asked = shopper(user)
    with service_at(ctx, at, release) as (service, moment):
        found = _found(service.book, venue)
        request = RecommendRequest(
            user=asked,
            context={c.REGION: region} if region else {},
            blocks=tuple(
                BlockQuery(block_id=name, page_size=size) for name in block or found.blocks
            ),
            params=Params(explain=explain),
        )
        answer = service.recommend(venue, request)
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    print_page(console(), answer, user, moment, explain=explain)


@app.command()
def racing(
    ctx: typer.Context,
    venue: VenueId,
    config: Config = None,
    clock: ClockText = None,
    as_json: AsJson = False,
) -> None:
    """Show where the races of a venue stand: what each arm brought and what share it leads."""
    from qianmian.cli.serve import served
    from qianmian.contracts import topics
    from qianmian.events.engine import open_engine
    from qianmian.racing.counting import read_states
    from qianmian.racing.report import standings
    from serving.clock import Clock, parse_clock

    serve = served(ctx, config)
    workspace = serve.settings.workspace()
    found = _found(_book(workspace, serve.settings.configs)[1], venue)
    now = Clock.start(parse_clock(clock) if clock else serve.live.clock).now()
    engine = open_engine(serve.settings.engine, workspace)
    try:
        states = read_states(engine.changes.get(topics.RACING))
    finally:
        engine.close()
    rows = [row.to_dict() for row in standings(found.id, found.racing, states, now)]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        typer.echo(f"nothing races in venue {found.id}; write `racing` into its file")
        return
    shown = [
        {
            **row,
            **{name: f"{row[name]:,.1f}" for name in ("trials", "rewards")},
            "brings": f"{row['brings']:.4f}",
            "share": f"{row['share']:.1%}",
        }
        for row in rows
    ]
    console().print(_table(tuple(rows[0]), shown))


def _book(workspace: Workspace, configs: Path | None) -> tuple[Dataset, VenueBook]:
    from qianmian.data.store import Dataset
    from qianmian.venues import VenueBook
    from qianmian.workspace import CONFIGS
    from serving.catalogue import venue_sources

    dataset = Dataset.open(workspace)
    return dataset, VenueBook.open(venue_sources(dataset, configs or CONFIGS))


def _found(book: VenueBook, venue_id: str) -> Venue:
    if venue_id not in book.venues:
        raise VenueNotFoundError("venue", venue_id, book.venues)
    return book.venues[venue_id]


def _values(dataset: Dataset) -> dict[str, frozenset[str]]:
    """Return the texts that the data set holds in each categorical column."""
    from qianmian.contracts import columns as c

    values = {c.ITEM_ID: dataset.item_ids()}
    for table, declared in (
        (dataset.users(), dataset.spec.users),
        (dataset.items(), dataset.spec.items),
    ):
        if table is not None:
            for name in declared.categorical:
                values[name] = frozenset(table[name].dropna().astype(str).unique())
    return values


def _heading(venue: Venue) -> dict[str, Any]:
    def moment(at: float | None) -> str | None:
        zone = ZoneInfo(venue.time_zone)
        return None if at is None else datetime.fromtimestamp(at, zone).isoformat(sep=" ")

    return {
        "id": venue.id,
        "name": venue.name,
        "kind": venue.kind,
        "time_zone": venue.time_zone,
        "starts_at": moment(venue.starts_at),
        "ends_at": moment(venue.ends_at),
        "objective": dict(venue.objective),
        "phases": [
            {
                "phase": phase.name,
                "from": moment(phase.starts_at),
                "objective": dict(phase.objective),
                "rules": {} if phase.rules == venue.rules else _plain(phase.rules),
            }
            for phase in venue.phases
        ],
        "blocks": [
            {
                "block": name,
                "kind": block.kind.value,
                "title": block.title,
                "page_size": block.page_size,
                "differs in": {
                    part: plain
                    for part in ("sources", "filter", "audience", "rules")
                    if (plain := _plain(getattr(block, part)))
                },
            }
            for name, block in venue.blocks.items()
        ],
    }


def _plain(part: Any) -> Any:
    """Return a part as plain values without what is as always."""
    if part is None or isinstance(part, str):
        return part
    if isinstance(part, dict):
        return {name: _plain(value) for name, value in part.items()}
    dump = getattr(part, "model_dump", None)
    return str(part) if dump is None else dump(mode="json", exclude_defaults=True)


def _table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return "" if value is None else str(value)
