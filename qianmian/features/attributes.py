"""Attributes as features: columns of users.parquet, items.parquet and venues.parquet, typed.

An attribute has no time of its own, so it counts as known throughout, except that an item with
`created_at` is known from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.features.columns import DataType


class Kind(StrEnum):
    """How a declared column is read; the words of dataset.yaml, and three of the contract's own."""

    CATEGORICAL = "categorical"
    NUMERIC = "numeric"
    MULTI = "multi"
    TEXT = "text"  # shown, never modelled
    MOMENT = "moment"  # epoch seconds, 0 for none

    @property
    def dtype(self) -> DataType:
        return _TYPES[self]


_TYPES: Final = {
    Kind.CATEGORICAL: DataType.STRING,
    Kind.NUMERIC: DataType.FLOAT32,
    Kind.MULTI: DataType.STRINGS,
    Kind.TEXT: DataType.STRING,
    Kind.MOMENT: DataType.FLOAT64,
}

#: Columns of the contract that describe an item or a venue without being declared.
ITEM_KINDS: Final = {c.TITLE: Kind.TEXT, c.PRICE: Kind.NUMERIC, c.CREATED_AT: Kind.MOMENT}
VENUE_KINDS: Final = {
    c.NAME: Kind.TEXT,
    c.KIND: Kind.CATEGORICAL,
    c.STARTS_AT: Kind.MOMENT,
    c.ENDS_AT: Kind.MOMENT,
}


def attributes(frame: pd.DataFrame, key: str, kinds: Mapping[str, Kind]) -> pa.Table:
    """The entity key and the columns of `kinds`, each in the type of its kind, by key.

    A column that `frame` lacks comes out null (a moment: 0).
    """
    columns: dict[str, pa.Array] = {key: _text(frame[key])}
    for name, kind in kinds.items():
        column = frame[name] if name in frame else pd.Series([None] * len(frame), dtype=object)
        columns[name] = _typed(column, kind)
    return pa.table(columns).sort_by(key)


def item_profile(items: pa.Table) -> tuple[pa.Table, pa.Array]:
    """Profile of each item, and since when it is known (epoch seconds, float64 [n]).

    `items` is what `attributes` gives. An item is known since `created_at`, or ever.
    """
    if c.CREATED_AT not in items.column_names:
        return items, pa.array(np.zeros(len(items)))
    return items, items[c.CREATED_AT].combine_chunks()


def venue_profile(venues: pa.Table, pools: pd.DataFrame | None) -> tuple[pa.Table, pa.Array]:
    """Profile of each venue with the size of its pool, and since when it is known: ever."""
    known = venues[c.VENUE_ID].to_pylist()
    size = [0] * len(known)
    if pools is not None:
        distinct = pools.groupby(c.VENUE_ID, observed=True)[c.ITEM_ID].nunique()
        size = distinct.reindex(known, fill_value=0).tolist()
    profile = venues.append_column(f.POOL_SIZE, pa.array(size, pa.float32()))
    return profile, pa.array(np.zeros(len(venues)))


def _typed(column: pd.Series, kind: Kind) -> pa.Array:
    if kind is Kind.MULTI:
        return _lists(column)
    if kind is Kind.MOMENT:
        seconds = pa.array(column).cast(pa.timestamp("us", tz="UTC"), safe=False)
        numbers = seconds.cast(pa.int64()).cast(pa.float64(), safe=False)
        return pc.fill_null(pc.divide(numbers, 1e6), 0.0)
    if kind is Kind.NUMERIC:
        return pa.array(column, from_pandas=True).cast(kind.dtype.arrow, safe=False)
    return _text(column)


def _text(column: pd.Series) -> pa.Array:
    array = pa.array(column, from_pandas=True)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type) and pc.all(pc.equal(array, pc.floor(array))).as_py():
        array = array.cast(pa.int64())  # whole numbers that became floats by a missing one
    return array.cast(pa.string())


def _lists(column: pd.Series) -> pa.Array:
    members = [
        None if value is None or value is pd.NA else [str(member) for member in value]
        for value in column
    ]
    return pa.array(members, DataType.STRINGS.arrow)
