"""The engine that replicas and the stream talk through, chosen by configuration.

`args.engine` of `configs/serving/serve.yaml` names it: SQLite for one machine, Redis for more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field

from qianmian.config import ConfigModel
from qianmian.errors import ConfigError
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


class RedisEngine(ConfigModel):
    """A Redis of version 6.2 or newer that syncs its append-only file before it answers."""

    kind: Literal["redis"]
    url: str
    """`redis://HOST:PORT/DB`, `rediss://...` or `unix:///PATH`."""


EngineSettings = Annotated[SqliteEngine | RedisEngine, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Engine:
    """The event log and the topics of one data set."""

    events: EventStore
    changes: Changes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections of both."""
        self.events.close()
        self.changes.close()


def open_engine(settings: EngineSettings, workspace: Workspace) -> Engine:
    """Open the engine of a data set.

    Raises:
        EventStoreError: it cannot be used.
        ConfigError: it is Redis, and the client for it is not installed.
    """
    if isinstance(settings, RedisEngine):
        return _open_redis(settings, workspace.dataset)
    folder = settings.folder or workspace.events
    return Engine(
        events=SqliteEventStore(folder / EVENTS_FILE), changes=SqliteChanges(folder / CHANGES_FILE)
    )


def _open_redis(settings: RedisEngine, dataset: str) -> Engine:
    try:  # an optional extra: only who chose Redis needs its client
        from qianmian.events.redis_changes import RedisChanges  # noqa: PLC0415
        from qianmian.events.redis_link import RedisLink  # noqa: PLC0415
        from qianmian.events.redis_store import RedisEventStore  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            "engine.kind='redis': its client is not installed; run `pip install qianmian[redis]`"
        ) from error
    link = RedisLink(settings.url, dataset)
    return Engine(events=RedisEventStore(link), changes=RedisChanges(link))
