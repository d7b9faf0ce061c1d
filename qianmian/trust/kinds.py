"""The kinds of implausible streams, each a pure function from events to a mask of what it flags.

A function flags the whole of what it finds implausible, impressions included: a robot's
impressions without its clicks would teach that nobody clicks.

Shapes: `n` events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from qianmian.contracts.events import EVENT_CODE, EventType
from qianmian.trust.rules import (
    Burst,
    ClickRate,
    SelfShare,
    SharedDevice,
    TrustRules,
    UnseenOrder,
)
from qianmian.trust.sliding import Groups
from qianmian.trust.traffic import Bool, Int64, Traffic

CLICK_RATE: Final = "click_rate"
BURST: Final = "burst"
SHARED_DEVICE: Final = "shared_device"
UNSEEN_ORDER: Final = "unseen_order"
SELF_SHARE: Final = "self_share"
KINDS: Final = (CLICK_RATE, BURST, SHARED_DEVICE, UNSEEN_ORDER, SELF_SHARE)

_IMPRESSION: Final = EVENT_CODE[EventType.IMPRESSION]
_CLICK: Final = EVENT_CODE[EventType.CLICK]
_ORDER: Final = EVENT_CODE[EventType.ORDER]


def click_rate(traffic: Traffic, rule: ClickRate) -> Bool:
    """A subject's or device's windows with more clicks than `max_rate` for each impression."""
    clicks, shown = (traffic.kind == _CLICK) & traffic.on_page, traffic.kind == _IMPRESSION
    flagged = np.zeros(len(traffic), dtype=np.bool_)
    window = rule.window_seconds
    for key in (traffic.subject, traffic.device):
        groups = Groups.by(key, traffic.at, reach=2 * window)
        clicked = groups.counts(clicks, before=window)
        possible = groups.counts(shown, before=2 * window)
        hit = clicks[groups.rows] & (clicked >= rule.min_clicks)
        hit &= clicked > rule.max_rate * possible
        _mark(flagged, groups.spread(hit, before=window))
    return flagged


def burst(traffic: Traffic, rule: Burst) -> Bool:
    """A subject's windows with more actions than `max_actions`, lines of an order counted once."""
    acts = traffic.kind != _IMPRESSION
    single = acts & _first_of_order(traffic)
    groups = Groups.by(np.where(acts, traffic.subject, -1), traffic.at, reach=rule.window_seconds)
    done = groups.counts(single, before=rule.window_seconds)
    flagged = np.zeros(len(traffic), dtype=np.bool_)
    _mark(flagged, groups.spread(done > rule.max_actions, before=rule.window_seconds))
    return flagged


def shared_device(traffic: Traffic, rule: SharedDevice) -> Bool:
    """A device's windows with more than `max_users` accounts."""
    signed_in = np.where(traffic.user >= 0, traffic.device, -1)
    pairs = np.unique(np.stack([signed_in, traffic.user]), axis=1)
    devices, accounts = np.unique(pairs[0][pairs[0] >= 0], return_counts=True)
    suspects = devices[accounts > rule.max_users]
    key = np.where(np.isin(traffic.device, suspects), traffic.device, -1)
    groups = Groups.by(key, traffic.at, reach=rule.window_seconds)
    first, end = groups.windows(rule.window_seconds)
    users = traffic.user[groups.rows]
    crowded = np.array(
        [
            len(set(users[a:b].tolist()) - {-1}) > rule.max_users
            for a, b in zip(first.tolist(), end.tolist(), strict=True)
        ],
        dtype=np.bool_,
    )
    flagged = np.zeros(len(traffic), dtype=np.bool_)
    _mark(flagged, groups.spread(crowded, before=rule.window_seconds))
    return flagged


def unseen_order(traffic: Traffic, rule: UnseenOrder) -> Bool:
    """Orders that name a page and whose item was shown neither to the subject nor on the device."""
    shown, orders = traffic.kind == _IMPRESSION, (traffic.kind == _ORDER) & traffic.on_page
    seen = np.zeros(len(traffic), dtype=np.bool_)
    for who in (traffic.subject, traffic.device):
        key = np.where((shown | orders) & (who >= 0), _pairs(who, traffic.item), -1)
        reach = max(rule.lookback_seconds, rule.grace_seconds)
        groups = Groups.by(key, traffic.at, reach=reach)
        before = groups.counts(shown, before=rule.lookback_seconds, after=rule.grace_seconds)
        seen[groups.rows[before > 0]] = True
    unseen: Bool = orders & ~seen
    return unseen


def self_share(traffic: Traffic, rule: SelfShare) -> Bool:
    """Events by a share link of the one who shared it, told by account or by device."""
    by_link = traffic.shared_by >= 0
    own = np.zeros(len(traffic), dtype=np.bool_)
    for who in (traffic.subject, traffic.user, traffic.device):
        own |= by_link & (traffic.shared_by == who)
    # The sharer on the same device: a visit asks for (device, sharer), a presence offers it.
    visits, present = by_link & (traffic.device >= 0), (traffic.device >= 0) & (traffic.user >= 0)
    asked = np.concatenate([np.flatnonzero(visits), np.flatnonzero(present)])
    person = np.concatenate([traffic.shared_by[visits], traffic.user[present]])
    offers = np.repeat([False, True], [visits.sum(), present.sum()])
    window = rule.window_seconds
    groups = Groups.by(_pairs(traffic.device[asked], person), traffic.at[asked], reach=window)
    met = groups.counts(offers, before=window, after=window) > 0
    own[asked[groups.rows[met & ~offers[groups.rows]]]] = True
    return own


_Finder = Callable[[Traffic], Bool]


def finders(rules: TrustRules) -> dict[str, _Finder]:
    """The function of each kind that the rules look for, by the kind's name."""
    found: dict[str, _Finder] = {}
    if (rate := rules.click_rate) is not None:
        found[CLICK_RATE] = lambda traffic: click_rate(traffic, rate)
    if (dense := rules.burst) is not None:
        found[BURST] = lambda traffic: burst(traffic, dense)
    if (device := rules.shared_device) is not None:
        found[SHARED_DEVICE] = lambda traffic: shared_device(traffic, device)
    if (order := rules.unseen_order) is not None:
        found[UNSEEN_ORDER] = lambda traffic: unseen_order(traffic, order)
    if (share := rules.self_share) is not None:
        found[SELF_SHARE] = lambda traffic: self_share(traffic, share)
    return found


def _first_of_order(traffic: Traffic) -> Bool:
    """Whether a row is not a further line of an order of its subject."""
    first = np.ones(len(traffic), dtype=np.bool_)
    lines = np.flatnonzero((traffic.kind == _ORDER) & (traffic.order >= 0))
    _, kept = np.unique(_pairs(traffic.subject, traffic.order)[lines], return_index=True)
    first[lines] = False
    first[lines[kept]] = True
    return first


def _pairs(left: Int64, right: Int64) -> Int64:
    """One code for each pair of codes."""
    joined: Int64 = (left << np.int64(32)) + right
    return joined


def _mark(flagged: Bool, marked: Bool) -> None:
    flagged[: len(marked)] |= marked
