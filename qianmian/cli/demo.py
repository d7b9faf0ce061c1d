"""`qianmian demo`: start the service and show two shoppers' pages of one venue, side by side."""

from __future__ import annotations

from datetime import timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.columns import Columns

from qianmian.cli.page_table import page_table
from qianmian.cli.serve import check_start, chosen, streaming, until_stopped
from qianmian.cli.wide import console
from qianmian.errors import DataError

if TYPE_CHECKING:
    import httpx

#: The campaign that lies in the test weeks of Complete Journey.
SHOWCASE: Final = "18"
CATALOGUE: Final = "all"
_SHOPPERS: Final = 12
_SIDE_BY_SIDE: Final = 2
_ITEMS: Final = 10


def demo(
    ctx: typer.Context,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port to listen on.")] = None,
    leave: Annotated[bool, typer.Option("--exit", help="End after printing the pages.")] = False,
) -> None:
    """Start the service and show two shoppers' pages of one venue.

    The clock stands one day after what the live release has learned from. Two known shoppers are
    chosen whose pages share the fewest items.
    """
    from qianmian.releases.store import ReleaseStore
    from serving.clock import ClockSettings
    from serving.launch import SERVE_FILE, ServeFile

    file = ServeFile.read(SERVE_FILE).changed(
        args=chosen(ctx), http={} if port is None else {"port": port}
    )
    manifest = ReleaseStore(file.settings.workspace().releases).get(file.live.feed.release)
    moment = manifest.data_end + timedelta(days=1)
    file = file.changed(clock=ClockSettings(mode="fixed", at=moment))
    check_start(file)
    typer.echo("starting Ray Serve ...", err=True)
    import httpx

    from serving import cluster

    with streaming(ctx, file, wanted=not leave), cluster.running(file) as url:
        with httpx.Client(base_url=url, timeout=30) as client:
            client.get("/readyz").raise_for_status()
            _show_two_pages(client, f"{moment:%Y-%m-%d %H:%M} UTC")
        typer.echo(f"\nthe venue page: {url}/   the API: {url}/docs")
        if not leave:
            typer.echo("serving until stopped (Ctrl-C)", err=True)
            until_stopped()


def _show_two_pages(client: httpx.Client, moment: str) -> None:
    venues = {venue["id"] for venue in client.get("/v1/venues").json()["venues"]}
    venue = SHOWCASE if SHOWCASE in venues else CATALOGUE
    known = client.get("/v1/users", params={"limit": _SHOPPERS}).json()["users"]
    if len(known) < _SIDE_BY_SIDE:
        raise DataError(
            f"known shoppers={len(known)}: expected at least {_SIDE_BY_SIDE} to set side by side; "
            "import data of more users, or ask for one page with `qianmian recommend`"
        )
    pages = {user["id"]: _page(client, venue, user["id"]) for user in known}
    one, other = min(
        combinations(pages, _SIDE_BY_SIDE),
        key=lambda pair: len(_items(pages[pair[0]]) & _items(pages[pair[1]])),
    )
    shown = pages[one]["venue"]
    out = console()
    out.print(f"{shown['name']} (venue {venue}, phase {shown['phase']}) at {moment}\n")
    tables = [
        page_table(pages[user]["blocks"][0], f"shopper {user}{_arms(pages[user])}")
        for user in (one, other)
    ]
    out.print(Columns(tables, padding=(0, 4)))
    both = len(_items(pages[one]) & _items(pages[other]))
    out.print(f"{both} of {_ITEMS} items stand on both pages")


def _page(client: httpx.Client, venue: str, user: str) -> dict[str, Any]:
    response = client.post(
        f"/v1/venues/{venue}:recommend",
        json={"user": {"id": user}, "blocks": [{"page_size": _ITEMS}]},
    )
    response.raise_for_status()
    page: dict[str, Any] = response.json()
    return page


def _items(page: dict[str, Any]) -> set[str]:
    return {item["item_id"] for item in page["blocks"][0]["items"]}


def _arms(page: dict[str, Any]) -> str:
    arms = ", ".join(f"{arm['experiment']}={arm['arm']}" for arm in page["experiments"])
    return f" ({arms})" if arms else ""
