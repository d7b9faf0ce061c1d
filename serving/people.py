"""Routes about people over HTTP: merging a device into an account, and taking that back.

Their work waits for the disk, so it happens in threads. They are for the shop's own systems: put
them behind whatever tells these from the public.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from qianmian.contracts.people_api import (
    MERGE_REQUEST,
    UNMERGE_REQUEST,
    MergeRequest,
    UnmergeRequest,
)
from qianmian.errors import ConflictError, EventStoreError, FieldError, NotFoundError
from qianmian.identity.gate import Gate
from qianmian.identity.merging import Merger
from serving.problems import invalid_body, invalid_field, not_found, problem

log = logging.getLogger(__name__)

MAX_PEOPLE_BODY: Final = 8 * 1024
_RETRY_AFTER: Final = {"retry-after": "1"}
Body = TypeVar("Body", MergeRequest, UnmergeRequest)
Answer = dict[str, Any]


class People:
    """The endpoints."""

    def __init__(self, gate: Gate, merger: Merger) -> None:
        self._gate = gate
        self._merger = merger

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/users:merge", self.merge, methods=["POST"]),
            Route("/v1/users:unmerge", self.unmerge, methods=["POST"]),
        ]

    async def merge(self, request: Request) -> Response:
        """Answer `POST /v1/users:merge`."""
        return await _answered(request, MERGE_REQUEST, MergeRequest, self._merge)

    async def unmerge(self, request: Request) -> Response:
        """Answer `POST /v1/users:unmerge`."""
        return await _answered(request, UNMERGE_REQUEST, UnmergeRequest, self._unmerge)

    def _merge(self, body: MergeRequest) -> Answer:
        self._gate.event(None, body.visitor_id)  # neither may be forgotten
        who = self._gate.event(body.user_id, body.visitor_id)
        merge, new = self._merger.merge(str(who.visitor_id), str(who.user_id))
        return {
            "merged": new,
            "merged_at": _iso(merge.merged_at),
            "reversible_until": _iso(self._merger.reversible_until(merge)),
        }

    def _unmerge(self, body: UnmergeRequest) -> Answer:
        who = self._gate.event(None, body.visitor_id)
        merge = self._merger.unmerge(str(who.visitor_id))
        return {"unmerged": True, "merged_at": _iso(merge.merged_at)}


async def _answered(
    request: Request,
    schema: TypeAdapter[Body],
    model: type[Body],
    work: Callable[[Body], Answer],
) -> Response:
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_PEOPLE_BODY:
            detail = f"body over {MAX_PEOPLE_BODY} bytes: expected two ids"
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", detail)
    try:
        body = schema.validate_json(bytes(raw))
    except ValidationError as error:
        return invalid_body(error, bytes(raw), model)
    return await refusals(lambda: work(body))


async def refusals(work: Callable[[], Answer], status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Do the work in a thread; what it refuses becomes a problem document."""
    try:
        answer = await asyncio.to_thread(work)
    except ConflictError as error:
        return problem(HTTPStatus.CONFLICT, error.kind, str(error))
    except NotFoundError as error:
        return not_found(error)
    except FieldError as error:
        return invalid_field(error)
    except EventStoreError as error:
        log.warning("told to come again: %s", error)
        detail = "nothing was changed, for the engine does not answer; ask again"
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return problem(status, "not-written", detail, headers=_RETRY_AFTER)
    return Response(orjson.dumps(answer), status, media_type="application/json")


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, tz=UTC).isoformat()
