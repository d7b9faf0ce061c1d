"""Read the body of a request, but not beyond what is refused anyway."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from serving.problems import problem


class BodyTooLargeError(Exception):
    """A body is larger than its route takes; the app answers with `too_large`."""


async def body_of(request: Request, *, limit: int, remedy: str) -> bytes:
    """Return the body of a request.

    Raises:
        BodyTooLargeError: it has more than `limit` bytes; `remedy` says what to do.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise BodyTooLargeError(f"body over {limit} bytes{remedy}")
    return bytes(body)


async def too_large(_: Request, error: Exception) -> Response:
    """Answer a request whose body is too large."""
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", str(error))
