"""Names of the decision log's columns: one row for each block of an answered recommendation."""

from __future__ import annotations

from typing import Final

from qianmian.contracts.events import PREDICTED_ACTIONS, EventType

RECOMMENDATION_ID: Final = "recommendation_id"
DECIDED_AT: Final = "decided_at"  # by the service's clock
SUBJECT_ID: Final = "subject_id"  # whose page; null where nobody is known
VENUE_ID: Final = "venue_id"
PHASE: Final = "phase"
RELEASE: Final = "release"
ARMS: Final = "arms"  # of layer, experiment, arm
RACES: Final = "races"  # of race, what led it, the propensity of that, version of the state
DEGRADED: Final = "degraded"
PAGE_VIEW_ID: Final = "page_view_id"
BLOCK_ID: Final = "block_id"
CANDIDATES: Final = "candidates"  # how many were ranked

# Lists, one entry for each item that was shown, in the order of the page.
ITEM_IDS: Final = "item_ids"
POSITIONS: Final = "positions"
SCORES: Final = "scores"
SOURCES: Final = "sources"
SLOTS: Final = "slots"
PROPENSITIES: Final = "propensities"  # given the order of the blocks and the sponsored places
CAMPAIGN_IDS: Final = "campaign_ids"  # null where a place is not sponsored


def probabilities(action: EventType) -> str:
    """Name of the list of chances of an action; null where no ranker scored the item.

    >>> probabilities(EventType.CLICK)
    'probabilities_click'
    """
    return f"probabilities_{action}"


PROBABILITIES: Final = {str(action): probabilities(action) for action in PREDICTED_ACTIONS}
