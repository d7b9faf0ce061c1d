"""The gate for whole tables: what an import brings goes the way that single events go.

Users get their pseudonyms, and the rows of who asked to be forgotten are left out.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from qianmian.contracts import columns as c
from qianmian.identity.gate import Gate

Treat = Callable[[pa.Table], pa.Table]


def through(gate: Gate) -> Treat:
    """Return what is done to a table that may hold users, each of them looked at once."""

    def treat(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(c.USER_ID)
        if place < 0 or not pa.types.is_string(table.schema.field(place).type):
            return table
        encoded = table.column(place).combine_chunks().dictionary_encode()
        stored = [
            None if one is None else gate.other(one) for one in encoded.dictionary.to_pylist()
        ]
        column = pa.array(stored, pa.string()).take(encoded.indices)
        table = table.set_column(place, table.schema.field(place), column)
        forgotten = pc.and_(pc.is_null(column), pc.is_valid(encoded.indices))
        return table.filter(pc.invert(forgotten))

    return treat
