"""`qianmian tune`: search a profile's knobs on held-out time, within a time that is given."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from qianmian.cli.before_torch import before_torch
from qianmian.cli.progress import timed
from qianmian.cli.state import CliState
from qianmian.errors import FieldError

if TYPE_CHECKING:
    from training.profile import TrainingProfile
    from training.tuning.search import Found

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def tune(
    ctx: typer.Context,
    profile: Annotated[
        str, typer.Option(help="Where to begin: a file of configs/training/, without its ending.")
    ] = "quick",
    minutes: Annotated[
        float, typer.Option(min=0.0, help="For trials and proof; candidates are proposed before.")
    ] = 60.0,
    trials: Annotated[
        int, typer.Option(min=2, help="At least so many, however long they take.")
    ] = 2,
    knob: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Turn this one, repeatable; default: all that count."),
    ] = None,
    write: Annotated[
        str | None, typer.Option(metavar="NAME", help="Write what was found as a new profile.")
    ] = None,
) -> None:
    """Search the ranker's knobs: learning rate, layers, weights of losses, trees.

    Every trial learns from the same candidates, up to what was known before the ranker's last
    moment, and is judged by the order of that moment's candidates. Half of the users choose. The
    best is trained again from another seed and judged by the other half: what is printed at the
    end is what it gained there, with its interval. Data after the split are not looked at.
    The interval is over users alone, of one training each: before you claim more, judge releases
    of both profiles. A search that was killed goes on where it was when the same command is given
    again.
    """
    from training.profile import PROFILES, load_profile
    from training.tuning.knobs import chosen

    base = load_profile(profile)
    names = chosen(base.ranker, knob or ())
    if write is not None:
        _refuse(write, PROFILES)
    workspace = CliState.of(ctx).workspace
    before_torch()
    from qianmian.releases.schema import current_schema
    from training import stamp
    from training.checkpoint import Checkpoint
    from training.tuning.search import search

    schema = current_schema(workspace)  # what is missing is told first
    data = stamp.of_data(workspace)
    mark = stamp.fingerprint(workspace, base, schema, data)
    name = f"tune-{mark[:16]}-{stamp.short(names)}"
    with Checkpoint.on(data[:16], name, root=workspace.checkpoints) as checkpoint:
        found = search(
            workspace,
            base,
            names,
            minutes=minutes,
            fewest=trials,
            checkpoint=checkpoint,
            progress=timed(),
        )
        _tell(found, base, profile, write)
        checkpoint.clear()


def _tell(found: Found, base: TrainingProfile, profile: str, write: str | None) -> None:
    """Say what was found, and write the profile where a lead was confirmed."""
    from training.profile import save_profile

    for line in _told(found, profile):
        typer.echo(line)
    if write is not None and found.confirmed:
        leads = " and ".join(f"{lead.value:.4f}" for lead in (found.all, found.new) if lead)
        said = f"{profile} after a search: {leads} times its NDCG@20 (all, new) for other users"
        made = {"name": write, "description": said, "ranker": found.profile}
        typer.echo(f"written: {save_profile(base.model_copy(update=made))}")
    elif write is not None:
        typer.echo(f"the profile {write} was not written: there is no lead that was confirmed")


def _refuse(name: str, profiles: Path) -> None:
    """Refuse a name that cannot be written, before anything is learned."""
    if not _NAME.fullmatch(name):
        raise FieldError("--write", name, "small letters, digits and dashes", "name it so")
    if (profiles / f"{name}.yaml").exists():
        raise FieldError("--write", name, "a profile that is not there yet", "take another name")
    if not os.access(profiles, os.W_OK):
        raise FieldError("--write", name, f"a folder {profiles} that may be written", "allow it")


def _told(found: Found, profile: str) -> Iterator[str]:
    """What a search found, line by line."""
    if not found.changed:
        yield f"{found.trials} trials: none was ahead of the profile {profile} as it is"
        return
    from training.tuning.search import shown

    yield f"{found.trials} trials, the best: {shown(found.changed)}"
    for what, lead in (("all", found.all), ("new", found.new)):
        if lead is not None:
            yield (
                f"{what}: {lead.value:.4f} times ({lead.low:.4f} to {lead.high:.4f}) the NDCG@20 "
                f"of the profile {profile}, for the users who did not choose"
            )
