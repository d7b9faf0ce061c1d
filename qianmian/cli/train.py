"""`qianmian train`: both models, the proof of parity and a published release, in one command."""

from __future__ import annotations

from typing import Annotated

import typer

from qianmian.cli.before_torch import before_torch
from qianmian.cli.metrics_table import print_metrics
from qianmian.cli.progress import timed
from qianmian.cli.state import CliState
from qianmian.errors import ReleaseError


def train(
    ctx: typer.Context,
    profile: Annotated[
        str, typer.Option(help="A file of configs/training/, without its ending.")
    ] = "quick",
    force: Annotated[
        bool, typer.Option("--force", help="Train again even if it was done.")
    ] = False,
) -> None:
    """Train two-tower and ranker, prove parity, evaluate, publish a release.

    Needs the data set and its features: `qianmian data import`, and `qianmian features build` with
    the same profile.
    The release is published, not yet served: `qianmian release promote latest` makes it live.
    A run that was killed goes on where it was when the same command is given again.
    """
    workspace = CliState.of(ctx).workspace
    before_torch()
    from qianmian.releases.schema import current_schema
    from qianmian.releases.store import ReleaseStore
    from training import pipeline, stamp
    from training.checkpoint import Checkpoint
    from training.profile import load_profile

    chosen = load_profile(profile)
    typer.echo(f"profile {chosen.name}: {chosen.description}", err=True)
    schema = current_schema(workspace)
    data = stamp.of_data(workspace)
    mark = stamp.fingerprint(workspace, chosen, schema, data)
    store = ReleaseStore(workspace.releases)
    release = None if force else stamp.trained(workspace, mark)
    if release:
        typer.echo(f"already there: release {release} was trained from the same inputs")
    else:
        kept = Checkpoint.on(data[:16], mark[:16], root=workspace.checkpoints, anew=force)
        with kept as checkpoint:
            release = pipeline.train(workspace, chosen, timed(), checkpoint)
        typer.echo(f"published release {release} (profile {chosen.name})")
        if not store.get(release).parity.passed:
            raise ReleaseError(
                f"release {release} cannot be promoted: its graphs do not compute what was "
                "trained, see `parity` above; train again, with another `seed` in the profile"
            )
        stamp.remember(workspace, mark, release)
    print_metrics(store.get(release).metrics)
