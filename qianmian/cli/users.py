"""`qianmian users`: merge devices into accounts, forget people, look at receipts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from time import sleep, time
from typing import TYPE_CHECKING, Annotated

import typer

from qianmian.cli.options import AsJson, Config
from qianmian.cli.serve import served

if TYPE_CHECKING:
    from qianmian.erasure.job import Erasures
    from qianmian.erasure.receipts import Receipt
    from qianmian.events.engine import Engine
    from qianmian.identity.gate import Gate
    from qianmian.identity.secret import Secret
    from serving.settings import ServeSettings

app = typer.Typer(
    add_completion=False,
    help="Merge devices into accounts, forget people, look at receipts.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Subject = Annotated[str, typer.Argument(help="A user's id, or `visitor:` and a visitor's.")]
_POLL = 0.2


@app.command()
def merge(
    ctx: typer.Context,
    visitor: Annotated[str, typer.Argument(help="The device.")],
    user: Annotated[str, typer.Argument(help="The account.")],
    config: Config = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the merge back.")] = False,
) -> None:
    """Let a device count as an account; done before, it changes nothing."""
    from qianmian.identity.merging import DAY, Merger

    settings = served(ctx, config).settings
    with _gate(settings) as (gate, engine):
        grace = settings.privacy.merge_grace_days * DAY
        merger = Merger(engine.changes, grace_seconds=grace, clock=time)
        who = gate.event(user, visitor)
        if undo:
            merger.unmerge(str(who.visitor_id))
            typer.echo("taken apart: both have their own history again")
            return
        done = merger.merge(str(who.visitor_id), str(who.user_id))
        until = _moment(merger.reversible_until(done.merge))
        typer.echo(f"{'merged' if done.new else 'merged before'}; can be undone until {until}")


@app.command()
def forget(
    ctx: typer.Context,
    subject: Subject,
    config: Config = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until everything is erased.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Erase all that is known of somebody, and take in nothing new of them.

    Stopped on the way, it goes on with the next `forget`, `resume` or start of the service.
    """
    settings = served(ctx, config).settings
    with _erasures(settings) as erasures:
        receipt = erasures.request(subject)
        typer.echo(f"receipt {receipt.receipt_id}", err=True)
        while wait and not (erasures.run() and _done(erasures, receipt)):
            sleep(_POLL)  # another process is at it
        _show(erasures.receipts.get(receipt.receipt_id), _secret(settings), as_json=as_json)


@app.command()
def resume(ctx: typer.Context, config: Config = None) -> None:
    """Go on with erasures that were stopped on the way."""
    with _erasures(served(ctx, config).settings) as erasures:
        pending = len(erasures.receipts.pending())
        done = erasures.run()
        typer.echo(f"{pending} pending; {'all done' if done else 'not all could be done now'}")


@app.command()
def receipt(
    ctx: typer.Context,
    receipt_id: Annotated[
        str | None, typer.Argument(help="As `forget` names it; without it, all of them.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what an erasure removed, and whether its signature holds."""
    from qianmian.erasure.receipts import Receipts

    settings = served(ctx, config).settings
    secret = _secret(settings)
    receipts = Receipts(settings.workspace().identity, secret)
    for one in [receipts.get(receipt_id)] if receipt_id else receipts.all():
        _show(one, secret, as_json=as_json)


@app.command()
def allow(ctx: typer.Context, subject: Subject, config: Config = None) -> None:
    """Let somebody who was forgotten be known again; what was erased stays erased."""
    with _erasures(served(ctx, config).settings) as erasures:
        allowed = erasures.allow(subject)
    typer.echo("allowed: new data is taken in" if allowed else "was not forgotten")


@contextmanager
def _gate(settings: ServeSettings) -> Iterator[tuple[Gate, Engine]]:
    from qianmian.events.engine import open_engine
    from qianmian.identity.gate import Gate

    workspace = settings.workspace()
    engine = open_engine(settings.engine, workspace)
    try:
        yield Gate.open(settings.privacy, workspace, engine.changes), engine
    finally:
        engine.close()


@contextmanager
def _erasures(settings: ServeSettings) -> Iterator[Erasures]:
    from qianmian.erasure.opening import open_erasures
    from qianmian.features.store import FeatureRepo

    workspace = settings.workspace()

    def online(user_ids: Sequence[str]) -> int:
        return FeatureRepo.open(workspace, settings.feature_repo).erase_users(user_ids)

    with _gate(settings) as (gate, engine):
        yield open_erasures(
            workspace,
            engine,
            gate,
            privacy=settings.privacy,
            engine_settings=settings.engine,
            online=online,
            decision_folder=settings.decision_log.folder,
        )


def _secret(settings: ServeSettings) -> Secret:
    return settings.privacy.secret(settings.workspace())


def _done(erasures: Erasures, receipt: Receipt) -> bool:
    return erasures.receipts.get(receipt.receipt_id).state == "done"


def _show(one: Receipt, secret: Secret, *, as_json: bool) -> None:
    if as_json:
        shown = {**one.model_dump(mode="json"), "holds": one.holds(secret)}
        typer.echo(json.dumps(shown, indent=2))
        return
    typer.echo(f"receipt {one.receipt_id}: {one.state}, asked for {_moment(one.requested_at)}")
    if one.waiting_for:
        typer.echo(f"  waits for {one.waiting_for}")
    for store in one.stores:
        at = "under way" if store.finished_at is None else _moment(store.finished_at)
        typer.echo(f"  {store.store:<18} {store.removed:>8,}  {at}")
    if one.state == "done":
        verdict = "holds" if one.holds(secret) else "DOES NOT HOLD"
        typer.echo(f"  signature {verdict} (key {one.key_id})")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="seconds")
