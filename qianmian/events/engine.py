"""The engine that replicas and the stream talk through, chosen by configuration.

`args.engine` of `configs/serving/serve.yaml` names it: SQLite for one machine, Redis for more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from qianmian.config import ConfigModel
from qianmian.events.changes import Changes
from qianmian.events.sqlite_changes import SqliteChanges
from qianmian.events.sqlite_store import SqliteEventStore
from qianmian.events.store import EventStore
from qianmian.workspace import Workspace

EVENTS_FILE: Final = "events.db"
CHANGES_FILE: Final = "changes.db"


class SqliteEngine(ConfigModel):
    """SQLite files on this machine."""

    kind: Literal["sqlite"] = "sqlite"
    folder: Path | None = None
    """Where the files lie; null: `events/` of the data set."""


EngineSettings = SqliteEngine


@dataclass(frozen=True, slots=True)
class Engine:
    """The event log and the topics of one data set."""

    events: EventStore
    changes: Changes

    def close(self) -> None:
        """Give back the connections of both."""
        self.events.close()
        self.changes.close()


def open_engine(settings: EngineSettings, workspace: Workspace) -> Engine:
    """Open the engine of a data set.

    Raises:
        EventStoreError: it cannot be used.
    """
    folder = settings.folder or workspace.events
    return Engine(
        events=SqliteEventStore(folder / EVENTS_FILE), changes=SqliteChanges(folder / CHANGES_FILE)
    )
