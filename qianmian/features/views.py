"""The feature views of one data set: which function computes each, from one set of inputs.

This is the single place where a view's name meets its function. Snapshots call it; so does the
stream, with the events of the users at hand in place of everybody's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import pyarrow as pa

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts.events import EventType
from qianmian.data.schemas import EARLIEST
from qianmian.data.spec import DatasetSpec, TagColumns
from qianmian.data.store import Dataset
from qianmian.errors import NotFoundError
from qianmian.features.attributes import (
    VENUE_KINDS,
    Kind,
    attributes,
    item_profile,
    venue_profile,
)
from qianmian.features.event_log import EventLog
from qianmian.features.item_statistics import ITEM_STATISTICS_TYPES, item_statistics
from qianmian.features.schema import FeatureSchema, check_names, item_kinds
from qianmian.features.user_activity import user_activity
from qianmian.features.user_affinity import AffinityIndex, user_affinity
from qianmian.features.user_exposure import user_exposure
from qianmian.features.user_ledger import user_ledger
from qianmian.features.user_sequence import user_sequence
from qianmian.features.user_tags import Thresholds, user_tags

#: The columns of the events that features are made of; all but the first four may be absent.
EVENT_COLUMNS = (
    c.USER_ID,
    c.ITEM_ID,
    c.EVENT_TYPE,
    c.TIMESTAMP,
    c.QUANTITY,
    c.VALUE,
    c.LIST_VALUE,
    c.SESSION_ID,
    c.ORDER_ID,
)


@dataclass(frozen=True)
class FeatureInputs:
    """All that features are computed from. Tables are typed as the schema says."""

    schema: FeatureSchema
    log: EventLog
    users: pa.Table | None = None
    items: pa.Table | None = None
    venues: pa.Table | None = None
    pools: pd.DataFrame | None = None

    @classmethod
    def read(cls, dataset: Dataset, thresholds: Thresholds | None = None) -> FeatureInputs:
        """Read a data set's training events and attributes, and derive its schema.

        Thresholds that are not given are taken as of the end of training. Raises `DataError` when
        a declared column is named as a derived feature.
        """
        spec = dataset.spec
        present = set(dataset.event_columns())
        events = dataset.train_events([n for n in EVENT_COLUMNS if n in present])
        log = EventLog.build(events, target=EventType(spec.target), time_zone=spec.time_zone)
        del events
        users, items, venues = dataset.users(), dataset.items(), dataset.venues()
        thresholds = thresholds or Thresholds.of(log, spec.split.train_end.timestamp())
        schema = _schema(spec, items, thresholds, has_venues=venues is not None)
        return cls(
            schema=schema,
            log=log,
            **_attributes(schema, users, items),
            venues=None if venues is None else attributes(venues, c.VENUE_ID, VENUE_KINDS),
            pools=dataset.venue_items(),
        )

    @classmethod
    def of_stream(cls, dataset: Dataset, schema: FeatureSchema) -> FeatureInputs:
        """Read the attributes of users and items for a schema that was built; the log is empty."""
        nothing = EventLog.build(
            dataset.events(list(EVENT_COLUMNS[:4]), until=EARLIEST),
            target=EventType(dataset.spec.target),
            time_zone=dataset.spec.time_zone,
        )
        return cls(
            schema=schema,
            log=nothing,
            **_attributes(schema, dataset.users(), dataset.items()),
        )

    @cached_property
    def affinity(self) -> AffinityIndex:
        """Target actions joined with the affinity columns."""
        items = self.items if self.items is not None else pa.table({c.ITEM_ID: pa.array([], "str")})
        return AffinityIndex.build(self.log, items, self.schema.affinity_columns)

    def compute(self, view: str, as_of: float) -> pa.Table:
        """Rows of a view that changes with time, as of `as_of` (epoch seconds).

        Raises `NotFoundError` for a view that the data set lacks or that does not change.
        """
        schema, log = self.schema, self.log
        views: dict[str, Callable[[], pa.Table]] = {
            f.USER_TAGS: lambda: user_tags(
                log, self.users, schema.user_types, schema.thresholds, as_of
            ),
            f.USER_ACTIVITY: lambda: user_activity(log, as_of),
            f.USER_SEQUENCE: lambda: user_sequence(log, as_of),
            f.USER_LEDGER: lambda: user_ledger(log, as_of),
            f.USER_AFFINITY: lambda: user_affinity(self.affinity, as_of),
            f.USER_EXPOSURE: lambda: user_exposure(log, as_of),
            f.ITEM_STATISTICS: lambda: item_statistics(log, as_of),
        }
        if view not in views or view not in schema.views:
            raise NotFoundError("view that changes with time", view, schema.views)
        return views[view]()

    def timeless(self, view: str) -> tuple[pa.Table, pa.Array]:
        """Rows of a view that does not change, and since when each is known (epoch seconds).

        Raises `NotFoundError` for a view that the data set lacks or that changes.
        """
        if view == f.ITEM_PROFILE and self.items is not None:
            return item_profile(self.items)
        if view == f.VENUE_PROFILE and self.venues is not None:
            return venue_profile(self.venues, self.pools)
        raise NotFoundError("view that does not change", view, self.schema.views)


def _attributes(
    schema: FeatureSchema, users: pd.DataFrame | None, items: pd.DataFrame | None
) -> dict[str, pa.Table | None]:
    return {
        "users": None if users is None else attributes(users, c.USER_ID, schema.user_columns),
        "items": None if items is None else attributes(items, c.ITEM_ID, schema.item_columns),
    }


def _schema(
    spec: DatasetSpec, items: pd.DataFrame | None, thresholds: Thresholds, *, has_venues: bool
) -> FeatureSchema:
    user_columns = _kinds(spec.users)
    check_names(c.USERS_FILE, user_columns, dict.fromkeys(f.DERIVED_TAGS))
    item_columns: dict[str, Kind] = {}
    if items is not None:
        item_columns = item_kinds(_kinds(spec.items), list(items.columns))
        check_names(c.ITEMS_FILE, item_columns, ITEM_STATISTICS_TYPES)
    return FeatureSchema(
        dataset=spec.name,
        target=spec.target.value,
        user_columns=user_columns,
        item_columns=item_columns,
        affinity_columns=spec.items.affinity if items is not None else (),
        has_venues=has_venues,
        mean_price_quartiles=thresholds.mean_price,
        discount_share_terciles=thresholds.discount_share,
    )


def _kinds(columns: TagColumns) -> dict[str, Kind]:
    return {
        **dict.fromkeys(columns.categorical, Kind.CATEGORICAL),
        **dict.fromkeys(columns.numeric, Kind.NUMERIC),
        **dict.fromkeys(columns.multi, Kind.MULTI),
    }
