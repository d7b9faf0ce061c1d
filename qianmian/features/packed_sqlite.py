"""A Feast online store on SQLite that keeps one row for each entity and view.

Feast's own SQLite store keeps one row for each single value: 2.6 million rows and 430 MB for
Complete Journey, and 54 rows to read one user. Here the values of a view lie together as one
protobuf map, written in large batches and read at once. The file is in write-ahead mode, so that
readers of other processes go on while it is written.

Chosen in `feature_repo/feature_store.yaml`; with `type: sqlite`, or Redis, the same rows come out.
Imported by Feast only.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from feast import Entity, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Map, Value
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import to_naive_utc

Written = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Read = tuple[datetime | None, dict[str, Value] | None]

#: Keys of one statement: SQLite takes at most 32,766 parameters.
KEYS_A_QUERY = 10_000

#: What the write-ahead log is cut back to after a large write.
JOURNAL_BYTES = 16 * 1024 * 1024

#: How long a writer waits for another, in seconds.
BUSY_SECONDS = 30.0


class PackedSqliteOnlineStoreConfig(FeastConfigBaseModel):
    """Where the file lies."""

    type: Literal["qianmian.features.packed_sqlite.PackedSqliteOnlineStore"] = (
        "qianmian.features.packed_sqlite.PackedSqliteOnlineStore"
    )
    path: str


class PackedSqliteOnlineStore(OnlineStore):
    """One table a view: entity key, moment of the features, values by name.

    A connection belongs to the thread that opened it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._local = threading.local()

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Written],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Replace the rows of the entities in `data`, in one transaction."""
        with self._connection(config) as connection:
            connection.executemany(
                f"INSERT OR REPLACE INTO {_name(config, table)} VALUES (?, ?, ?)",  # noqa: S608
                _packed(config, data),
            )
        if progress is not None:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,  # noqa: ARG002  # all of a row come at once
    ) -> list[Read]:
        """The rows of `entity_keys` in their order; (None, None) where there is none."""
        keys = [_key(config, entity_key) for entity_key in entity_keys]
        found: dict[bytes, tuple[int, bytes]] = {}
        connection = self._connection(config)
        for start in range(0, len(keys), KEYS_A_QUERY):
            part = keys[start : start + KEYS_A_QUERY]
            marks = ",".join("?" * len(part))
            rows = connection.execute(
                "SELECT entity_key, event_seconds, row "  # noqa: S608
                f"FROM {_name(config, table)} WHERE entity_key IN ({marks})",
                part,
            )
            found.update((key, (seconds, row)) for key, seconds, row in rows)
        return [_unpacked(found.get(key)) for key in keys]

    def erase(
        self, config: RepoConfig, tables: Sequence[FeatureView], entity_keys: Sequence[EntityKey]
    ) -> int:
        """Remove the rows of entities, and every byte of them: the file is written anew.

        Returns how many rows there were. Raises `sqlite3.OperationalError` when others are in the
        way for too long.
        """
        keys = [(_key(config, entity_key),) for entity_key in entity_keys]
        connection = self._connection(config)
        removed = 0
        with connection:
            for table in tables:
                removed += connection.executemany(
                    f"DELETE FROM {_name(config, table)} WHERE entity_key = ?",  # noqa: S608
                    keys,
                ).rowcount
        connection.execute("VACUUM")
        (blocked, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if blocked:
            raise sqlite3.OperationalError("the write-ahead log is in use; try again")
        return removed

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],  # noqa: ARG002
        entities_to_keep: Sequence[Entity],  # noqa: ARG002
        partial: bool,  # noqa: ARG002, FBT001
    ) -> None:
        """Drop and create tables."""
        with self._connection(config) as connection:
            for table in tables_to_delete:
                connection.execute(f"DROP TABLE IF EXISTS {_name(config, table)}")
            for table in tables_to_keep:
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {_name(config, table)} "
                    "(entity_key BLOB PRIMARY KEY, event_seconds INTEGER, row BLOB)"
                )

    def teardown(
        self,
        config: RepoConfig,
        tables: Sequence[FeatureView],
        entities: Sequence[Entity],
    ) -> None:
        """Drop all tables."""
        self.update(config, tables, [], entities, [], partial=False)

    def _connection(self, config: RepoConfig) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            path = Path(config.online_store.path)
            if not path.is_absolute() and config.repo_path is not None:
                path = config.repo_path / path
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA secure_delete = ON")  # an old row leaves no bytes behind
            connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
            self._local.connection = connection
        return connection


def _name(config: RepoConfig, table: FeatureView) -> str:
    """Quoted name of a view's table."""
    versioned = config.registry.enable_online_feature_view_versioning
    name: str = compute_table_id(config.project, table, versioned)
    return '"' + name.replace('"', '""') + '"'


def _key(config: RepoConfig, entity_key: EntityKey) -> bytes:
    version = config.entity_key_serialization_version
    return bytes(serialize_entity_key(entity_key, entity_key_serialization_version=version))


def _packed(config: RepoConfig, data: list[Written]) -> Iterator[tuple[bytes, int, bytes]]:
    for entity_key, values, moment, _ in data:
        seconds = int(to_naive_utc(moment).replace(tzinfo=UTC).timestamp())
        yield _key(config, entity_key), seconds, Map(val=values).SerializeToString()


def _unpacked(stored: tuple[int, bytes] | None) -> Read:
    if stored is None:
        return None, None
    seconds, row = stored
    return datetime.fromtimestamp(seconds, tz=UTC), dict(Map.FromString(row).val)
