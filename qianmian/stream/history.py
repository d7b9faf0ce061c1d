"""All events that features are made of, in memory, by subject and by item.

The stream starts with what was imported and archived, as a few large sorted runs, and adds what
arrives. `of_subjects` and `of_items` give rows in the data contract's columns, as
`EventLog.build` takes them.

New events wait as they are until there are enough of them to make a run; runs of like size are
merged, so that a look-up asks few of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qianmian.contracts import columns as c
from qianmian.events.event import StoredEvent, counts
from qianmian.events.rows import contract_rows
from qianmian.features.segments import Int32
from qianmian.features.views import EVENT_COLUMNS

#: Events that wait before they become a run.
TAIL: Final = 8192
#: A run is merged with the one before it when that is at most so many times as long.
LIKE_SIZE: Final = 2

_EMPTY: Final = contract_rows([], EVENT_COLUMNS)


class History:
    """Events by subject and by item. One thread at a time."""

    def __init__(self, rows: pa.Table | None = None) -> None:
        """Begin with events of before; of EVENT_COLUMNS, the first four must be there."""
        self._runs = [] if rows is None or not len(rows) else [_Run(_complete(rows))]
        self._begin_tail()

    def __len__(self) -> int:
        return sum(len(run.rows) for run in self._runs) + len(self._tail)

    def add(self, events: Sequence[StoredEvent]) -> None:
        """Take in events, those left out that features do not count."""
        for event in events:
            if not counts(event):
                continue
            assert event.item_id is not None  # noqa: S101 - so it counts
            place = len(self._tail)
            self._tail.append(event)
            self._tail_subjects[event.subject_id].append(place)
            self._tail_items[event.item_id].append(place)
        if len(self._tail) >= TAIL:
            self._runs.append(_Run(contract_rows(self._tail, EVENT_COLUMNS)))
            self._begin_tail()
            self._merge()

    def of_subjects(self, subject_ids: Iterable[str]) -> pa.Table:
        """All events of some subjects."""
        wanted = list(subject_ids)
        parts = [run.rows.take(run.subjects.places(wanted)) for run in self._runs]
        return self._joined(parts, self._tail_subjects, wanted)

    def of_items(self, item_ids: Iterable[str]) -> pa.Table:
        """All events on some items."""
        wanted = list(item_ids)
        parts = [run.rows.take(run.items.places(wanted)) for run in self._runs]
        return self._joined(parts, self._tail_items, wanted)

    def count_of_item(self, item_id: str) -> int:
        """How many events there are on an item."""
        counts = (run.items.count(item_id) for run in self._runs)
        return sum(counts) + len(self._tail_items.get(item_id, ()))

    def forget(self, subject_ids: Iterable[str]) -> None:
        """Drop every event of some subjects."""
        gone = set(subject_ids)
        self._runs = [run.without(gone) for run in self._runs]
        kept = [event for event in self._tail if event.subject_id not in gone]
        self._begin_tail()
        self.add(kept)

    def _joined(
        self, parts: list[pa.Table], tail: dict[str, list[int]], wanted: Sequence[str]
    ) -> pa.Table:
        events = [self._tail[place] for one in wanted for place in tail.get(one, ())]
        if events:
            parts.append(contract_rows(events, EVENT_COLUMNS))
        return pa.concat_tables([_plain(part) for part in parts]) if parts else _EMPTY

    def _begin_tail(self) -> None:
        self._tail: list[StoredEvent] = []
        self._tail_subjects: dict[str, list[int]] = defaultdict(list)
        self._tail_items: dict[str, list[int]] = defaultdict(list)

    def _merge(self) -> None:
        while len(self._runs) > 1:
            before, last = self._runs[-2:]
            if len(before.rows) > LIKE_SIZE * len(last.rows):
                return
            rows = pa.concat_tables([before.rows, last.rows]).unify_dictionaries()
            self._runs[-2:] = [_Run(rows)]


class _Run:
    """A table with both of its indices."""

    def __init__(self, rows: pa.Table) -> None:
        for place, name in enumerate(rows.column_names):
            column = rows[name]
            if pa.types.is_dictionary(column.type):  # of any width of codes: runs must be alike
                column = column.cast(column.type.value_type)
            if pa.types.is_string(column.type):
                rows = rows.set_column(place, name, column.dictionary_encode())
        self.rows = rows.unify_dictionaries().combine_chunks()
        self.subjects = _Index(self.rows[c.USER_ID])
        self.items = _Index(self.rows[c.ITEM_ID])

    def without(self, subject_ids: set[str]) -> _Run:
        places = self.subjects.places(list(subject_ids)).to_numpy()
        if not len(places):
            return self
        kept = np.ones(len(self.rows), dtype=np.bool_)
        kept[places] = False
        decoded = _plain(self.rows.filter(pa.array(kept)))  # so that no dictionary keeps a name
        return _Run(decoded)


class _Index:
    """Which rows hold each text of a column."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        encoded = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        self._code = {text: code for code, text in enumerate(encoded.dictionary.to_pylist())}
        self._order: Int32 = np.argsort(codes, kind="stable").astype(np.int32)
        counts = np.bincount(codes, minlength=len(self._code))
        self._start: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts)])

    def places(self, texts: Sequence[str]) -> pa.Array:
        parts = [
            self._order[self._start[code] : self._start[code + 1]]
            for text in texts
            if (code := self._code.get(text)) is not None
        ]
        return pa.array(np.concatenate(parts) if parts else self._order[:0])

    def count(self, text: str) -> int:
        code = self._code.get(text)
        return 0 if code is None else int(self._start[code + 1] - self._start[code])


def _complete(rows: pa.Table) -> pa.Table:
    """The columns of features in their order, null where absent; rows with a time and an item."""
    for name in EVENT_COLUMNS:
        if name not in rows.column_names:
            kind = _EMPTY.schema.field(name).type
            rows = rows.append_column(name, pa.nulls(len(rows), kind))
    rows = rows.select(EVENT_COLUMNS).replace_schema_metadata(None)
    for place, field in enumerate(_EMPTY.schema):
        kind = rows.schema.field(place).type
        if pa.types.is_dictionary(kind) and kind.value_type != field.type:  # of nulls alone
            column = rows[field.name].cast(kind.value_type).cast(field.type)
            rows = rows.set_column(place, field.name, column)
    return rows.filter(pc.and_(pc.is_valid(rows[c.TIMESTAMP]), pc.is_valid(rows[c.ITEM_ID])))


def _plain(rows: pa.Table) -> pa.Table:
    """Text in place of dictionaries, which differ from run to run."""
    return rows.cast(_EMPTY.schema)
