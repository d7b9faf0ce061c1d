"""`qianmian keys`: the ring of keys that sign page and attribution tokens."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qianmian.cli.options import AsJson, Config
from qianmian.cli.serve import served

if TYPE_CHECKING:
    from serving.feed.keys import KeyFile

app = typer.Typer(
    add_completion=False,
    help="Rotate and retire the keys that sign tokens.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

#: As long as any campaign's window, and longer than other tokens are believed by default.
KEEP_DAYS = 30.0


@app.command("list")
def list_(
    ctx: typer.Context,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List the keys, the one that signs last; secrets are not shown."""
    _show(_keys(ctx, config), as_json=as_json)


@app.command()
def rotate(
    ctx: typer.Context,
    config: Config = None,
    keep_days: Annotated[
        float, typer.Option(min=0, help="How long replaced keys still open tokens, in days.")
    ] = KEEP_DAYS,
) -> None:
    """Make a new key that signs from now on; older ones open tokens until they are retired.

    Running replicas take it over within seconds.
    """
    keys, now = _keys(ctx, config), datetime.now(UTC)
    keys.rotate(at=now, retire_before=now - timedelta(days=keep_days))
    _show(keys, as_json=False)


@app.command()
def retire(ctx: typer.Context, key: str, config: Config = None) -> None:
    """Retire a key now: what it signed attributes nothing any more."""
    keys = _keys(ctx, config)
    keys.retire(key)
    _show(keys, as_json=False)


def _keys(ctx: typer.Context, config: Path | None) -> KeyFile:
    return served(ctx, config).settings.keys()


def _show(keys: KeyFile, *, as_json: bool) -> None:
    ring = keys.ring
    rows = [
        {
            "id": key.id,
            "created": key.created.isoformat(timespec="seconds"),
            "state": "signs"
            if key is ring.active
            else ("opens" if key.secret is not None else "retired"),
        }
        for key in ring.keys
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    typer.echo(str(keys.path))
    for row in rows:
        typer.echo(f"  {row['id']}  {row['created']}  {row['state']}")
