"""`qianmian events`: the service's event log from the command line."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qianmian.cli.options import AsJson, ClockText, Config
from qianmian.cli.progress import progress
from qianmian.cli.serve import served

if TYPE_CHECKING:
    from qianmian.events.bulk import ImportReport
    from qianmian.events.engine import Engine
    from qianmian.events.event import StoredEvent
    from serving.launch import ServeFile

app = typer.Typer(
    add_completion=False,
    help="Import events into the service's log, follow it, see its state.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_EXAMPLES = 5
_PAGE = 1_000
_FOLLOW_SECONDS = 0.2


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Events as .parquet, .csv or .jsonl.")],
    config: Config = None,
    clock: ClockText = None,
    as_json: AsJson = False,
) -> None:
    """Import a file of events; run it again after a kill, it goes on where it was.

    Each row is judged on its own; what is rejected is written to a file with the reason. The same
    file a second time changes nothing.
    """
    from qianmian.data.store import Dataset
    from qianmian.events.accepting import Acceptance
    from qianmian.events.bulk import BulkImport, history_settings
    from qianmian.identity.gate import Gate
    from qianmian.venues import VenueBook
    from serving.catalogue import venue_sources
    from serving.clock import Clock, parse_clock

    serve = served(ctx, config)
    settings = serve.settings
    workspace = settings.workspace()
    bulk = BulkImport(file, folder=workspace.events / "imports")
    before = bulk.before()
    if before.rows:
        typer.echo(f"going on after row {before.rows:,}", err=True)
    dataset = Dataset.open(workspace)
    items, venues = (
        dataset.item_ids(),
        VenueBook.open(venue_sources(dataset, settings.configs)).venues,
    )
    moment = Clock.start(parse_clock(clock) if clock else serve.live.clock).now()
    with _engine(serve) as engine, progress("import") as tell:
        gate = Gate.open(settings.privacy, workspace, engine.changes)
        acceptance = Acceptance(
            history_settings(settings.ingest.accept),
            known_item=lambda item_id: item_id in items,
            known_venue=lambda venue_id: venue_id in venues,
            currency=dataset.spec.currency,
            identify=gate.event,
            mentioned=gate.other,
        )
        report = bulk.run(
            acceptance,
            engine.events,
            now=moment,
            # Who asks to be forgotten meanwhile stays out: an erasure does not come a second time.
            look_around=lambda: gate.tombstones.reload(engine.changes),
            tell=lambda done, total: tell(f"{done:,} rows", done, total or done + 1),
        )
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
        return
    _tell_report(report, bulk.rejects)


@app.command()
def tail(
    ctx: typer.Context,
    config: Config = None,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Events to begin with.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the newest events, one a line."""
    with _engine(served(ctx, config)) as engine:
        events, cursor = engine.events.newest(max(last, 1))
        _print(events[-last:] if last else [], as_json=as_json)
        while follow:
            events, cursor = engine.events.read(cursor, _PAGE)
            _print(events, as_json=as_json)
            if not events:
                sleep(_FOLLOW_SECONDS)


@app.command()
def status(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """Show what the log holds and how far its consumers are behind."""
    serve = served(ctx, config)
    with _engine(serve) as engine:
        store = engine.events
        newest, _ = store.newest(_PAGE)
        facts: dict[str, Any] = {
            "engine": serve.settings.engine.kind,
            "events": store.size(),
            "newest_received_at": newest[-1].received_at if newest else None,
            "lag": {group: store.lag(group) for group in store.groups()},
            "of_the_newest": {
                "events": len(newest),
                "types": dict(Counter(event.event_type for event in newest)),
                "attributed": dict(Counter(event.attributed for event in newest)),
                "quarantined": dict(Counter(e.quarantine for e in newest if e.quarantine)),
            },
            "unfinished_imports": _unfinished(serve),
        }
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    latest = facts["newest_received_at"]
    typer.echo(f"engine      {facts['engine']}")
    typer.echo(f"events      {facts['events']:,}")
    typer.echo(f"newest      {_moment(latest) if latest is not None else 'none'}")
    for group, lag in facts["lag"].items():
        typer.echo(f"lag         {group}: {lag:,}")
    for what in ("types", "attributed", "quarantined"):
        shown = ", ".join(f"{name} {n:,}" for name, n in facts["of_the_newest"][what].items())
        typer.echo(f"{what:<12}{shown or 'none'} (of the newest {len(newest):,})")
    for line in facts["unfinished_imports"]:
        typer.echo(f"unfinished  {line}; run its import again")


@app.command()
def flags(
    ctx: typer.Context,
    config: Config = None,
    reason: Annotated[str | None, typer.Option(help="Only flags of this reason.")] = None,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Flags to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List events that are not trusted, with the reason, and how many there are of each.

    They stay in the log; training and metrics leave them out. configs/trust/ says what is looked
    for.
    """
    from dataclasses import asdict

    from qianmian.errors import NotFoundError
    from qianmian.trust.kinds import KINDS
    from qianmian.trust.store import FLAGS_FILE, FlagStore

    if reason is not None and reason not in KINDS:
        raise NotFoundError("reason", reason, KINDS)
    store = FlagStore(served(ctx, config).settings.workspace().events / FLAGS_FILE)
    counts, newest = store.counts(), store.newest(last, reason)
    if as_json:
        listed = [asdict(flag) for flag in newest]
        typer.echo(json.dumps({"events": store.total(), "reasons": counts, "flags": listed}))
        return
    typer.echo(f"{store.total():,} events are not trusted")
    for name, count in counts.items():
        typer.echo(f"  {name}: {count:,}")
    for flag in newest:
        typer.echo(
            f"{_moment(flag.at)}  {flag.event_type:<10}  {flag.subject_id}  {flag.event_id}  "
            f"{flag.reason}"
        )


@app.command()
def archive(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """Move every event that the stream has worked in from the log to the archive, now.

    The stream does so by itself, window by window. What is archived is part of the data set: the
    next `features build` and `train` see it, as far as it lies before the end of training
    (`qianmian data split` moves that).
    """
    from qianmian.data.store import Dataset
    from qianmian.identity.mapping import Identity
    from qianmian.stream.archiver import Archiver

    serve = served(ctx, config)
    archive = Dataset.open(serve.settings.workspace()).archive
    with _engine(serve) as engine:
        owners = Identity.load(engine.changes).owners
        archiver = Archiver(engine.events, archive, serve.settings.stream.archive, owners=owners)
        moved = archiver.archive_all()
        left = engine.events.size()
    manifest = archive.manifest()
    if as_json:
        facts = {"archived": moved, "left": left, "events": manifest.rows}
        typer.echo(json.dumps({**facts, "parts": len(manifest.parts)}))
        return
    typer.echo(f"archived {moved:,} events; {left:,} are left in the log")
    typer.echo(f"{manifest.rows:,} events in {len(manifest.parts):,} files below {archive.folder}")


def _engine(serve: ServeFile) -> Engine:
    from qianmian.events.engine import open_engine

    return open_engine(serve.settings.engine, serve.settings.workspace())


def _unfinished(serve: ServeFile) -> list[str]:
    from qianmian.events.bulk import ImportReport

    notes = sorted((serve.settings.workspace().events / "imports").glob("*.json"))
    reports = [ImportReport.model_validate_json(note.read_bytes()) for note in notes]
    return [f"{r.file} after row {r.rows:,}" for r in reports if not r.finished]


def _tell_report(report: ImportReport, rejects: Path) -> None:
    typer.echo(
        f"{report.rows:,} rows: {report.accepted:,} accepted, {report.duplicates:,} known before, "
        f"{sum(report.rejected.values()):,} rejected"
    )
    for reason, count in report.quarantined.items():
        typer.echo(f"  quarantined, {reason}: {count:,}")
    if not report.rejected:
        return
    for reason, count in report.rejected.items():
        typer.echo(f"  rejected, {reason}: {count:,}")
    with rejects.open() as lines:
        for line, _ in zip(lines, range(_EXAMPLES), strict=False):
            one = json.loads(line)
            typer.echo(f"  row {one['row']}: {one['error']}")
    typer.echo(f"  every rejected row: {rejects}")


def _print(events: list[StoredEvent], *, as_json: bool) -> None:
    for event in events:
        if as_json:
            typer.echo(event.to_json().decode())
            continue
        marks = [event.attributed, *([event.quarantine] if event.quarantine else [])]
        place = f"{event.venue_id or '-'}/{event.block_id or '-'}/{event.position or '-'}"
        typer.echo(
            f"{_moment(event.timestamp)}  {event.event_type:<10}  {event.subject_id}  "
            f"{event.item_id}  {place}  {', '.join(marks)}"
        )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds")
