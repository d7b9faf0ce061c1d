"""Traffic for the trust tests: shoppers as they are, and what can be planted among them."""

from __future__ import annotations

from itertools import count

from qianmian.contracts.events import EVENT_CODE
from qianmian.trust.traffic import Seen

_ids = count()


def seen(kind, at, user="", *, device="", item="", page="", order="", shared_by="", event_id=None):
    return Seen(
        event_id=event_id or f"e{next(_ids):08d}",
        kind=EVENT_CODE[kind],
        at=float(at),
        subject=user or f"visitor:{device}",
        user=user,
        device=device,
        item=item,
        order=order,
        page=page,
        shared_by=shared_by,
    )


def visit(user, at, *, device="", shown=20, clicked=3, ordered=1, page="r1"):
    """A page, some clicks and an order, as a person makes them."""
    items = [f"i{i}" for i in range(shown)]
    events = [seen("impression", at, user, device=device, item=i, page=page) for i in items]
    events += [
        seen("click", at + 20 * n, user, device=device, item=item, page=page)
        for n, item in enumerate(items[:clicked], start=1)
    ]
    events += [
        seen("order", at + 400, user, device=device, item=item, page=page, order=f"o-{user}-{at}")
        for item in items[:ordered]
    ]
    return events
