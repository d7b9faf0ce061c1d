"""Reading the newest features of an entity from the online store, in one call of Feast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast import FeatureStore

#: Features of one entity by field name.
Row = dict[str, object]


def read_rows(
    store: FeatureStore, references: list[str], key: str, ids: Sequence[str]
) -> list[Row | None]:
    """The rows of `ids` in their order; None for an id of which every field is null.

    Feast does not answer in the order of the references: values are mapped by name. Fields are
    plain Python: text, numbers, lists; None where null.
    """
    if not ids:
        return []
    response = store.get_online_features(features=references, entity_rows={key: list(ids)}).proto
    rows: list[Row] = [{} for _ in ids]
    for name, vector in zip(response.metadata.feature_names.val, response.results, strict=True):
        if name == key:
            continue
        for row, value in zip(rows, vector.values, strict=True):
            row[name] = _plain(value)
    return [row if any(v is not None for v in row.values()) else None for row in rows]


def _plain(value: Any) -> object:
    """A Feast value as plain Python."""
    kind = value.WhichOneof("val")
    if kind is None or kind == "null_val":
        return None
    plain = getattr(value, kind)
    if kind.endswith("_list_val"):
        return list(plain.val)
    return None if isinstance(plain, float) and math.isnan(plain) else plain
