"""The service as a client sees it: whom to probe with what, and a connection of each thread."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from qianmian.contracts import columns as c
from qianmian.data.store import Dataset
from qianmian.workspace import Workspace

START_SECONDS: Final = 240.0

Json = dict[str, Any]


@dataclass(slots=True)
class Shop:
    """The service as a client sees it, and whom to probe with what."""

    port: int
    users: list[str]
    pool: list[str]
    owned: dict[str, set[str]]
    venue: str
    shift: float = 0.0  # from the machine's clock to the service's

    @classmethod
    def read(cls, workspace: Workspace, port: int, venue: str) -> Shop:
        """What the data set tells of its shoppers and a venue; ends where it has none."""
        dataset = Dataset.open(workspace)
        pools = dataset.venue_items()
        orders = dataset.events([c.USER_ID, c.ITEM_ID])
        if pools is None:
            message = "the data set has no venues: freshness needs a venue's pool"
            raise SystemExit(message)
        pool = sorted(set(pools[pools[c.VENUE_ID] == venue][c.ITEM_ID].astype(str)))
        sold = set(orders[c.ITEM_ID].astype(str).value_counts().head(20_000).index)
        held = orders[orders[c.ITEM_ID].isin(pool)]
        owned = {
            str(user): set(items.astype(str))
            for user, items in held.groupby(c.USER_ID, observed=True)[c.ITEM_ID]
        }
        users = sorted(orders[c.USER_ID].astype(str).unique())
        return cls(port, users, [item for item in pool if item in sold], owned, venue)

    def wait(self, service: list[subprocess.Popen[bytes]]) -> None:
        """Wait until pages are answered and the stream works in events."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException, KeyError):
                client = Client(self.port)
                status, ready = client.get("/readyz")
                if status == 200 and ready.get("stream") == "running":  # noqa: PLR2004
                    at = datetime.fromisoformat(ready["now"]).timestamp()
                    self.shift = at - time.time()
                    return
            if any(child.poll() is not None for child in service):
                message = "the service ended before it was ready, see above"
                raise SystemExit(message)
            if time.monotonic() > deadline:
                message = f"the service was not ready within {START_SECONDS:.0f} s"
                raise SystemExit(message)
            time.sleep(0.5)

    def now(self) -> str:
        """Return the service's time."""
        return datetime.fromtimestamp(time.time() + self.shift, tz=UTC).isoformat()


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path: str) -> tuple[int, Json]:
        """Status and JSON of an answer."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Json) -> tuple[int, Json]:
        """Status and JSON of the answer to a body."""
        return self._ask("POST", path, json.dumps(body))

    def _ask(self, method: str, path: str, body: str | None) -> tuple[int, Json]:
        for last in (False, True):
            try:
                self._connection.request(method, path, body, {"content-type": "application/json"})
                response = self._connection.getresponse()
                text = response.read()
                known = response.headers.get_content_type().endswith("json")
                return response.status, json.loads(text) if known else {}
            except (http.client.HTTPException, ConnectionError):
                self._connection.close()  # the ingress closed it between two requests
                if last:
                    raise
        raise AssertionError


def event(shop: Shop, event_id: str, kind: str, user: str, item: str, **more: Any) -> Json:
    """An event as a client sends it."""
    return {
        "event_id": event_id,
        "event_type": kind,
        "timestamp": shop.now(),
        "user_id": user,
        "item_id": item,
        "venue_id": shop.venue,
        **more,
    }
