"""A data set in a few numbers: what `data check`, `data import` and `data list` show."""

from __future__ import annotations

from datetime import datetime

import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from qianmian.contracts import columns as c
from qianmian.contracts.events import EventType
from qianmian.data.spec import DatasetSpec
from qianmian.data.tables import Tables


class Summary(BaseModel):
    """Sizes, period and split of a data set; moments are UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    rows: dict[str, int]
    """Rows of each file."""
    users: int
    """Distinct users among the events."""
    items: int
    """Distinct items among the events."""
    events: dict[EventType, int]
    """Events of each type."""
    target: EventType
    first_event: datetime
    last_event: datetime
    train_end: datetime
    test_end: datetime
    train_events: int
    test_events: int
    imputed_timestamps: int
    """Events whose time was unknown and was set from their split."""


def summarise(tables: Tables, spec: DatasetSpec, imputed_timestamps: int) -> Summary:
    """Count the tables of a sound data set."""
    events = tables.events
    times = events[c.TIMESTAMP]
    if spec.split.by == "column":
        is_test = pc.equal(events[c.SPLIT], "test")
        is_train = pc.invert(is_test)
    else:
        is_train = pc.less(times, spec.split.train_end)
        is_test = pc.and_(pc.invert(is_train), pc.less(times, spec.split.test_end))
    by_type = pc.value_counts(events[c.EVENT_TYPE]).to_pylist()
    return Summary(
        name=spec.name,
        title=spec.title,
        rows={file: table.num_rows for file, table in tables.by_file().items()},
        users=pc.count_distinct(events[c.USER_ID]).as_py(),
        items=pc.count_distinct(events[c.ITEM_ID]).as_py(),
        events={EventType(each["values"]): each["counts"] for each in by_type},
        target=spec.target,
        first_event=pc.min(times).as_py(),
        last_event=pc.max(times).as_py(),
        train_end=spec.split.train_end,
        test_end=spec.split.test_end,
        train_events=pc.sum(is_train).as_py(),
        test_events=pc.sum(is_test).as_py(),
        imputed_timestamps=imputed_timestamps,
    )
