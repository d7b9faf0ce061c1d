"""The app that does nothing: what the ingress alone can do."""

from __future__ import annotations

from ray import serve
from starlette.types import ASGIApp, Receive, Scope, Send

_BODY = b'{"ok":true}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]


async def noop(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer with a constant."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


class _Replica:
    def __serve_build_asgi_app__(self) -> ASGIApp:
        return noop


#: The deployment, with the limits of the real one.
Noop: serve.Deployment = serve.deployment(
    name="Noop",
    max_ongoing_requests=64,
    max_queued_requests=256,
    ray_actor_options={"num_cpus": 1},
    logging_config={"enable_access_log": False, "log_level": "WARNING"},
)(serve.ingress()(_Replica))
