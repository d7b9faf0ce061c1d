"""`qianmian serve`: the service on this machine, until it is stopped."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qianmian.cli.options import ClockText, Config
from qianmian.cli.state import CliState

if TYPE_CHECKING:
    from serving.launch import ServeFile


def serve(
    ctx: typer.Context,
    config: Config = None,
    clock: ClockText = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port to listen on.")] = None,
    with_stream: Annotated[
        bool,
        typer.Option(
            "--stream/--no-stream", help="Start the stream process too, or run it elsewhere."
        ),
    ] = True,
) -> None:
    """Start the service on the live release and serve until stopped (Ctrl-C).

    It listens on this machine only unless --host or the config file says otherwise. A release that
    is promoted meanwhile is taken over within seconds.
    """
    from serving.clock import parse_clock
    from serving.launch import SERVE_FILE, ServeFile

    file = ServeFile.read(config or SERVE_FILE)
    file = file.changed(
        args=chosen(ctx),
        http={k: v for k, v in (("host", host), ("port", port)) if v is not None},
        clock=parse_clock(clock) if clock else None,
    )
    check_start(file)
    typer.echo("starting Ray Serve ...", err=True)
    from serving import cluster

    with streaming(ctx, file, config, wanted=with_stream), cluster.running(file) as url:
        typer.echo(f"serving {file.settings.dataset} at {url}  (API: {url}/docs)")
        until_stopped()
    typer.echo("stopped", err=True)


def served(ctx: typer.Context, config: Path | None) -> ServeFile:
    """Return the service's config file, for the data set and folder of this command.

    Raises:
        ConfigError: the file cannot be used.
    """
    from serving.launch import SERVE_FILE, ServeFile

    return ServeFile.read(config or SERVE_FILE).changed(args=chosen(ctx))


def streaming(
    ctx: typer.Context, file: ServeFile, config: Path | None = None, *, wanted: bool = True
) -> AbstractContextManager[object]:
    """Return the stream process beside the service, as long as the context lasts."""
    if not wanted:
        return nullcontext()
    from qianmian.cli.stream import stream_command
    from qianmian.stream.supervise import supervised

    return supervised(stream_command(ctx, file, config))


def chosen(ctx: typer.Context) -> dict[str, str]:
    """Return the data set and folder for `args`; a data set nobody named is the config file's."""
    state = CliState.of(ctx)
    source = ctx.find_root().get_parameter_source("dataset")
    named = source is not None and source.name != "DEFAULT"
    return {"home": str(state.root), **({"dataset": state.dataset} if named else {})}


def check_start(file: ServeFile) -> None:
    """Refuse early, in one line, what would only show in a replica's log.

    Raises:
        QianmianError: the port is taken, no release is promoted, it cannot be used, or a file
            holds faults.
    """
    from qianmian.experiments import load_experiments
    from qianmian.releases.schema import current_schema
    from qianmian.releases.store import ReleaseStore
    from serving.environment import check_port, prepare

    check_port(file.host, file.port)
    settings, live = file.settings, file.live
    workspace = settings.workspace()
    release = ReleaseStore(workspace.releases).get(live.feed.release)
    load_experiments(settings.configs / "experiments", settings.dataset, live.feed)
    ReleaseStore(workspace.releases).verify(release.id, current_schema(workspace))
    prepare(file.port)


def until_stopped() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stopped = {signal.SIGINT, signal.SIGTERM}
    before = {number: signal.signal(number, signal.default_int_handler) for number in stopped}
    try:
        signal.pause()
    except KeyboardInterrupt:
        typer.echo("stopping ...", err=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
