from __future__ import annotations

import numpy as np
import pytest

from qianmian.contracts.event_api import Event
from qianmian.contracts.events import EventType
from serving.feed.tokens import SPONSORED, Attribution, Signer, Special, item_hashes
from serving.ingest.attribute import Attributor
from tests.serving import tiny

DAY = 86_400.0


@pytest.fixture
def token(signer: Signer) -> str:
    """A page of an organic item, and a sponsored one that is billed for ten days."""
    sale = ("lease", 400_000, "order", tiny.NOW + 10 * DAY)
    shown = Attribution(
        recommendation_id="r",
        venue_id="sale",
        phase="peak",
        release="2017",
        arms=(),
        at=tiny.NOW,
        page_view_id=None,
        blocks=(("main", 1, 2),),
        items=item_hashes(["i010", "i020"]),
        propensities=np.ones(2, dtype=np.float32),
        special={1: Special(SPONSORED, "bread", sale)},
    )
    return signer.attribution(shown)


def happened(item: str, kind: str, token: str) -> Event:
    return Event(
        event_id="e1",
        event_type=EventType(kind),
        item_id=item,
        user_id="anna",
        timestamp=tiny.END,
        attribution_token=token,
    )


@pytest.mark.parametrize(
    ("item", "days", "attributed", "campaign"),
    [
        ("i010", 7.1, "expired", None),
        ("i020", 7.1, "token", "bread"),
        ("i020", 10.0, "token", "bread"),
        ("i020", 10.1, "expired", None),
    ],
)
def test_a_sponsored_item_is_attributed_while_it_may_be_billed(
    signer, token, item, days, attributed, campaign
) -> None:
    attribute = Attributor(signer, max_age=7 * DAY)
    found = attribute(happened(item, "order", token), tiny.NOW + days * DAY)
    assert (found.attributed, found.campaign_id) == (attributed, campaign)
    assert (found.sale is None) == (campaign is None)


def test_a_short_window_does_not_shorten_a_token(signer, token) -> None:
    attribute = Attributor(signer, max_age=14 * DAY)
    found = attribute(happened("i020", "click", token), tiny.NOW + 12 * DAY)
    assert found.campaign_id == "bread"
