"""The Ray Serve app: one deployment, one replica class, the whole request path inside.

    qianmian serve                          # or:
    serve run configs/serving/serve.yaml

A hop between deployments costs more than ranking does, so there is none. Scale by replicas.
"""

from __future__ import annotations

import sys
from typing import Any

from ray import serve
from starlette.types import ASGIApp

from serving.environment import SWITCH_SECONDS
from serving.http import build_app
from serving.service import VenueService
from serving.settings import LiveSettings, ServeSettings, live_settings, serve_settings


class Replica:
    """One replica: the service, and Serve's own hooks around it."""

    def __init__(self, settings: ServeSettings) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        self._service = VenueService.open(settings, LiveSettings())

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take over a changed `user_config`; Serve calls this on live replicas, too."""
        self._service.configure(live_settings(user_config))

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the app that Serve's HTTP server runs in this replica."""
        return build_app(self._service)


#: The deployment; its numbers (replicas, limits) are set by the config file.
VenueFeed: serve.Deployment = serve.deployment(name="VenueFeed")(serve.ingress()(Replica))


def build(args: dict[str, Any]) -> serve.Application:
    """Return the application for the `args` of a Serve config file.

    Raises:
        ConfigError: the arguments do not fit `ServeSettings`.
    """
    application: serve.Application = VenueFeed.bind(serve_settings(args))
    return application
