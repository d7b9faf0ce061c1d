"""The parts of the stream that settle what pages sold and raced: billing, pacing, races."""

from __future__ import annotations

from pathlib import Path

from qianmian.campaigns.billing import Billing
from qianmian.campaigns.book import CampaignBook
from qianmian.campaigns.purse import open_purse
from qianmian.data.store import Dataset
from qianmian.events.engine import Engine, EngineSettings
from qianmian.racing.counting import RaceCounting, Races
from qianmian.stream.part import Part
from qianmian.stream.process import GROUP
from qianmian.trust.store import FLAGS_FILE, FlagStore
from qianmian.venues import VenueBook
from qianmian.venues.book import Sources
from qianmian.venues.vocabulary import conditions_of
from qianmian.workspace import Workspace


def market_parts(
    workspace: Workspace, engine: Engine, settings: EngineSettings, configs: Path
) -> list[Part]:
    """Return the parts for a data set's campaigns and races, by its files in `configs`.

    Raises:
        ConfigError: a venue file holds faults, and what it said before is not known.
        EventStoreError: the engine cannot be used.
    """
    dataset = Dataset.open(workspace)
    context = conditions_of(dataset.spec)
    venues = VenueBook.open(
        Sources(
            folder=configs / "venues",
            dataset=dataset.spec.name,
            rows=dataset.venues(),
            context=context,
            kept=workspace.venues,
        )
    )
    campaigns = CampaignBook.open(
        configs,
        dataset.spec.name,
        venues=lambda: venues.venues,
        context=context,
        kept=workspace.campaigns,
    )

    def races() -> Races:
        venues.refresh()
        return {name: venue.racing for name, venue in venues.venues.items() if venue.racing}

    purse = open_purse(settings, workspace)
    flags = FlagStore(workspace.events / FLAGS_FILE)
    log, implausible = engine.events, flags.flagged
    return [
        Billing(log, purse.ledger, campaigns, implausible=implausible, behind=GROUP),
        RaceCounting(log, engine.changes, races, implausible=implausible, behind=GROUP),
    ]
