"""Parts of a replica that are made of several things: people, the door for events, the market."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from time import time
from typing import Final

from qianmian.campaigns.book import CampaignBook
from qianmian.campaigns.purse import Purse
from qianmian.erasure.opening import open_erasures
from qianmian.events.accepting import Acceptance
from qianmian.events.engine import Engine
from qianmian.identity.gate import Gate
from qianmian.identity.merging import Merger
from qianmian.venues import VenueBook
from serving.catalogue import Catalogue
from serving.feed.bought import JustBought
from serving.feed.market import Market
from serving.feed.metrics import FeedMetrics
from serving.ingest.attribute import Attributor
from serving.ingest.door import Ingest
from serving.ingest.metrics import IngestMetrics
from serving.ingest.orders import OrderBook
from serving.people import People
from serving.settings import ServeSettings

DAY: Final = 86_400.0


def open_people(
    settings: ServeSettings,
    engine: Engine,
    gate: Gate,
    *,
    online: Callable[[Sequence[str]], int],
) -> People:
    """Return the routes about people; `online` erases them from the online store."""
    grace = settings.privacy.merge_grace_days * DAY
    erasures = open_erasures(
        settings.workspace(),
        engine,
        gate,
        privacy=settings.privacy,
        engine_settings=settings.engine,
        online=online,
        decision_folder=settings.decision_log.folder,
    )
    return People(gate, Merger(engine.changes, grace_seconds=grace, clock=time), erasures)


def open_door(
    settings: ServeSettings,
    engine: Engine,
    gate: Gate,
    *,
    attribute: Attributor,
    catalogue: Catalogue,
    book: VenueBook,
    bought: JustBought,
    metrics: FeedMetrics,
) -> Ingest:
    """Return the door for events; pages look at `bought`."""
    acceptance = Acceptance(
        settings.ingest.accept,
        known_item=lambda item_id: item_id in catalogue.item_ids,
        known_venue=lambda venue_id: venue_id in book.venues,
        currency=catalogue.currency,
        identify=gate.event,
        mentioned=gate.other,
        attribute=attribute,
    )
    orders = OrderBook(
        bought,
        engine.changes,
        target=catalogue.target,
        asked_for=lambda: any(
            venue.eligibility.bought_within_days for venue in book.venues.values()
        ),
        on_failure=metrics.failed,
    )
    return Ingest(acceptance, engine.events, orders, IngestMetrics(metrics.registry))


def open_market(
    campaigns: CampaignBook | None,
    purse: Purse | None,
    *,
    now: Callable[[], float],
    metrics: FeedMetrics,
) -> Market | None:
    """Return the market, None where nothing is for sale."""
    if campaigns is None or purse is None:
        return None
    return Market(
        campaigns,
        purse,
        holder=f"{os.getpid()}-{secrets.token_hex(4)}",
        now=now,
        on_failure=metrics.failed,
        registry=metrics.registry,
    )
