"""The app of the service under uvicorn, without Ray: `python -m benchmarks.freshness.asgi FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from benchmarks import command
from serving.http import build_app
from serving.launch import ServeFile
from serving.service import VenueService


def serve(config: Path) -> None:
    """Serve what a config file says, until it is ended."""
    file = ServeFile.read(config)
    service = VenueService.open(file.settings, file.live)
    uvicorn.run(build_app(service), host=file.host, port=file.port, log_level="warning")


if __name__ == "__main__":
    command.run(lambda: serve(Path(sys.argv[1])))
