"""`qianmian stream`: the process that turns events into fresh features, until it is stopped."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Annotated

import typer

from qianmian.cli.options import AsJson, ClockText, Config
from qianmian.cli.serve import served
from qianmian.cli.state import CliState

if TYPE_CHECKING:
    from qianmian.stream.status import StreamStatus
    from serving.launch import ServeFile


def stream(
    ctx: typer.Context,
    config: Config = None,
    clock: ClockText = None,
    once: Annotated[
        bool, typer.Option("--once", help="Work in what the log holds now, and end.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Print what the stream says of itself, and end.")
    ] = False,
    as_json: AsJson = False,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Turn events into fresh features until stopped (Ctrl-C).

    `qianmian serve` starts one by itself. It reads the event log, computes the features of the
    users and items that events touch, writes them to Feast's online store, and tells the replicas.
    There can be one for each data set. It goes on where it stood, whenever it is stopped.
    """
    from qianmian.events.engine import open_engine
    from serving.clock import Clock, parse_clock

    file = served(ctx, config)
    settings = file.settings
    workspace = settings.workspace()
    engine = open_engine(settings.engine, workspace)
    try:
        if status:
            from qianmian.stream.status import read_status

            _print_status(read_status(engine.changes), as_json=as_json)
            return
        from qianmian.identity.untold import print_untold
        from qianmian.stream.assembly import assemble
        from qianmian.stream.market import market_parts
        from qianmian.stream.process import alone

        sys.excepthook = print_untold  # an error that ends the stream must not name anybody
        ticking = Clock.start(parse_clock(clock) if clock else file.live.clock)
        with alone(workspace.events):
            streaming = assemble(
                workspace,
                engine,
                settings.stream,
                remember_seconds=settings.ingest.accept.remember_seconds,
                skew_seconds=settings.ingest.accept.skew_seconds,
                now=ticking.now,
                feature_repo=settings.feature_repo,
                others=market_parts(workspace, engine, settings.engine, settings.configs),
            )
            gc.collect()
            gc.freeze()  # the history stays: no collection need look at it again
            if once:
                typer.echo(f"worked in {streaming.drain():,} events")
                return
            typer.echo(f"streaming {workspace.dataset}", err=True)
            streaming.run(_stopping(parent))
    finally:
        engine.close()


def stream_command(
    ctx: typer.Context, file: ServeFile, config: Path | None
) -> Callable[[], list[str]]:
    """Return what starts the stream process of a service whose clock has gone on meanwhile."""
    from serving.clock import Clock

    state = CliState.of(ctx)
    clock = Clock.start(file.live.clock)
    command = [sys.executable, "-m", "qianmian.cli.main", "--home", str(state.root)]
    command += ["--dataset", file.settings.dataset, "stream", "--parent", str(os.getpid())]
    if config is not None:
        command += ["--config", str(config)]
    return lambda: [*command, "--clock", clock.as_text()]


def _stopping(parent: int | None) -> threading.Event:
    """Return what is set by SIGTERM, Ctrl-C, or the end of the parent process."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    if parent is not None:

        def watch() -> None:
            while os.getppid() == parent and not stopping.wait(1.0):
                pass
            stopping.set()

        threading.Thread(target=watch, name="parent watch", daemon=True).start()
    return stopping


def _print_status(status: StreamStatus | None, *, as_json: bool) -> None:
    if as_json:
        typer.echo("null" if status is None else status.model_dump_json(indent=2))
        return
    if status is None:
        typer.echo("no stream has run yet: `qianmian serve` or `qianmian stream` starts one")
        return
    state = "running" if status.is_live(time()) else "stopped" if not status.running else "gone"
    silent = time() - status.updated_at
    lines = {
        "state": f"{state}, process {status.pid}, last heard of {silent:.0f} s ago",
        "lag": f"{status.lag_events:,} events, {status.lag_seconds:.1f} s",
        "events": f"{status.events:,} since the start, {status.events_per_second:,.1f} a second",
        "features": f"{status.subjects:,} subjects computed, {status.rows:,} rows written",
        "last batch": f"{status.batch_subjects:,} subjects in {status.batch_ms:,.1f} ms, "
        f"{status.write_ms:,.1f} of them writing",
        "statistics": f"{status.items:,} items computed, {status.items_waiting:,} waiting",
    }
    width = max(map(len, lines))
    for name, text in lines.items():
        typer.echo(f"{name:<{width}}  {text}")
