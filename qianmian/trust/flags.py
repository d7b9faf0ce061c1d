"""From events to flags: which event is implausible, and for which reasons.

One function for the stream and the archive. A flag stands beside the log, never in it: the event
stays as it was accepted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qianmian.contracts import columns as c
from qianmian.trust.kinds import finders
from qianmian.trust.rules import TrustRules
from qianmian.trust.traffic import Bool, Seen, Traffic, seen_in


@dataclass(frozen=True, slots=True)
class Flag:
    """One event and one reason why it is not trusted."""

    event_id: str
    reason: str


def find_flags(events: Iterable[Seen], rules: TrustRules) -> list[Flag]:
    """Flags of events by what stands around them, in the order of time, reasons by name."""
    traffic = Traffic.of(events)
    if not len(traffic):
        return []
    masks = {reason: find(traffic) for reason, find in finders(rules).items()}
    return [
        Flag(str(traffic.event_ids[row]), reason)
        for row in np.flatnonzero(np.any(list(masks.values()), axis=0))
        for reason in sorted(masks)
        if masks[reason][row]
    ]


def trusted(frame: pd.DataFrame, rules: TrustRules) -> tuple[Bool, dict[str, int]]:
    """Which rows of logged events are trusted, bool [n], and how many fell to each reason.

    `frame` holds the data contract's columns with `event_id`.
    """
    flags = find_flags(seen_in(frame), rules)
    counts: dict[str, int] = {}
    for flag in flags:
        counts[flag.reason] = counts.get(flag.reason, 0) + 1
    ids = pd.Index([flag.event_id for flag in flags])
    kept: Bool = ~frame[c.EVENT_ID].astype(str).isin(ids).to_numpy()
    return kept, dict(sorted(counts.items()))
