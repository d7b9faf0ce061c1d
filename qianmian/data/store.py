"""Read an imported data set: the first thing that features, training and evaluation open.

Ids, event types and other text of the events come as pandas categoricals: 1.5 million events take
about a third of what Arrow-backed strings take, and grouping works on integer codes. Categories
that a filter emptied are removed; group with `observed=True`. The small tables hold plain text.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qianmian.config import load_yaml
from qianmian.contracts import columns as c
from qianmian.data.archive import Archive
from qianmian.data.record import record_in
from qianmian.data.spec import DatasetSpec, Split
from qianmian.errors import DataError, FieldError, NotFoundError
from qianmian.trust.flags import NOTHING_UNTRUSTED, TRUST_COLUMNS, Untrusted, untrusted
from qianmian.trust.rules import TrustRules, load_rules
from qianmian.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The imported data set of a workspace."""

    folder: Path
    spec: DatasetSpec
    archive: Archive

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
        if workspace.split_file.is_file():
            split = load_yaml(workspace.split_file, Split)
            spec = spec.model_copy(update={"split": split})
        return cls(workspace.data, spec, Archive(workspace.archive))

    def since_import(self) -> str:
        """Return what changes when training comes to see other data than was imported.

        Empty as long as no event of the training period was archived and the split was not moved.
        """
        split, manifest = self.spec.split, self.archive.manifest()
        end = split.train_end.timestamp() if split.by == "time" else float("inf")
        imported = load_yaml(self.folder / c.DATASET_FILE, DatasetSpec).split
        moved = "" if split == imported else split.model_dump_json()
        logged = manifest.digest(end)
        return moved + (logged and logged + load_rules(self.spec.name).model_dump_json())

    def imputed_times(self) -> int:
        """Return how many imported events had no time, and were given one by their split.

        Raises `DataError` when the record of the import cannot be read.
        """
        return record_in(self.folder).summary.imputed_timestamps

    def untrusted(self) -> Untrusted:
        """Return the archived events that are implausible: `events` leaves them out.

        Imported events are never among them. The rules are those of `configs/trust/`.
        """
        digest = self.archive.manifest().digest(float("inf"))
        return _untrusted(self.archive, load_rules(self.spec.name), digest)

    def events(
        self,
        columns: Sequence[str] | None = None,
        until: datetime | float | None = None,
        since: datetime | float | None = None,
        *,
        merged: bool = True,
    ) -> pd.DataFrame:
        """Return the events of `[since, until)`, sorted by time: imported ones and archived ones.

        Implausible archived ones are left out (`untrusted`), and so are those that were imported,
        too, and those that wait for their item or venue to be known; those of merged visitors are
        their users', unless `merged` is False. `columns` limits what is read; those
        that the data set lacks are refused with `DataError`. Moments are aware datetimes or
        seconds since the epoch. `timestamp` is datetime64[us, UTC], text columns are
        categoricals, numbers are NumPy's.
        """
        file = pq.ParquetFile(self.folder / c.EVENTS_FILE)
        names = self._names(columns)
        first = None if since is None else _moment("since", since)
        end = None if until is None else _moment("until", until)
        present = [n for n in names if n in file.schema_arrow.names]
        archived = self._archived(names, first, end, merged=merged)
        if archived is None:
            table = self._imported(file, present, first, end)
        else:
            dated = list(dict.fromkeys([*present, c.TIMESTAMP]))
            table = _joined(self._imported(file, dated, first, end), archived, names)
        frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
        for name in frame.select_dtypes("category"):
            frame[name] = frame[name].cat.remove_unused_categories()
        return frame

    def train_events(
        self, columns: Sequence[str] | None = None, *, merged: bool = True
    ) -> pd.DataFrame:
        """Return the events that training may see, sorted by time; `merged` as of `events`."""
        if self.spec.split.by == "time":
            return self.events(columns, until=self.spec.split.train_end, merged=merged)
        return self._by_split_column(("train", "valid"), columns, merged=merged)

    def test_events(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the events that evaluation is judged on, sorted by time."""
        if self.spec.split.by == "time":
            split = self.spec.split
            return self.events(columns, since=split.train_end, until=split.test_end)
        return self._by_split_column(("test",), columns)

    def event_columns(self) -> list[str]:
        """Return the names of the events' columns, without reading them."""
        imported: list[str] = pq.read_schema(self.folder / c.EVENTS_FILE).names
        return list(dict.fromkeys([*imported, *self.archive.columns()]))

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
        self, splits: tuple[str, ...], columns: Sequence[str] | None, *, merged: bool = True
    ) -> pd.DataFrame:
        wanted = list(columns) if columns is not None else self.event_columns()
        events = self.events([*wanted, *({c.SPLIT} - set(wanted))], merged=merged)
        kept = events[events[c.SPLIT].isin(splits)]
        there = [name for name in wanted if name in kept]  # some are of archived events alone
        kept = kept.reset_index(drop=True)[there]
        for name in kept.select_dtypes("category"):
            kept[name] = kept[name].cat.remove_unused_categories()
        return kept

    def _names(self, columns: Sequence[str] | None) -> list[str]:
        known = self.event_columns()
        if columns is None:
            return known
        if missing := sorted(set(columns) - set(known)):
            raise DataError(
                f"{c.EVENTS_FILE}: data set {self.spec.name!r} has no column "
                f"{', '.join(missing)}; it has {', '.join(known)}"
            )
        return list(columns)

    def _imported(
        self,
        file: pq.ParquetFile,
        names: Sequence[str],
        since: pa.Scalar | None,
        until: pa.Scalar | None,
    ) -> pa.Table:
        text = [n for n in names if pa.types.is_string(file.schema_arrow.field(n).type)]
        conditions = []
        if since is not None:
            conditions.append(pc.field(c.TIMESTAMP) >= since)
        if until is not None:
            conditions.append(pc.field(c.TIMESTAMP) < until)
        condition = conditions[0] if conditions else None
        for further in conditions[1:]:
            condition &= further
        return pq.read_table(
            self.folder / c.EVENTS_FILE, columns=names, filters=condition, read_dictionary=text
        )

    def _archived(
        self,
        names: Sequence[str],
        since: pa.Scalar | None,
        until: pa.Scalar | None,
        *,
        merged: bool,
    ) -> pa.Table | None:
        """Archived events that count, None where there are none."""
        rows = self.archive.read(
            [*names, c.EVENT_ID], since=_seconds(since), until=_seconds(until), merged=merged
        )
        if rows is None:
            return None
        if doubted := self.untrusted().event_ids:
            rows = _without(rows, pa.array(sorted(doubted)))
        if len(doubled := self._doubled()):
            rows = _without(rows, doubled)
        waits = pc.is_valid(rows[c.QUARANTINE])
        if pc.any(waits).as_py():
            known = pc.is_in(rows[c.ITEM_ID], pa.array(sorted(self._described_items()), "str"))
            came = pc.and_(pc.equal(rows[c.QUARANTINE], c.UNKNOWN_ITEM), known)
            rows = rows.filter(pc.or_(pc.invert(waits), pc.fill_null(came, fill_value=False)))
        if c.SPLIT in names:
            rows = rows.append_column(c.SPLIT, pa.repeat("train", len(rows)))
        return rows if len(rows) else None

    def _doubled(self) -> pa.Array:
        """Ids of archived events that were imported, too."""
        imported = self.folder / c.EVENTS_FILE
        digest = self.archive.manifest().digest(float("inf"))
        return _doubled(self.archive, digest, imported, imported.stat().st_mtime_ns)

    def _described_items(self) -> set[str]:
        tables = [table for table in (self.items(), self.venue_items()) if table is not None]
        return {str(item) for table in tables for item in table[c.ITEM_ID]}

    def _table(self, name: str) -> pd.DataFrame | None:
        path = self.folder / name
        if not path.is_file():
            return None
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
        return frame


@lru_cache(maxsize=4)
def _untrusted(archive: Archive, rules: TrustRules, digest: str) -> Untrusted:
    """Judge a whole archive, once as long as it stays the same."""
    rows = archive.read(TRUST_COLUMNS) if digest else None
    return NOTHING_UNTRUSTED if rows is None else untrusted(rows.to_pandas(), rules)


@lru_cache(maxsize=4)
def _doubled(archive: Archive, digest: str, imported: Path, _written: int) -> pa.Array:
    """Look up which archived events were imported, once as long as both stay the same."""
    rows = archive.read([c.EVENT_ID], merged=False) if digest else None
    if rows is None or c.EVENT_ID not in pq.read_schema(imported).names:
        return pa.array([], pa.string())
    among = pc.field(c.EVENT_ID).isin(rows[c.EVENT_ID].combine_chunks())  # batch by batch
    ids = pq.read_table(imported, columns=[c.EVENT_ID], filters=among)[c.EVENT_ID]
    if len(ids):
        log.info("%d archived events were imported, too: they count once, as imported", len(ids))
    return ids.combine_chunks()


def _without(rows: pa.Table, event_ids: pa.Array) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows[c.EVENT_ID], event_ids)))


def _joined(imported: pa.Table, archived: pa.Table, names: Sequence[str]) -> pa.Table:
    """Both, by time, with the columns `names`; a column that one lacks is null there."""
    both = [imported, _in_dictionaries(archived)]
    columns = {}
    for name in dict.fromkeys([*names, c.TIMESTAMP]):
        kinds = [table[name].type for table in both if name in table.column_names]
        parts = [
            table[name].cast(kinds[0]) if name in table.column_names else _nulls(table, kinds[0])
            for table in both
        ]
        columns[name] = pa.chunked_array([chunk for part in parts for chunk in part.chunks])
    table = pa.table(columns).unify_dictionaries()
    at = table[c.TIMESTAMP].cast(pa.int64()).to_numpy()
    return table.select(names).take(pa.array(np.argsort(at, kind="stable")))


def _in_dictionaries(table: pa.Table) -> pa.Table:
    """As the imported events are read: text in dictionaries."""
    for place, name in enumerate(table.column_names):
        if pa.types.is_string(table[name].type):
            table = table.set_column(place, name, table[name].dictionary_encode())
    return table


def _nulls(table: pa.Table, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(len(table), kind)])


def _seconds(moment: pa.Scalar | None) -> float | None:
    return None if moment is None else moment.value / 1e6


def _moment(field: str, value: datetime | float) -> pa.Scalar:
    """Give a moment the type of the stored column, rounding seconds to microseconds."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise FieldError(field, value, "a moment with a time zone", "pass tzinfo=UTC")
        moment = value.astimezone(UTC)
    else:
        moment = datetime.fromtimestamp(np.float64(value).item(), tz=UTC)
    return pa.scalar(moment, type=pa.timestamp("us", tz="UTC"))
