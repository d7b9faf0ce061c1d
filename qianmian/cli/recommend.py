"""`qianmian recommend`: one venue page for one shopper, made in this process."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from qianmian.cli.page_table import page_table
from qianmian.cli.state import CliState
from qianmian.cli.wide import console
from qianmian.errors import FieldError

if TYPE_CHECKING:
    from qianmian.contracts.api import Shopper

_QUOTED: Final = 24  # characters of a bad id that the message repeats


def recommend(
    ctx: typer.Context,
    venue: Annotated[str, typer.Argument(help="Venue id; `all` is the whole catalogue.")],
    user: Annotated[str, typer.Argument(help="User id; one nobody knows gets the cold page.")],
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The moment it is, ISO 8601, UTC unless it says so."),
    ] = None,
    size: Annotated[int, typer.Option(min=1, max=100, help="Items of the page.")] = 20,
    release: Annotated[str, typer.Option(help="Alias of the release that answers.")] = "live",
    explain: Annotated[
        bool, typer.Option("--explain", help="Show scores, probabilities and what was removed.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the answer as the service would give it.")
    ] = False,
) -> None:
    """Print one venue page for one shopper as a table.

    It goes the same way as a request to the service, with the settings of
    configs/serving/serve.yaml. Without --at it is one day after what the release has learned from.
    """
    from qianmian.contracts.api import BlockQuery, Params, RecommendRequest
    from qianmian.releases.store import ReleaseStore
    from serving.clock import ClockSettings, parse_moment
    from serving.launch import SERVE_FILE, ServeFile
    from serving.service import VenueService

    shopper = _shopper(user)
    workspace = CliState.of(ctx).workspace
    manifest = ReleaseStore(workspace.releases).get(release)
    moment = parse_moment(at, field="--at") if at else manifest.data_end + timedelta(days=1)
    file = ServeFile.read(SERVE_FILE).changed(
        args={"home": str(workspace.root), "dataset": workspace.dataset},
        clock=ClockSettings(mode="fixed", at=moment),
    )
    live = file.live
    live = live.model_copy(update={"feed": live.feed.model_copy(update={"release": release})})
    service = VenueService.open(file.settings, live)
    answer = service.recommend(
        venue,
        RecommendRequest(
            user=shopper,
            blocks=(BlockQuery(page_size=size),),
            params=Params(explain=explain),
        ),
    )
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    block, page = answer["blocks"][0], answer["venue"]
    arms = ", ".join(f"{a['experiment']}={a['arm']}" for a in answer["experiments"]) or "none"
    out = console()
    out.print(f"{page['name']} ({page['phase']}) for shopper {user} at {moment:%Y-%m-%d %H:%M}")
    out.print(f"release {answer['release']}, experiments: {arms}")
    if answer["degraded"]:
        out.print(f"degraded: {', '.join(answer['degraded'])}")
    out.print(page_table(block, "", explain=explain))
    if explain:
        how = block["explain"]
        out.print(f"candidates: {_counts(how['candidates'])}")
        out.print(f"removed: {_counts(how['removed'])}")


def _shopper(user: str) -> Shopper:
    from pydantic import ValidationError

    from qianmian.contracts.api import MAX_ID, Shopper

    try:
        return Shopper(id=user)
    except ValidationError:
        shown = user if len(user) <= _QUOTED else f"{user[:_QUOTED]}..."
        raise FieldError(
            "USER", shown, f"1 to {MAX_ID} characters of UTF-8 text", "give a user id"
        ) from None


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
