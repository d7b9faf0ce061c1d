"""From events to flags: which event is implausible, and for which reasons.

One function for the stream and the archive. A flag stands beside the log, never in it: the event
stays as it was accepted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from qianmian.contracts import columns as c
from qianmian.trust.kinds import finders
from qianmian.trust.rules import TrustRules
from qianmian.trust.traffic import Seen, Traffic


@dataclass(frozen=True, slots=True)
class Flag:
    """One event and one reason why it is not trusted."""

    event_id: str
    reason: str


def find_flags(events: Iterable[Seen], rules: TrustRules) -> list[Flag]:
    """Flags of events by what stands around them, in the order of time, reasons by name."""
    return flags_in(Traffic.of(events), rules)


def flags_in(traffic: Traffic, rules: TrustRules) -> list[Flag]:
    """The same of events that are laid out."""
    if not len(traffic):
        return []
    masks = {reason: find(traffic) for reason, find in finders(rules).items()}
    return [
        Flag(str(traffic.event_ids[row]), reason)
        for row in np.flatnonzero(np.any(list(masks.values()), axis=0))
        for reason in sorted(masks)
        if masks[reason][row]
    ]


#: What the rules read of archived events; all but the first four may be absent.
TRUST_COLUMNS: Final = (
    c.EVENT_ID,
    c.USER_ID,
    c.EVENT_TYPE,
    c.TIMESTAMP,
    c.ITEM_ID,
    c.VISITOR_ID,
    c.ORDER_ID,
    c.VENUE_ID,
    c.RECOMMENDATION_ID,
    c.SHARED_BY,
    c.RECEIVED_AT,
)


@dataclass(frozen=True, slots=True)
class Untrusted:
    """Events that training and metrics leave out."""

    event_ids: frozenset[str]
    reasons: dict[str, int]  # events by reason; one may have several
    of: int  # events that were judged

    def __str__(self) -> str:
        """Say how many there are, and why."""
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.reasons.items())
        told = f"{len(self.event_ids):,} of {self.of:,} logged events are not trusted"
        return f"{told}: {reasons}" if reasons else told


NOTHING_UNTRUSTED: Final = Untrusted(frozenset(), {}, 0)


def untrusted(frame: pd.DataFrame, rules: TrustRules) -> Untrusted:
    """Judge logged events; `frame` holds TRUST_COLUMNS."""
    flags = flags_in(Traffic.of_frame(frame), rules)
    return Untrusted(
        event_ids=frozenset(flag.event_id for flag in flags),
        reasons=dict(sorted(Counter(flag.reason for flag in flags).items())),
        of=len(frame),
    )
