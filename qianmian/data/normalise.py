"""Bring sound tables to the form in which they are stored: complete times, types by reading."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qianmian.contracts import columns as c
from qianmian.data.schemas import SPLITS
from qianmian.data.spec import DatasetSpec, TagColumns
from qianmian.data.tables import TIME, Tables

_MICROSECONDS = 1_000_000
#: Where the time line of a data set without any times begins.
EPOCH_OF_UNKNOWN_TIMES = datetime(2000, 1, 1, tzinfo=UTC)


def complete_times(events: pa.Table) -> tuple[pa.Table, int]:
    """Give every event a time, and say how many had none.

    Rows without a time stand in the order of the file, one second apart: from the first known
    time of their split on, else after the splits before it (train, valid, test).
    """
    unknown = events[c.TIMESTAMP].null_count
    if not unknown:
        return events, 0
    times = events[c.TIMESTAMP].cast(pa.int64()).fill_null(0).to_numpy()
    missing = pc.is_null(events[c.TIMESTAMP]).to_numpy()
    splits = np.asarray(events[c.SPLIT].to_pylist())
    known = times[~missing]
    cursor = int(EPOCH_OF_UNKNOWN_TIMES.timestamp()) * _MICROSECONDS
    if len(known):
        cursor = int(known.min()) - len(events) * _MICROSECONDS
    filled = np.array(times)
    for split in SPLITS:
        of_split = splits == split
        gaps = np.flatnonzero(of_split & missing)
        dated = of_split & ~missing
        start = int(filled[dated].min()) if dated.any() else cursor
        filled[gaps] = start + np.arange(len(gaps)) * _MICROSECONDS
        if of_split.any():
            cursor = max(cursor, int(filled[of_split].max()) + _MICROSECONDS)
    position = events.column_names.index(c.TIMESTAMP)
    return events.set_column(position, c.TIMESTAMP, pa.array(filled).cast(TIME)), int(unknown)


def normalise(tables: Tables, spec: DatasetSpec) -> Tables:
    """Sort events by time and give tag columns the type that their reading asks for."""
    return replace(
        tables,
        events=tables.events.sort_by(c.TIMESTAMP),
        users=None if tables.users is None else _typed(tables.users, spec.users),
        items=None if tables.items is None else _typed(tables.items, spec.items),
        venues=None if tables.venues is None else _complete_venues(tables.venues),
    )


def _typed(table: pa.Table, columns: TagColumns) -> pa.Table:
    types = {
        **dict.fromkeys(columns.categorical, pa.string()),
        **dict.fromkeys(columns.numeric, pa.float64()),
        **dict.fromkeys(columns.multi, pa.list_(pa.string())),
    }
    for position, name in enumerate(table.column_names):
        if name in types and table.schema.field(name).type != types[name]:
            column = table.column(position)
            if pa.types.is_boolean(column.type) and types[name] == pa.float64():
                column = column.cast(pa.int8())
            table = table.set_column(position, name, column.cast(types[name], safe=False))
    return table


def _complete_venues(venues: pa.Table) -> pa.Table:
    ids, count = venues[c.VENUE_ID], venues.num_rows
    for name, kind in ((c.KIND, pa.string()), (c.STARTS_AT, TIME), (c.ENDS_AT, TIME)):
        if name not in venues.column_names:
            venues = venues.append_column(name, pa.nulls(count, kind))
    if c.NAME not in venues.column_names:
        return venues.add_column(1, c.NAME, ids)
    position = venues.column_names.index(c.NAME)
    return venues.set_column(position, c.NAME, pc.coalesce(venues[c.NAME], ids))
