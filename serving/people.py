"""Routes about people over HTTP: merging a device into an account, taking that back, forgetting.

Their work waits for the disk, so it happens in threads; an erasure goes on in the background. They
are for the shop's own systems: put them behind whatever tells these from the public.
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

from qianmian.contracts.api import MAX_ID
from qianmian.contracts.people_api import (
    FORGET_REQUEST,
    MERGE_REQUEST,
    UNMERGE_REQUEST,
    ForgetRequest,
    MergeRequest,
    UnmergeRequest,
)
from qianmian.contracts.subjects import VISITOR_PREFIX, subject_of
from qianmian.erasure.job import Erasures, Worker
from qianmian.erasure.receipts import Receipt
from qianmian.errors import ConflictError, EventStoreError, FieldError, NotFoundError
from qianmian.identity.gate import Gate
from qianmian.identity.merging import Merger
from serving.bodies import body_of
from serving.problems import invalid_body, invalid_field, not_found, not_written, problem

log = logging.getLogger(__name__)

MAX_PEOPLE_BODY: Final = 8 * 1024
Body = TypeVar("Body", MergeRequest, UnmergeRequest, ForgetRequest)
Answer = dict[str, Any]


class People:
    """The endpoints."""

    def __init__(self, gate: Gate, merger: Merger, erasures: Erasures) -> None:
        self._gate = gate
        self._merger = merger
        self._erasures = erasures
        self._worker = Worker(erasures)

    def start(self) -> None:
        """Go on with erasures that were taken down, by whomever."""
        self._worker.start()

    def stop(self) -> None:
        """Stop; an erasure that is under way goes on at the next start."""
        self._worker.stop()
        self._erasures.receipts.close()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/users:merge", self.merge, methods=["POST"]),
            Route("/v1/users:unmerge", self.unmerge, methods=["POST"]),
            Route("/v1/users:forget", self.forget_in_body, methods=["POST"]),
            Route("/v1/users/{subject:path}:forget", self.forget, methods=["POST"]),
            Route("/v1/users/{subject:path}:allow", self.allow, methods=["POST"]),
            Route("/v1/receipts/{receipt_id}", self.receipt),
        ]

    async def merge(self, request: Request) -> Response:
        """Answer `POST /v1/users:merge`."""
        return await _answered(request, MERGE_REQUEST, MergeRequest, self._merge)

    async def unmerge(self, request: Request) -> Response:
        """Answer `POST /v1/users:unmerge`."""
        return await _answered(request, UNMERGE_REQUEST, UnmergeRequest, self._unmerge)

    async def forget(self, request: Request) -> Response:
        """Answer `POST /v1/users/{id}:forget`."""
        subject = request.path_params["subject"]
        return await refusals(lambda: self._forget(subject), HTTPStatus.ACCEPTED)

    async def forget_in_body(self, request: Request) -> Response:
        """Answer `POST /v1/users:forget`: the id is in no path, so no proxy writes it down."""

        def work(body: ForgetRequest) -> Answer:
            return self._forget(str(subject_of(body.user_id, body.visitor_id)))

        accepted = HTTPStatus.ACCEPTED
        return await _answered(request, FORGET_REQUEST, ForgetRequest, work, accepted)

    async def allow(self, request: Request) -> Response:
        """Answer `POST /v1/users/{id}:allow`."""
        subject = request.path_params["subject"]
        return await refusals(lambda: {"allowed": self._erasures.allow(_checked(subject))})

    async def receipt(self, request: Request) -> Response:
        """Answer `GET /v1/receipts/{receipt_id}`."""
        receipt_id = request.path_params["receipt_id"]
        return await refusals(lambda: shown(self._erasures.receipts.get(receipt_id)))

    def _forget(self, subject: str) -> Answer:
        receipt = self._erasures.request(_checked(subject))
        self._worker.wake()
        return shown(receipt)

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
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    raw = await body_of(request, limit=MAX_PEOPLE_BODY, remedy=": expected two ids")
    try:
        body = schema.validate_json(raw)
    except ValidationError as error:
        return invalid_body(error, raw, model)
    return await refusals(lambda: work(body), status)


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
        return not_written(detail)
    return Response(orjson.dumps(answer), status, media_type="application/json")


def shown(receipt: Receipt) -> Answer:
    """Return a receipt as `ErasureReceipt`."""
    answer = receipt.model_dump()
    for entry in (answer, *answer["stores"]):
        for name in ("requested_at", "finished_at"):
            if entry.get(name) is not None:
                entry[name] = _iso(entry[name])
    return answer


def _checked(subject: str) -> str:
    if not 1 <= len(subject.removeprefix(VISITOR_PREFIX)) <= MAX_ID:
        expected = f"a user id, or {VISITOR_PREFIX} and a visitor id, of 1..{MAX_ID} characters"
        raise FieldError("id", f"{len(subject)} characters", expected, "name whom to forget")
    return subject


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, tz=UTC).isoformat()
