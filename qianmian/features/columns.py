"""Typed columns: what each field of a feature view is stored as, and tables made of them.

One vocabulary of types serves Parquet, the feature store's definitions and the schema hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class DataType(StrEnum):
    """Type of a feature."""

    STRING = "string"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRINGS = "list<string>"
    INT64S = "list<int64>"
    FLOAT32S = "list<float32>"
    FLOAT64S = "list<float64>"

    @property
    def arrow(self) -> pa.DataType:
        return _ARROW[self]


_ARROW = {
    DataType.STRING: pa.string(),
    DataType.FLOAT32: pa.float32(),
    DataType.FLOAT64: pa.float64(),
    DataType.STRINGS: pa.list_(pa.string()),
    DataType.INT64S: pa.list_(pa.int64()),
    DataType.FLOAT32S: pa.list_(pa.float32()),
    DataType.FLOAT64S: pa.list_(pa.float64()),
}


def table_of(
    key: str,
    ids: pa.Array,
    columns: Mapping[str, npt.NDArray[np.generic] | pa.Array],
    types: Mapping[str, DataType],
) -> pa.Table:
    """A feature table: the entity key, then each field of `types` cast to its type.

    Raises KeyError when `columns` lacks a field; columns that `types` lacks are an error too, so a
    feature function and the schema cannot drift apart.
    """
    if extra := sorted(set(columns) - set(types)):
        raise KeyError(f"columns without a declared type: {', '.join(extra)}")
    arrays = [_arrow(columns[name], kind) for name, kind in types.items()]
    schema = pa.schema([(key, pa.string()), *((n, t.arrow) for n, t in types.items())])
    return pa.Table.from_arrays([ids.cast(pa.string()), *arrays], schema=schema)


def _arrow(column: npt.NDArray[np.generic] | pa.Array, kind: DataType) -> pa.Array:
    array = column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column)
    return array.cast(kind.arrow, safe=False)
