"""`qianmian campaigns`: sponsored campaigns, their budgets and what they brought."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from qianmian.cli.options import AsJson, ClockText, Config
from qianmian.cli.serve import served
from qianmian.cli.wide import console
from qianmian.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qianmian.campaigns.campaign import Campaign
    from qianmian.campaigns.report import CampaignReport

app = typer.Typer(
    add_completion=False,
    help="List and show sponsored campaigns, report what they spent and brought.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command("list")
def list_(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """Check the campaign files of the data set and list the campaigns."""
    campaigns = _campaigns(ctx, config)
    if as_json:
        typer.echo(json.dumps([_facts(one) for one in campaigns.values()], indent=2))
        return
    if not campaigns:
        dataset = served(ctx, config).settings.dataset
        typer.echo(f"no campaigns of {dataset}; write configs/campaigns/*.yaml")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("campaign", "advertiser", "billing", "bid", "budget", "from", "to", "venues"):
        table.add_column(heading)
    for facts in map(_facts, campaigns.values()):
        table.add_row(
            *(str(facts[name]) for name in ("campaign", "advertiser", "billing")),
            f"{facts['bid']:,.2f}",
            f"{facts['budget']:,.2f}",
            facts["starts_at"][:16],
            facts["ends_at"][:16],
            ", ".join(facts["venues"]) or "all",
        )
    console().print(table)


@app.command()
def show(
    ctx: typer.Context,
    campaign: Annotated[str, typer.Argument(help="Campaign id.", metavar="CAMPAIGN")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show one campaign as it is in force."""
    campaigns = _campaigns(ctx, config)
    if campaign not in campaigns:
        raise NotFoundError("campaign", campaign, campaigns, "see `qianmian campaigns list`")
    facts = _facts(campaigns[campaign])
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) or "all" if isinstance(value, list) else value
        typer.echo(f"{name:<{width}}  {shown}")


@app.command()
def report(
    ctx: typer.Context, config: Config = None, clock: ClockText = None, as_json: AsJson = False
) -> None:
    """Report spend, impressions, clicks, sales, eCPM, pacing and return on spend."""
    from qianmian.campaigns.purse import open_purse
    from qianmian.campaigns.report import report as reported
    from serving.clock import Clock as Ticking
    from serving.clock import parse_clock

    serve = served(ctx, config)
    campaigns = _campaigns(ctx, config)
    now = Ticking.start(parse_clock(clock) if clock else serve.live.clock).now()
    purse = open_purse(serve.settings.engine, serve.settings.workspace())
    try:
        rows = reported(purse.ledger, campaigns.values(), now)
    finally:
        purse.shut()
    if as_json:
        typer.echo(json.dumps([row.to_dict() for row in rows], indent=2))
        return
    _print_report(rows)


def _print_report(rows: list[CampaignReport]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("campaign", "state", "billing"):
        table.add_column(heading)
    for heading in (
        *("spent", "of budget", "pacing", "impressions", "clicks", "sales"),
        *("eCPM", "return", "unbilled"),
    ):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.campaign,
            row.state,
            row.billing,
            f"{row.spent:,.2f}",
            f"{row.spent / row.budget:.1%}",
            "-" if row.pacing is None else f"{row.pacing:.0%}",
            f"{row.impressions:,}",
            f"{row.clicks:,}",
            f"{row.sales:,}",
            "-" if row.ecpm is None else f"{row.ecpm:,.2f}",
            "-" if row.return_on_spend is None else f"{row.return_on_spend:.2f}",
            f"{row.unbilled:,}",
        )
    console().print(table)


def _campaigns(ctx: typer.Context, config: Path | None) -> Mapping[str, Campaign]:
    from qianmian.campaigns.book import load_campaigns
    from qianmian.campaigns.files import FOLDER
    from qianmian.data.store import Dataset
    from qianmian.venues import VenueBook
    from qianmian.venues.vocabulary import conditions_of
    from serving.catalogue import venue_sources

    settings = served(ctx, config).settings
    dataset = Dataset.open(settings.workspace())
    venues = VenueBook.open(venue_sources(dataset, settings.configs)).venues
    return load_campaigns(
        settings.configs / FOLDER,
        dataset.spec.name,
        venues=venues,
        context=conditions_of(dataset.spec),
    )


def _facts(campaign: Campaign) -> dict[str, Any]:
    from qianmian.campaigns.money import CPM_IMPRESSIONS, amount
    from qianmian.campaigns.schema import Billing

    per = CPM_IMPRESSIONS if campaign.billing is Billing.IMPRESSION else 1
    cap = campaign.cap
    return {
        "campaign": campaign.id,
        "advertiser": campaign.advertiser,
        "label": campaign.label,
        "billing": campaign.billing.value,
        "bid": amount(campaign.price * per),
        "pricing": campaign.pricing.value,
        "budget": amount(campaign.budget),
        "starts_at": _iso(campaign.plan.starts_at),
        "ends_at": _iso(campaign.plan.ends_at),
        "paced": campaign.paced,
        "reserve": "worst_case" if campaign.worst_case else "expected",
        "window_minutes": campaign.window / 60.0,
        "frequency": f"{cap.impressions} in {cap.seconds / 3600:g} h" if cap else None,
        "audience": str(campaign.audience) if campaign.audience else None,
        "venues": sorted(campaign.venues),
        "blocks": sorted(campaign.blocks),
        "items": list(campaign.items),
    }


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, tz=UTC).isoformat()
