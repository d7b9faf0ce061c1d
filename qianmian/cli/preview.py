"""A page made in this process, the same way as the service makes it: for commands that show one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import typer

from qianmian.cli.page_table import page_table
from qianmian.cli.state import CliState
from qianmian.errors import FieldError

if TYPE_CHECKING:
    from rich.console import Console

    from qianmian.contracts.api import Shopper
    from serving.service import VenueService

_QUOTED: Final = 24  # characters of a bad id that the message repeats
Answer = dict[str, Any]


@contextmanager
def service_at(
    ctx: typer.Context, at: str | None, release: str
) -> Iterator[tuple[VenueService, datetime]]:
    """Open the service as at a moment, with what was pushed until now; gives the moment, too.

    Without `at` it is one day after what the release has learned from.
    """
    from qianmian.releases.store import ReleaseStore
    from serving.clock import ClockSettings, parse_moment
    from serving.launch import SERVE_FILE, ServeFile
    from serving.service import VenueService

    workspace = CliState.of(ctx).workspace
    manifest = ReleaseStore(workspace.releases).get(release)
    moment = parse_moment(at, field="--at") if at else manifest.data_end + timedelta(days=1)
    file = ServeFile.read(SERVE_FILE).changed(
        args={
            "home": str(workspace.root),
            "dataset": workspace.dataset,
            "decision_log": {"enabled": False},
        },
        clock=ClockSettings(mode="fixed", at=moment),
    )
    live = file.live
    live = live.model_copy(update={"feed": live.feed.model_copy(update={"release": release})})
    service = VenueService.open(file.settings, live)
    try:
        service.listener.catch_up()
        service.refresh()
        yield service, moment
    finally:
        service.close()


def shopper(user: str) -> Shopper:
    """Return the shopper of a user id.

    Raises:
        FieldError: it cannot be one.
    """
    from pydantic import ValidationError

    from qianmian.contracts.api import MAX_ID, Shopper

    try:
        return Shopper(id=user)
    except ValidationError:
        shown = user if len(user) <= _QUOTED else f"{user[:_QUOTED]}..."
        raise FieldError(
            "USER", shown, f"1 to {MAX_ID} characters of UTF-8 text", "give a user id"
        ) from None


def print_page(out: Console, answer: Answer, user: str, moment: datetime, *, explain: bool) -> None:
    """Print an answer: its heading, and each block as a table."""
    page = answer["venue"]
    arms = ", ".join(f"{a['experiment']}={a['arm']}" for a in answer["experiments"]) or "none"
    out.print(f"{page['name']} ({page['phase']}) for shopper {user} at {moment:%Y-%m-%d %H:%M}")
    out.print(f"release {answer['release']}, experiments: {arms}")
    if answer["degraded"]:
        out.print(f"degraded: {', '.join(answer['degraded'])}")
    blocks = answer["blocks"]
    for block in blocks:
        heading = f"{block['block_id']}: {block['title']}" if len(blocks) > 1 else ""
        out.print(page_table(block, heading, explain=explain))
        if explain:
            how = block["explain"]
            out.print(f"candidates: {_counts(how['candidates'])}")
            out.print(f"removed: {_counts(how['removed'])}")
            for reason, items in how["examples"].items():
                out.print(f"  {reason}: {', '.join(items)}, ...")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
