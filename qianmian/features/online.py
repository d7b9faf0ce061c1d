"""Reading the newest features of an entity from Feast's online store.

`get_online_features` spends 1.3 of its 1.8 ms on one user in building a response message for any
mixture of views, versions and transformations. What it reads with is the provider's `online_read`,
one call a view, for every online store; here that is called with the views looked up once, and its
values are taken as they are: 0.5 ms. A test holds both to the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qianmian.features.feast_import import import_feast

if TYPE_CHECKING:
    from feast import FeatureStore

#: Features of one entity by field name.
Row = dict[str, object]


class OnlineReader:
    """Reads some views of one entity."""

    def __init__(self, store: FeatureStore, key: str, views: Mapping[str, Sequence[str]]) -> None:
        """`key` is the join key; `views` holds the wanted fields by view, all views of that key."""
        self._store = store
        self._entity_key = _entity_key_of(key)
        self._views = [(store.get_feature_view(view), list(names)) for view, names in views.items()]
        self._unknown: Row = {name: None for names in views.values() for name in names}

    def read(self, ids: Sequence[str]) -> list[Row | None]:
        """The rows of `ids` in their order; None for an id of which every field is null.

        Fields are plain Python: text, numbers, lists; None where null.
        """
        if not ids:
            return []
        keys = [self._entity_key(entity_id) for entity_id in ids]
        rows = [dict(self._unknown) for _ in ids]
        provider, config = self._store.provider, self._store.config
        for view, names in self._views:
            found = provider.online_read(config, view, keys, names)
            for row, (_, values) in zip(rows, found, strict=True):
                if values:
                    row.update((name, _plain(values[name])) for name in names if name in values)
        return [row if any(v is not None for v in row.values()) else None for row in rows]


def _entity_key_of(key: str) -> Callable[[str], Any]:
    """Makes Feast's entity key of an id."""
    import_feast()
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey  # noqa: PLC0415  # after the above
    from feast.protos.feast.types.Value_pb2 import Value  # noqa: PLC0415

    def make(entity_id: str) -> EntityKey:
        return EntityKey(join_keys=[key], entity_values=[Value(string_val=entity_id)])

    return make


def _plain(value: Any) -> object:
    """A Feast value as plain Python; a number that is none counts as null."""
    kind = value.WhichOneof("val")
    if kind is None or kind == "null_val":
        return None
    plain = getattr(value, kind)
    if kind.endswith("_list_val"):
        return list(plain.val)
    return None if isinstance(plain, float) and math.isnan(plain) else plain
