"""`qianmian features`: build snapshots, fill the online store, look at what is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from qianmian.cli.options import AsJson
from qianmian.cli.progress import progress
from qianmian.cli.state import CliState
from qianmian.contracts import features as f
from qianmian.errors import FeatureStoreError, FieldError

if TYPE_CHECKING:
    from qianmian.features.materialize import Materialized
    from qianmian.features.store import FeatureRepo

app = typer.Typer(
    add_completion=False,
    help="Build feature snapshots, fill the online store, look at what is in it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


#: Members of a list that `show` prints.
SHOWN_MEMBERS = 6


class Shown(StrEnum):
    """Entities that `show` can look up."""

    USER = f.USER
    ITEM = f.ITEM


@app.command()
def build(
    ctx: typer.Context,
    profile: Annotated[
        str, typer.Option(help="A file of configs/training/, without its ending.")
    ] = "quick",
    force: Annotated[bool, typer.Option("--force", help="Compute every snapshot again.")] = False,
) -> None:
    """Compute the snapshots that a profile trains on, and fill the online store from the newest.

    A snapshot holds the features as they were known at one moment; the profile says how many and
    how far apart, counted back from the end of training. Snapshots that are there already are kept;
    a build that was stopped goes on where it stood.
    """
    from qianmian.data.store import Dataset
    from qianmian.features import snapshots
    from training.profile import load_profile

    workspace = CliState.of(ctx).workspace
    dataset = Dataset.open(workspace)
    plan = load_profile(profile).snapshots
    end = dataset.spec.split.train_end.timestamp()
    moments = snapshots.schedule(end, plan.every_days, plan.count)
    with progress("features") as tell:
        report = snapshots.build(workspace, dataset, moments, force=force, progress=tell)
    span = f"{_day(report.moments[0])} to {_day(report.moments[-1])}"
    if report.written:
        typer.echo(
            f"built {report.written} snapshot files for {len(report.moments)} moments, {span}, "
            f"in {workspace.features}"
        )
    else:
        typer.echo(f"already there: snapshots of {len(report.moments)} moments, {span}")
    _fill(ctx, end)


@app.command()
def materialize(
    ctx: typer.Context,
    at: Annotated[
        str | None,
        typer.Option(help="ISO 8601 time, UTC unless it says otherwise; the end of training."),
    ] = None,
) -> None:
    """Fill the online store with each view's newest snapshot known at a time."""
    from qianmian.data.store import Dataset

    if at is not None:
        moment = _moment(at)
    else:
        moment = Dataset.open(CliState.of(ctx).workspace).spec.split.train_end.timestamp()
    _fill(ctx, moment)


@app.command()
def show(
    ctx: typer.Context,
    entity: Annotated[Shown, typer.Argument(help="What to look up.")],
    entity_id: Annotated[str, typer.Argument(metavar="ID", help="Its id in the data set.")],
    as_json: AsJson = False,
) -> None:
    """Print the features of a user or an item as the online store has them."""
    from qianmian.features.schema import entity_of

    repo = _open(ctx)
    row = repo.online_user(entity_id) if entity is Shown.USER else repo.online_item(entity_id)
    if row is None:
        raise FeatureStoreError(
            f"{entity} {entity_id!r}: the online store has no features of it; expected an id of "
            f"data set {repo.schema.dataset!r}; `qianmian features list` says what is online"
        )
    if as_json:
        typer.echo(json.dumps(row, indent=2, ensure_ascii=False))
        return
    for view in repo.schema.service_views(f.RANKER_SERVICE):
        if entity_of(view) == entity:
            typer.echo(view)
            for line in _lines({name: row.get(name) for name in repo.schema.views[view]}):
                typer.echo(f"  {line}")


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the feature views with their snapshots and what is online, and the services."""
    from qianmian.features.inventory import inventory
    from qianmian.features.schema import SERVICES, FeatureSchema

    workspace = CliState.of(ctx).workspace
    schema = FeatureSchema.load(workspace.features)
    views = inventory(workspace, schema)
    services = [
        {"service": s, "views": schema.service_views(s), "schema_hash": schema.schema_hash(s)}
        for s in SERVICES
    ]
    if as_json:
        report = {"views": [asdict(view) for view in views], "services": services}
        typer.echo(json.dumps(report, indent=2))
        return
    rows = [("view", "entity", "fields", "snapshots", "newest", "MB", "online", "rows online")]
    rows += [
        (
            view.view,
            view.entity,
            str(view.fields),
            str(view.snapshots),
            _day(view.last),
            f"{view.megabytes:,}",
            _day(view.online_moment),
            f"{view.online_rows:,}",
        )
        for view in views
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
    for service in services:
        typer.echo(
            f"service {service['service']}: {', '.join(service['views'])}; "
            f"schema {service['schema_hash'][:12]}"
        )


def _open(ctx: typer.Context) -> FeatureRepo:
    with Console(stderr=True).status("opening Feast"):
        from qianmian.features.store import FeatureRepo

        return FeatureRepo.open(CliState.of(ctx).workspace)


def _fill(ctx: typer.Context, moment: float) -> None:
    repo = _open(ctx)
    with progress("online store") as tell:
        report = repo.materialize(moment, tell)
    typer.echo(_summary(report))


def _summary(report: list[Materialized]) -> str:
    newest = _day(max(view.moment for view in report))
    written = [view for view in report if view.written]
    if not written:
        return f"already there: the online store holds the features of {newest}"
    rows = sum(view.rows for view in written)
    return f"online store filled: {rows:,} rows in {len(written)} views, features of {newest}"


def _lines(fields: Mapping[str, object]) -> list[str]:
    """One line a field: name and value, lists cut short, times readable.

    >>> _lines({"price": 1.5, "recent_at": [0.5], "first_seen_at": 0.0})
    ['price           1.5', 'recent_at       1970-01-01 (1)', 'first_seen_at   never']
    """
    width = max(map(len, fields)) + 3
    return [f"{name:<{width}}{_value(name, value)}" for name, value in fields.items()]


def _value(name: str, value: object) -> str:
    if isinstance(value, list):
        members = ", ".join(_member(name, member) for member in value[:SHOWN_MEMBERS])
        more = ", ..." if len(value) > SHOWN_MEMBERS else ""
        return f"{members}{more} ({len(value)})"
    if isinstance(value, float) and _is_time(name):
        return f"{datetime.fromtimestamp(value, tz=UTC):%F %T}" if value else "never"
    return _member(name, value)


def _member(name: str, value: object) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return _day(value) if _is_time(name) else f"{value:.4g}"


def _is_time(name: str) -> bool:
    return name.endswith(("_at", "_as_of"))


def _day(moment: float | None) -> str:
    if moment is None:
        return "-"
    return f"{datetime.fromtimestamp(moment, tz=UTC):%F}" if moment else "any time"


def _moment(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        expected = "an ISO 8601 time such as 2017-11-20 or 2017-11-20T05:00:00Z"
        raise FieldError("--at", text, expected) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
