"""The HTTP door: a plain Starlette app around a `VenueService`.

Routes are few and their bodies are checked by the contract's own models. The one route that is
asked all the time is met before Starlette's routing, which would cost it a tenth of its time.
Every refusal is a problem document.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qianmian.contracts.api import RECOMMEND_REQUEST, RecommendRequest
from qianmian.errors import FieldError, VenueNotFoundError
from qianmian.identity.untold import untold
from serving.bodies import BodyTooLargeError, too_large
from serving.feed.market import Reads
from serving.ingest.route import events_endpoint
from serving.inventory import inventory_endpoint
from serving.openapi import MAX_USERS, document
from serving.problems import RETRY_AFTER, invalid_body, invalid_field, not_found, problem
from serving.service import VenueService
from serving.worlds import NotReadyError

log = logging.getLogger(__name__)

MAX_BODY: Final = 512 * 1024
_HOT_START: Final = "/v1/venues/"
_HOT_END: Final = ":recommend"
_USERS: Final = 20
#: Seconds that a page waits for what is read for it on another thread.
READ_SECONDS: Final = 0.05
#: Threads for that, which a store that hangs may hold up; nothing else waits for them.
_READERS: Final = 4

_DOCS: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>qianmian API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true});
</script>
</body>
</html>
"""


def build_app(service: VenueService) -> ASGIApp:
    """Return the ASGI app of a service; while it runs, it watches for promoted releases."""
    door = _Door(service)
    web = service.settings.web
    routes = [
        Route("/v1/venues/{venue_id}:recommend", door.routed_recommend, methods=["POST"]),
        Route("/v1/events", events_endpoint(service), methods=["POST"]),
        Route("/v1/inventory", inventory_endpoint(service), methods=["POST"]),
        *service.people.routes(),
        Route("/v1/venues", door.venues),
        Route("/v1/users", door.users),
        Route("/healthz", door.healthz),
        Route("/readyz", door.readyz),
        Route("/metrics", door.metrics),
        Route("/openapi.json", door.openapi),
        Route("/docs", door.docs),
        Mount("/docs/assets", StaticFiles(directory=docs_assets()), name="docs_assets"),
        Route("/", door.page),
        Mount("/web", StaticFiles(directory=web, check_dir=False), name="web"),
    ]
    app = Starlette(
        routes=routes,
        lifespan=door.lifespan,
        exception_handlers={
            HTTPException: _http_problem,
            BodyTooLargeError: too_large,
            Exception: _no_answer,
        },
    )
    return _Outermost(app, door, service)


def docs_assets() -> Path:
    """Return the folder with the interactive documentation's script and style.

    Raises:
        ModuleNotFoundError: the package that carries them is not installed.
    """
    package = importlib.util.find_spec("fastapi_offline")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("fastapi-offline carries the assets of /docs: install it")
    return Path(package.origin).parent / "static"


class _Door:
    """The endpoints of one service."""

    def __init__(self, service: VenueService) -> None:
        self._service = service
        self._openapi = orjson.dumps(document())
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="reads")

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(self._service.start)
        watcher = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watcher.cancel()
            await asyncio.to_thread(self._readers.shutdown, cancel_futures=True)
            await asyncio.to_thread(self._service.close)

    async def _watch(self) -> None:
        """Look for promoted releases, in a thread so that requests go on meanwhile."""
        while True:
            await asyncio.sleep(self._service.settings.watch_seconds)
            try:
                await asyncio.to_thread(self._service.refresh)
            except Exception:
                log.exception("could not look for promoted releases; trying again")
                self._service.metrics.failed("release_watch_failed")

    async def routed_recommend(self, request: Request) -> Response:
        """Meet the same route where it is mounted below another path."""
        return await self.recommend(request.path_params["venue_id"], await request.body())

    async def recommend(self, venue_id: str, body: bytes) -> Response:
        """Answer `POST /v1/venues/{venue_id}:recommend`."""
        if len(body) > MAX_BODY:
            detail = f"body of {len(body)} bytes: expected at most {MAX_BODY}; ask for fewer blocks"
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", detail)
        try:
            question = RECOMMEND_REQUEST.validate_json(body)
        except ValidationError as error:
            return invalid_body(error, body, RecommendRequest)
        try:
            reads = self._service.reads(venue_id, question)
            if reads is not None:
                await self._read(reads)
            answer = self._service.respond(venue_id, question)
        except VenueNotFoundError as error:
            return not_found(error)
        except FieldError as error:
            return invalid_field(error)
        except NotReadyError as error:
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "not-ready", str(error), headers=RETRY_AFTER
            )
        return Response(answer, media_type="application/json")

    async def _read(self, reads: Reads) -> None:
        """Have what a page needs read; in time, or the page goes without."""
        reading = asyncio.get_running_loop().run_in_executor(self._readers, reads.run)
        try:
            await asyncio.wait_for(reading, READ_SECONDS)
        except TimeoutError:
            reads.give_up()

    async def venues(self, _: Request) -> Response:
        return _json({"venues": self._service.venues()})

    async def users(self, request: Request) -> Response:
        text = request.query_params.get("limit", str(_USERS))
        digits = len(text) <= len(str(MAX_USERS)) and text.isascii() and text.isdigit()
        if not (digits and 1 <= int(text) <= MAX_USERS):
            expected = f"a whole number, 1..{MAX_USERS}"
            return invalid_field(FieldError("limit", text, expected, "set ?limit= so, or omit it"))
        known = self._service.known_users(int(text))
        return _json({"users": [{"id": user, "events": events} for user, events in known]})

    async def healthz(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, _: Request) -> Response:
        readiness = self._service.readiness()
        status = HTTPStatus.OK if readiness["ready"] else HTTPStatus.SERVICE_UNAVAILABLE
        return _json(readiness, status)

    async def metrics(self, _: Request) -> Response:
        metrics, users = self._service.metrics, self._service.users
        metrics.cache(users.hits, users.misses)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, _: Request) -> Response:
        return Response(self._openapi, media_type="application/json")

    async def docs(self, _: Request) -> Response:
        return HTMLResponse(_DOCS)

    async def page(self, _: Request) -> Response:
        index = self._service.settings.web / "index.html"
        if not index.is_file():
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return FileResponse(index)


class _Outermost:
    """Meets the hot route, counts responses, and logs what nobody expected."""

    def __init__(self, app: ASGIApp, door: _Door, service: VenueService) -> None:
        self._app = app
        self._door = door
        self._metrics = service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        venue_id = _venue_asked(scope)
        if venue_id is None:
            await self._routed(scope, receive, send)
            return
        try:
            body = await _body(receive)
            if body is None:
                return
            response = await self._door.recommend(venue_id, body)
        except Exception as error:  # noqa: BLE001  # the client is answered all the same
            log.error("no answer could be made\n%s", untold(error))  # noqa: TRY400  # names nobody
            self._metrics.failed("no_answer")
            response = _unanswered()
        self._metrics.responded("recommend", response.status_code)
        await response(scope, receive, send)

    async def _routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except ClientDisconnect:
            log.debug("the client left before its request was read")
        except Exception as error:  # noqa: BLE001  # `_no_answer` has answered it
            log.error("no answer could be made\n%s", untold(error))  # noqa: TRY400  # names nobody
            self._metrics.failed("no_answer")
        self._metrics.responded(_route_name(scope), status)


def _venue_asked(scope: Scope) -> str | None:
    """Return the venue of `POST /v1/venues/{venue_id}:recommend`, None for another request."""
    path: str = scope["path"]
    if scope["method"] != "POST" or not path.endswith(_HOT_END) or not path.startswith(_HOT_START):
        return None
    venue_id = path[len(_HOT_START) : -len(_HOT_END)]
    return venue_id if venue_id and "/" not in venue_id else None


async def _body(receive: Receive) -> bytes | None:
    """Read a body, but not beyond what is refused anyway; None if the client left."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        body += part
        if not message.get("more_body") or len(body) > MAX_BODY:
            return body


def _route_name(scope: Scope) -> str:
    endpoint: object = scope.get("endpoint")
    return getattr(endpoint, "__name__", "files" if endpoint else "none")


async def _no_answer(_: Request, __: Exception) -> Response:
    return _unanswered()


def _unanswered() -> Response:
    detail = "the service could not make an answer; ask again"
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "no-answer", detail, headers=RETRY_AFTER)


async def _http_problem(request: Request, error: Exception) -> Response:
    status = HTTPStatus(error.status_code) if isinstance(error, HTTPException) else HTTPStatus(500)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    kind = status.phrase.lower().replace(" ", "-")
    path = request.url.path
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = headers.get("Allow") or headers.get("allow") or "GET, HEAD"
        detail = f"{request.method} {path}: expected {allowed}; /docs lists every route"
    else:
        detail = f"{request.method} {path}: {status.phrase.lower()}; /docs lists every route"
    return problem(status, kind, detail, headers=headers)


def _json(content: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
