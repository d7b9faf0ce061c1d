"""`POST /v1/events` over HTTP: bodies in, 202 or a problem document out."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from qianmian.contracts.event_api import EventsRequest
from qianmian.errors import EventStoreError
from qianmian.events.accepting import InvalidBatchError
from serving.bodies import body_of
from serving.problems import invalid_body, not_written

if TYPE_CHECKING:
    from serving.service import VenueService

log = logging.getLogger(__name__)

#: 500 events, each with an attribution token of a long page.
MAX_EVENTS_BODY: Final = 4 * 2**20


def events_endpoint(service: VenueService) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of a service's events."""

    async def events(request: Request) -> Response:
        body = await body_of(request, limit=MAX_EVENTS_BODY, remedy="; send fewer events at once")
        try:
            answer = await service.ingest.receive(body, service.now())
        except InvalidBatchError as error:
            return invalid_body(error.error, body, EventsRequest)
        except EventStoreError as error:
            log.warning("events told to come again: %s", error)
            detail = (
                "no event of this request was kept, for the log cannot be written; send it again"
            )
            return not_written(detail)
        return Response(orjson.dumps(answer), HTTPStatus.ACCEPTED, media_type="application/json")

    return events
