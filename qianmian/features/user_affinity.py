"""User affinity: how much a user acts on each value of an item attribute (a category, a brand).

`AffinityIndex` joins the target actions with the catalogue once; `user_affinity` sums them up as of
a moment. A row for each user with a target action on an item with a known value in any of the
affinity columns. An item with several values of a column counts for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.distinct import distinct
from qianmian.features.columns import DataType, table_of
from qianmian.features.event_log import SECONDS_PER_DAY, EventLog
from qianmian.features.segments import Float64, Int32, Runs, leading, lists, offsets_of


@dataclass(frozen=True, slots=True)
class _Occurrences:
    """Target actions by (user, value, time), one row for each value of the item acted on."""

    values: pa.StringArray  # texts of the value codes, ascending
    user: Int32  # [n]
    value: Int32  # [n]
    at: Float64  # [n]


@dataclass(frozen=True, slots=True)
class AffinityIndex:
    """Target actions joined with the affinity columns of the catalogue."""

    log: EventLog
    occurrences: Mapping[str, _Occurrences]

    @classmethod
    def build(cls, log: EventLog, items: pa.Table, columns: Sequence[str]) -> AffinityIndex:
        """Join. `items` holds `item_id` and `columns` (text, or lists of text)."""
        row = pc.index_in(log.items, items[c.ITEM_ID].combine_chunks().cast(pa.string()))
        return cls(
            log=log,
            occurrences={name: _occurrences(log, items[name].take(row)) for name in columns},
        )


def affinity_types(columns: Sequence[str]) -> dict[str, DataType]:
    """Types of the fields that these affinity columns give."""
    types: dict[str, DataType] = {}
    for name in columns:
        types[f.affinity_values(name)] = DataType.STRINGS
        types[f.affinity_weights(name)] = DataType.FLOAT32S
        types[f.affinity_last_at(name)] = DataType.FLOAT64S
    return types


def user_affinity(index: AffinityIndex, as_of: float) -> pa.Table:
    """Affinity of each user as of `as_of` (epoch seconds).

    The three lists of a column are parallel: weight (sum of `0.5 ** (age / 84 days)` over target
    actions) falling, then time of the last one falling, then value; at most `AFFINITY_LENGTH`. A
    user without a value in one column has empty lists there.
    """
    ranked = {name: _rank(rows, as_of) for name, rows in index.occurrences.items()}
    empty = np.zeros(0, dtype=np.int32)
    users = distinct(np.concatenate([empty, *(part.users for part in ranked.values())]))
    columns: dict[str, pa.Array] = {}
    for name, part in ranked.items():
        lengths = np.zeros(len(users), dtype=np.int64)
        lengths[np.searchsorted(users, part.users)] = part.lengths
        offsets = offsets_of(lengths)
        texts = index.occurrences[name].values.take(pa.array(part.value))
        columns[f.affinity_values(name)] = lists(offsets, texts)
        columns[f.affinity_weights(name)] = lists(offsets, pa.array(part.weight))
        columns[f.affinity_last_at(name)] = lists(offsets, pa.array(part.last_at))
    ids = index.log.users.take(pa.array(users))
    return table_of(c.USER_ID, ids, columns, affinity_types(tuple(index.occurrences)))


@dataclass(frozen=True, slots=True)
class _Ranked:
    """The values of each user, strongest first; `users` and `lengths` [r], the others [m]."""

    users: Int32
    lengths: npt.NDArray[np.integer]
    value: Int32
    weight: Float64
    last_at: Float64


def _rank(rows: _Occurrences, as_of: float) -> _Ranked:
    past = rows.at < as_of
    user, value, at = rows.user[past], rows.value[past], rows.at[past]
    runs = Runs.of(user, value)
    weight = runs.sum(np.exp2((at - as_of) / (SECONDS_PER_DAY * f.AFFINITY_HALF_LIFE_DAYS)))
    last_at = runs.maximum(at)
    user, value = user[runs.starts], value[runs.starts]
    order = np.lexsort((value, -last_at, -weight, user))
    users = Runs.of(user[order])
    kept, offsets = leading(users, f.AFFINITY_LENGTH)
    picked = order[kept]
    return _Ranked(
        users=user[order][users.starts],
        lengths=np.diff(offsets),
        value=value[picked],
        weight=weight[picked],
        last_at=last_at[picked],
    )


def _occurrences(log: EventLog, column: pa.ChunkedArray) -> _Occurrences:
    """Occurrences of one column's values; `column` has a row for each item code of the log."""
    targets = log.targets_by_user
    item, text = _exploded(column)
    encoded = text.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), dtype=np.int32)
    rank[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    value = rank[encoded.indices.to_numpy()]

    per_item = np.bincount(item, minlength=len(log.items))
    first = np.concatenate([[0], np.cumsum(per_item)])
    repeats = per_item[targets.item]
    event = np.repeat(np.arange(len(targets)), repeats)
    within = np.arange(len(event)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    value = value[first[targets.item[event]] + within]
    user = targets.user[event]
    order_rows = np.lexsort((value, user))  # stable: time stays ascending
    return _Occurrences(
        values=encoded.dictionary.take(order),
        user=user[order_rows],
        value=value[order_rows],
        at=targets.at[event][order_rows],
    )


def _exploded(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], pa.StringArray]:
    """(row, text) of every known value, by row; lists give one a member."""
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        rows, texts = pc.list_parent_indices(array), pc.list_flatten(array)
    else:
        rows, texts = pa.array(np.arange(len(array))), array
    known = pc.is_valid(texts)
    return rows.filter(known).to_numpy().astype(np.int64), texts.filter(known).cast(pa.string())
