"""`qianmian recommend`: one venue page for one shopper, made in this process."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from qianmian.cli.preview import print_page, service_at, shopper
from qianmian.cli.wide import console


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

    request = RecommendRequest(
        user=shopper(user), blocks=(BlockQuery(page_size=size),), params=Params(explain=explain)
    )
    with service_at(ctx, at, release) as (service, moment):
        answer = service.recommend(venue, request)
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    print_page(console(), answer, user, moment, explain=explain)
