"""Read an imported data set: the first thing that features, training and evaluation open.

Ids, event types and other text of the events come as pandas categoricals: 1.5 million events take
about a third of what Arrow-backed strings take, and grouping works on integer codes. Categories
that a filter emptied are removed; group with `observed=True`. The small tables hold plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qianmian.config import load_yaml
from qianmian.contracts import columns as c
from qianmian.data.spec import DatasetSpec
from qianmian.errors import DataError, FieldError, NotFoundError
from qianmian.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Dataset:
    """The imported data set of a workspace."""

    folder: Path
    spec: DatasetSpec

    @classmethod
    def open(cls, workspace: Workspace) -> Dataset:
        """Open the data set of a workspace.

        Raises `NotFoundError` when it was never imported and `DataError` when files are gone.
        """
        if not (workspace.data / c.IMPORT_FILE).is_file():
            known = workspace.datasets(workspace.root)
            remedy = f"run `qianmian data import SOURCE --name {workspace.dataset}`"
            raise NotFoundError("data set", workspace.dataset, known, remedy)
        for file in (c.DATASET_FILE, c.EVENTS_FILE):
            if not (workspace.data / file).is_file():
                raise DataError(f"{workspace.data / file}: missing; import the data set again")
        spec = load_yaml(workspace.data / c.DATASET_FILE, DatasetSpec)
        return cls(workspace.data, spec)

    def events(
        self,
        columns: Sequence[str] | None = None,
        until: datetime | float | None = None,
        since: datetime | float | None = None,
    ) -> pd.DataFrame:
        """Return the events of `[since, until)`, sorted by time.

        `columns` limits what is read; those that the data set lacks are refused with
        `DataError`. Moments are aware datetimes or seconds since the epoch. `timestamp` is
        datetime64[us, UTC], text columns are categoricals, numbers are NumPy's.
        """
        file = pq.ParquetFile(self.folder / c.EVENTS_FILE)
        names = self._names(file, columns)
        text = [n for n in names if pa.types.is_string(file.schema_arrow.field(n).type)]
        conditions = []
        if since is not None:
            conditions.append(pc.field(c.TIMESTAMP) >= _moment("since", since))
        if until is not None:
            conditions.append(pc.field(c.TIMESTAMP) < _moment("until", until))
        condition = conditions[0] if conditions else None
        for further in conditions[1:]:
            condition &= further
        table = pq.read_table(
            self.folder / c.EVENTS_FILE, columns=names, filters=condition, read_dictionary=text
        )
        frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
        for name in text:
            frame[name] = frame[name].cat.remove_unused_categories()
        return frame

    def train_events(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the events that training may see, sorted by time."""
        if self.spec.split.by == "time":
            return self.events(columns, until=self.spec.split.train_end)
        return self._by_split_column(("train", "valid"), columns)

    def test_events(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the events that evaluation is judged on, sorted by time."""
        if self.spec.split.by == "time":
            split = self.spec.split
            return self.events(columns, since=split.train_end, until=split.test_end)
        return self._by_split_column(("test",), columns)

    def event_columns(self) -> list[str]:
        """Return the names of the events' columns, without reading them."""
        return list(pq.read_schema(self.folder / c.EVENTS_FILE).names)

    def users(self) -> pd.DataFrame | None:
        """Return one row for each user with tags: `user_id` and the columns of the spec."""
        return self._table(c.USERS_FILE)

    def items(self) -> pd.DataFrame | None:
        """Return one row for each item that is described; events may hold further items."""
        return self._table(c.ITEMS_FILE)

    def item_ids(self) -> frozenset[str]:
        """Return the ids of all items that are described, stand in a pool, or have an event."""
        ids = set(map(str, self.events([c.ITEM_ID])[c.ITEM_ID].cat.categories))
        for table in (self.items(), self.venue_items()):
            if table is not None:
                ids.update(map(str, table[c.ITEM_ID]))
        return frozenset(ids)

    def venues(self) -> pd.DataFrame | None:
        """Return one row for each venue: id, name, kind, starts_at and ends_at (UTC, or NaT)."""
        return self._table(c.VENUES_FILE)

    def venue_items(self) -> pd.DataFrame | None:
        """Return the pools: one row for each venue and item it may show."""
        return self._table(c.VENUE_ITEMS_FILE)

    def _by_split_column(
        self, splits: tuple[str, ...], columns: Sequence[str] | None
    ) -> pd.DataFrame:
        wanted = list(columns) if columns is not None else self.event_columns()
        events = self.events([*wanted, *({c.SPLIT} - set(wanted))])
        kept = events[events[c.SPLIT].isin(splits)]
        kept = kept.reset_index(drop=True)[wanted]
        for name in kept.select_dtypes("category"):
            kept[name] = kept[name].cat.remove_unused_categories()
        return kept

    def _names(self, file: pq.ParquetFile, columns: Sequence[str] | None) -> list[str]:
        known: list[str] = file.schema_arrow.names
        if columns is None:
            return known
        if missing := sorted(set(columns) - set(known)):
            raise DataError(
                f"{c.EVENTS_FILE}: data set {self.spec.name!r} has no column "
                f"{', '.join(missing)}; it has {', '.join(known)}"
            )
        return list(columns)

    def _table(self, name: str) -> pd.DataFrame | None:
        path = self.folder / name
        if not path.is_file():
            return None
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
        return frame


def _moment(field: str, value: datetime | float) -> pa.Scalar:
    """Give a moment the type of the stored column, rounding seconds to microseconds."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise FieldError(field, value, "a moment with a time zone", "pass tzinfo=UTC")
        moment = value.astimezone(UTC)
    else:
        moment = datetime.fromtimestamp(np.float64(value).item(), tz=UTC)
    return pa.scalar(moment, type=pa.timestamp("us", tz="UTC"))
