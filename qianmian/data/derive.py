"""Complete a declared data set description from its tables.

Everything that an author left out has a rule: the target is the strongest goal among the events,
a column's reading follows its type, the split falls after nine tenths of the events. What was
declared and does not fit the tables is a fault.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from qianmian.contracts import columns as c
from qianmian.contracts.events import TARGET_ORDER, EventType
from qianmian.data.faults import Fault
from qianmian.data.spec import (
    DatasetSpec,
    DeclaredItemColumns,
    DeclaredSpec,
    ItemColumns,
    Split,
    TagColumns,
)
from qianmian.data.tables import Tables

TRAIN_SHARE = 0.9
#: Text columns with more distinct values than this, and than half of the rows, are prose or ids
#: rather than categories.
MOST_CATEGORIES = 1000
AFFINITY_COLUMNS = (c.CATEGORY, c.BRAND)

_NOT_TAGS = {c.USER_ID, c.ITEM_ID, c.TITLE, c.CREATED_AT}
_SECOND = timedelta(seconds=1)


def declaration_faults(declared: DeclaredSpec, tables: dict[str, pa.Table]) -> Iterator[Fault]:
    """Yield what `dataset.yaml` declares and the tables do not hold."""
    yield from _column_faults("users", declared.users, tables.get(c.USERS_FILE))
    yield from _column_faults("items", declared.items, tables.get(c.ITEMS_FILE))
    events = tables.get(c.EVENTS_FILE)
    if events is None:
        return
    if declared.split and declared.split.by == "column" and c.SPLIT not in events.column_names:
        problem, remedy = "the events have no column 'split'", "add it, or split by time"
        yield Fault(c.DATASET_FILE, "split.by", 0, problem, "", remedy)
    if declared.target and c.EVENT_TYPE in events.column_names:
        present = set(pc.unique(events[c.EVENT_TYPE]).to_pylist())
        if declared.target not in present:
            problem = f"no event is of this type: {declared.target.value!r}"
            remedy = f"choose one of {', '.join(sorted(map(str, present)))}, or leave it out"
            yield Fault(c.DATASET_FILE, "target", 0, problem, "", remedy)


def _column_faults(key: str, declared: TagColumns, table: pa.Table | None) -> Iterator[Fault]:
    names = table.column_names if table is not None else []
    lists = declared.model_dump()
    for kind, columns in lists.items():
        for name in columns or ():
            path = f"{key}.{kind}"
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                remedy = f"did you mean {close[0]!r}?" if close else "drop it from the list"
                problem = f"{key}.parquet has no column {name!r}"
                yield Fault(c.DATASET_FILE, path, 0, problem, "", remedy)
            elif table is not None and not _readable_as(kind, table.schema.field(name).type):
                problem = f"{name!r} cannot be read so: it holds {table.schema.field(name).type}"
                remedy = f"name it under {key}.{_kind_of(table, name)}"
                yield Fault(c.DATASET_FILE, path, 0, problem, "", remedy)


def _readable_as(kind: str, found: pa.DataType) -> bool:
    fits = {
        "categorical": not pa.types.is_nested(found),
        "affinity": not pa.types.is_nested(found),
        "numeric": _is_number(found) or pa.types.is_boolean(found),
        "multi": pa.types.is_list(found) and not pa.types.is_nested(found.value_type),
    }
    return bool(fits.get(kind, True))


def _is_number(found: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(test(found) for test in tests)


def _kind_of(table: pa.Table, name: str) -> str:
    """Say how a column is read when nobody says otherwise, by its type."""
    found = table.schema.field(name).type
    if pa.types.is_list(found):
        return "ignored" if pa.types.is_nested(found.value_type) else "multi"
    if pa.types.is_boolean(found):
        return "categorical"
    if _is_number(found):
        return "numeric"
    if pa.types.is_string(found):
        distinct = pc.count_distinct(table[name]).as_py()
        prose = distinct > max(MOST_CATEGORIES, table.num_rows / 2)
        return "ignored" if prose else "categorical"
    return "ignored"


def derive_spec(declared: DeclaredSpec, tables: Tables, name: str) -> DatasetSpec:
    """Return the complete description of sound tables, called `name`.

    The events must have their times and hold at least one action (see `checks`).
    """
    items = _item_columns(declared.items, tables.items)
    return DatasetSpec(
        name=name,
        title=declared.title or name,
        source=declared.source or "not stated",
        licence=declared.licence or "not stated",
        time_zone=declared.time_zone,
        currency=declared.currency or _currency(tables.events),
        target=declared.target or strongest_goal(tables.events),
        users=_tag_columns(declared.users, tables.users),
        items=items,
        split=derive_split(declared, tables.events),
    )


def _tag_columns(declared: TagColumns, table: pa.Table | None) -> TagColumns:
    kinds: dict[str, list[str]] = {
        kind: list(getattr(declared, kind)) for kind in TagColumns.model_fields
    }
    named = {column for columns in kinds.values() for column in columns}
    for column in table.column_names if table is not None else ():
        if column not in named | _NOT_TAGS:
            kinds[_kind_of(table, column)].append(column)
    return TagColumns(**{kind: tuple(columns) for kind, columns in kinds.items()})


def _item_columns(declared: DeclaredItemColumns, table: pa.Table | None) -> ItemColumns:
    tags = _tag_columns(declared, table)
    affinity = declared.affinity
    if affinity is None:
        affinity = tuple(column for column in AFFINITY_COLUMNS if column in tags.categorical)
    return ItemColumns(**tags.model_dump(), affinity=affinity)


def strongest_goal(events: pa.Table) -> EventType:
    """Return the strongest goal among the events."""
    present = set(pc.unique(events[c.EVENT_TYPE]).to_pylist())
    return next(goal for goal in TARGET_ORDER if goal in present)


def _currency(events: pa.Table) -> str | None:
    if c.CURRENCY not in events.column_names:
        return None
    found: list[str] = pc.drop_null(pc.unique(events[c.CURRENCY])).to_pylist()
    return found[0] if found else None


def derive_split(declared: DeclaredSpec, events: pa.Table) -> Split:
    """Return the split: declared, else by the `split` column, else by time."""
    end = _whole_second(pc.max(events[c.TIMESTAMP]).as_py()) + _SECOND
    said = declared.split
    if said is not None and said.by == "time" and said.train_end is not None:
        return Split(train_end=said.train_end, test_end=said.test_end or end)
    if c.SPLIT in events.column_names:
        return _split_by_column(events, end)
    ordered = events[c.TIMESTAMP].sort()
    first_of_test = ordered[min(math.floor(TRAIN_SHARE * len(ordered)), len(ordered) - 1)].as_py()
    train_end = _whole_second(first_of_test)
    if train_end <= ordered[0].as_py():  # most events share the first second
        train_end = first_of_test
    return Split(train_end=train_end, test_end=end)


def _split_by_column(events: pa.Table, end: datetime) -> Split:
    is_test = pc.equal(events[c.SPLIT], "test")
    first_test = pc.min(events.filter(is_test)[c.TIMESTAMP]).as_py()
    last_train = pc.max(events.filter(pc.invert(is_test))[c.TIMESTAMP]).as_py()
    if last_train < first_test:
        return Split(train_end=first_test, test_end=end)
    train_end = _whole_second(last_train) + _SECOND
    return Split(by="column", train_end=train_end, test_end=max(end, train_end + _SECOND))


def _whole_second(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)
