"""The service of `benchmarks.event_shop`, alone in a process: what `Service` starts.

python -m benchmarks.event_server --home HOME --port 8123 --engine '{"kind": "sqlite"}'
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from benchmarks.event_shop import DATASET
from qianmian.data.store import Dataset
from qianmian.events.engine import open_engine
from qianmian.venues import VenueBook
from serving.catalogue import Catalogue, venue_sources
from serving.environment import SWITCH_SECONDS
from serving.http import build_app
from serving.service import VenueService
from serving.settings import LiveSettings, serve_settings


class Nobody:
    """An online store that knows no user: pages are not asked for here."""

    def online_user(self, user_id: str) -> None:
        """Return nothing."""
        del user_id

    def erase_users(self, user_ids: Sequence[str]) -> int:
        """Remove nobody."""
        del user_ids
        return 0


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.event_server")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--engine", type=json.loads, required=True)
    options = parser.parse_args()
    sys.setswitchinterval(SWITCH_SECONDS)  # as a replica does
    settings = serve_settings({"dataset": DATASET, "home": options.home, "engine": options.engine})
    dataset = Dataset.open(settings.workspace())
    service = VenueService(
        settings,
        LiveSettings(),
        catalogue=Catalogue.read(dataset),
        book=VenueBook.open(venue_sources(dataset, settings.configs)),
        users=Nobody(),
        engine=open_engine(settings.engine, settings.workspace()),
        schema=dict,
    )
    uvicorn.run(
        build_app(service), host="127.0.0.1", port=options.port, log_level="warning", ws="none"
    )


if __name__ == "__main__":
    main()
