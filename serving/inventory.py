"""`POST /v1/inventory` over HTTP: facts of stock, price and sale windows in, each row judged alone.

What is accepted is durable when the answer goes out, holds in this replica at once and in every
other one as soon as its listener has looked: well within a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from qianmian.config.document import show_path
from qianmian.config.faults import describe
from qianmian.contracts import columns as c
from qianmian.contracts import topics
from qianmian.contracts.inventory_api import SAID, InventoryRequest, InventoryRow
from qianmian.errors import EventStoreError, suggest
from qianmian.venues.inventory import EVERY_VENUE, Fact, encode
from serving.bodies import body_of
from serving.problems import invalid_body, not_written

if TYPE_CHECKING:
    from serving.service import VenueService

log = logging.getLogger(__name__)

MAX_INVENTORY_BODY: Final = 512 * 1024


def inventory_endpoint(service: VenueService) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of a service's inventory."""

    async def inventory(request: Request) -> Response:
        body = await body_of(request, limit=MAX_INVENTORY_BODY, remedy="; send fewer rows at once")
        try:
            rows = InventoryRequest.model_validate_json(body).rows
        except ValidationError as error:
            return invalid_body(error, body, InventoryRequest)
        facts, rejected = judge(
            rows, items=service.catalogue.item_ids, venues=frozenset(service.book.venues)
        )
        try:
            await asyncio.to_thread(_put, service, facts)
        except EventStoreError as error:
            log.warning("inventory told to come again: %s", error)
            detail = "nothing of this request was kept, for it cannot be written; send it again"
            return not_written(detail)
        accepted = len(rows) - len(rejected)
        service.metrics.inventory(accepted, len(rejected))
        answer = {"accepted": accepted, "rejected": rejected}
        return Response(orjson.dumps(answer), HTTPStatus.ACCEPTED, media_type="application/json")

    return inventory


def judge(
    rows: list[dict[str, Any]], *, items: frozenset[str], venues: frozenset[str]
) -> tuple[list[Fact], list[dict[str, Any]]]:
    """Return the facts of the good rows, and `RejectedRow` for each of the others."""
    facts: list[Fact] = []
    rejected: list[dict[str, Any]] = []
    for index, values in enumerate(rows):
        try:
            # orjson writes NaN as null, which takes back, and no number beyond 64 bits
            row = InventoryRow.model_validate_json(to_json(values))
        except ValidationError as error:
            fault = "; ".join(_told(detail, values) for detail in error.errors(include_url=False))
        else:
            fault = _unknown(row, items, venues)
            if not fault:
                facts += _facts(row)
                continue
        item_id = values.get(c.ITEM_ID)
        rejected.append(
            {
                "index": index,
                "item_id": item_id if isinstance(item_id, str) else None,
                "error": fault,
            }
        )
    return facts, rejected


def _put(service: VenueService, facts: list[Fact]) -> None:
    if facts:
        service.engine.changes.put(topics.INVENTORY, encode(facts))
        with suppress(EventStoreError):  # it is kept: the listener looks again in a moment
            service.listener.catch_up()


def _facts(row: InventoryRow) -> list[Fact]:
    said = [name for name in SAID if name in row.model_fields_set]
    venue_id = row.venue_id or EVERY_VENUE
    return [Fact(name, venue_id, row.item_id, _number(getattr(row, name))) for name in said]


def _number(value: float | datetime | None) -> float | None:
    return value.timestamp() if isinstance(value, datetime) else value


def _unknown(row: InventoryRow, items: frozenset[str], venues: frozenset[str]) -> str:
    if row.item_id not in items:
        return f"{c.ITEM_ID}={row.item_id!r}: expected an item of the catalogue"
    if row.venue_id is not None and row.venue_id not in venues:
        hint = suggest(row.venue_id, venues).replace(",", ";", 1)
        return f"{c.VENUE_ID}={row.venue_id!r}: expected a venue of GET /v1/venues{hint}"
    return ""


def _told(detail: Any, values: dict[str, Any]) -> str:
    location, message = describe(detail, values, InventoryRow)
    return f"{show_path(location)}{message}"
