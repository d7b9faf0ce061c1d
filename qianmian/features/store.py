"""The feature store of one data set: training reads its history, serving its newest rows.

Every read and write of features goes through Feast, by view and field name. `FeatureRepo` is the
door: point-in-time rows for training, one user's row for a request, pushes of a stream, and filling
the online store from the newest snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from qianmian.contracts import features as f
from qianmian.errors import FieldError, NotFoundError
from qianmian.features.feast_store import open_store
from qianmian.features.historical import historical_features
from qianmian.features.materialize import Materialized, Progress, materialize
from qianmian.features.online import OnlineReader, OnlineWriter, Row
from qianmian.features.online_erase import erase_online
from qianmian.features.schema import (
    JOIN_KEYS,
    SERVICES,
    STREAMED_VIEWS,
    TIMELESS_VIEWS,
    FeatureSchema,
    entity_of,
)
from qianmian.features.snapshot_files import moments_of
from qianmian.workspace import FEATURE_REPO, Workspace

if TYPE_CHECKING:
    from feast import FeatureStore


@dataclass(frozen=True)
class FeatureRepo:
    """Feast, opened for one data set. Open it once a process: that takes seconds."""

    workspace: Workspace
    schema: FeatureSchema
    store: FeatureStore

    @classmethod
    def open(cls, workspace: Workspace, repo: Path = FEATURE_REPO) -> FeatureRepo:
        """Open the store of a data set, with Feast's definitions in the folder `repo`.

        Applies the definitions where they changed. Raises `FeatureStoreError` when the features
        were never built.
        """
        schema = FeatureSchema.load(workspace.features)
        return cls(workspace=workspace, schema=schema, store=open_store(workspace, repo))

    def schema_hash(self, service: str) -> str:
        """Hash of what a service's features are; a release is bound to it."""
        return self.schema.schema_hash(service)

    def service_features(self, service: str, entity: str) -> list[str]:
        """`view:field` of every feature of an entity in a service.

        Raises `NotFoundError` for an unknown service or entity.
        """
        if entity not in JOIN_KEYS:
            raise NotFoundError("entity", entity, JOIN_KEYS)
        views = [v for v in self.schema.service_views(service) if entity_of(v) == entity]
        return self._references(views)

    def historical(
        self,
        service: str,
        entity: str,
        rows: pd.DataFrame,
        views: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Features of a service as they were known at the time of each row.

        Args:
            service: name of a feature service.
            entity: user or item; `rows` holds its join key.
            rows: columns of the join key (text) and `event_timestamp` (aware). Ask for distinct
                pairs and gather: the lists of a row are long.
            views: only these of the service's views.

        Returns a frame in the order of `rows`: join key, `event_timestamp`, one column a field.
        Lists are NumPy arrays. What was not known then is None or NaN.
        """
        references = self.service_features(service, entity)
        if views is not None:
            known = {reference.partition(":")[0] for reference in references}
            if unknown := sorted(set(views) - known):
                raise NotFoundError(f"view of {entity} in service {service}", unknown[0], known)
            references = [r for r in references if r.partition(":")[0] in set(views)]
        for column in (JOIN_KEYS[entity], f.EVENT_TIMESTAMP):
            if column not in rows:
                raise FieldError("rows", list(rows.columns), f"a column {column}")
        if not len(rows):
            return self._nothing(entity, references)
        key = JOIN_KEYS[entity]
        table = historical_features(self.store, references, key, rows, self.moments())
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def online_user(self, user_id: str) -> Row | None:
        """The newest features of a user by field name, None where nothing is known.

        The user features of all services. Lists are Python lists.
        """
        return self.online_users([user_id])[0]

    def online_users(self, user_ids: Sequence[str]) -> list[Row | None]:
        """As `online_user`, for several users in the order of `user_ids`."""
        return self._users.read(user_ids)

    def erase_users(self, user_ids: Sequence[str]) -> int:
        """Remove users from the online store, every byte; returns how many rows there were.

        Raises:
            FeatureStoreError: the online store is of a kind that nothing can be removed from.
            sqlite3.OperationalError: others were in the way for too long; try again.
        """
        views = [view for view in self.schema.views if entity_of(view) == f.USER]
        return erase_online(self.store, views, JOIN_KEYS[f.USER], user_ids)

    def online_item(self, item_id: str) -> Row | None:
        """The newest features of an item by field name, None where nothing is known.

        For people who look at one item. Ranking reads the resident item table instead.
        """
        return self._items.read([item_id])[0]

    def push(self, view: str, rows: pa.Table) -> None:
        """Write new rows of a streamed view to the online store; many at a time.

        `rows` holds the join key, `event_timestamp` and every field of the view. The newest write
        of an entity stands.

        Raises `NotFoundError` for a view that is not streamed, `OnlineStoreError` while a Redis
        cannot be written.
        """
        streamed = [name for name in STREAMED_VIEWS if name in self.schema.views]
        if view not in streamed:
            raise NotFoundError("streamed view", view, streamed)
        if len(rows):
            self._writer.write(view, JOIN_KEYS[entity_of(view)], rows)

    def materialize(self, at: float, progress: Progress | None = None) -> list[Materialized]:
        """Fill the online store with the newest snapshot of each view known at `at`.

        Epoch seconds. Views that hold that snapshot already are left as they are.

        Raises `FeatureStoreError` when a view has no snapshot that old.
        """
        return materialize(self.store, self.workspace, self.schema, at, progress)

    def moments(self) -> list[float]:
        """Times of the snapshots (epoch seconds), ascending."""
        changing = next(view for view in self.schema.views if view not in TIMELESS_VIEWS)
        return moments_of(self.workspace.features / changing)

    @cached_property
    def _writer(self) -> OnlineWriter:
        return OnlineWriter(self.store, self.schema.views)

    @cached_property
    def _users(self) -> OnlineReader:
        return self._reader(f.USER)

    @cached_property
    def _items(self) -> OnlineReader:
        return self._reader(f.ITEM)

    def _reader(self, entity: str) -> OnlineReader:
        """Of all views of an entity that any service reads."""
        read = {view for service in SERVICES for view in self.schema.service_views(service)}
        views = {
            view: list(fields)
            for view, fields in self.schema.views.items()
            if view in read and entity_of(view) == entity
        }
        return OnlineReader(self.store, JOIN_KEYS[entity], views)

    def _references(self, views: Sequence[str]) -> list[str]:
        return [f"{view}:{name}" for view in views for name in self.schema.views[view]]

    def _nothing(self, entity: str, references: Sequence[str]) -> pd.DataFrame:
        types = {n: t for fields in self.schema.views.values() for n, t in fields.items()}
        names = [reference.partition(":")[2] for reference in references]
        empty = {
            JOIN_KEYS[entity]: pa.array([], pa.string()),
            f.EVENT_TIMESTAMP: pa.array([], pa.timestamp("us", tz="UTC")),
            **{name: pa.array([], types[name].arrow) for name in names},
        }
        frame: pd.DataFrame = pa.table(empty).to_pandas()
        return frame
