"""What the stream process says of itself, once a second, to whoever asks.

It lies in the topic `stream`, so that replicas on other machines show it in their metrics too.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from qianmian.contracts import topics
from qianmian.events.changes import Changes

STATUS_KEY: Final = "status"
#: A status that is older than this is one of a process that stands or is gone.
STALE_SECONDS: Final = 5.0


class StreamStatus(BaseModel):
    """One look at the stream process. Times are of the machine's clock, epoch seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    started_at: float
    updated_at: float
    running: bool = True
    """False once it was stopped in order."""
    lag_events: int = 0
    """Events of the log that are not worked in yet."""
    lag_seconds: float = 0.0
    """Age of the oldest of them, by the service's clock."""
    events: int = 0
    """Events worked in since the start."""
    events_per_second: float = 0.0
    """Over the last second or so."""
    subjects: int = 0
    """Subjects computed since the start."""
    rows: int = 0
    """Feature rows written since the start."""
    batch_subjects: int = 0
    """Subjects of the last batch."""
    batch_ms: float = 0.0
    """Time of the last batch: computing, writing, telling."""
    write_ms: float = 0.0
    """Of these, in the online store."""
    items: int = 0
    """Items whose statistics were computed since the start."""
    items_waiting: int = 0
    """Items with events that their statistics do not hold yet."""
    orders_undecided: int = 0
    """Orders since the start of which it was not known any more what had been shown."""
    received_at: float = 0.0
    """When the last event worked in was received, by the service's clock."""
    online: str = ""
    """Which filling of the online store the features went on from."""

    def is_live(self, now: float) -> bool:
        """Return whether the process was there a moment ago; `now` by the machine's clock."""
        return self.running and now - self.updated_at < STALE_SECONDS


def read_status(changes: Changes) -> StreamStatus | None:
    """Return what the stream said last, None if none ever ran.

    Raises:
        EventStoreError: the engine does not answer.
    """
    text = changes.get(topics.STREAM).get(STATUS_KEY)
    return None if text is None else StreamStatus.model_validate_json(text)
