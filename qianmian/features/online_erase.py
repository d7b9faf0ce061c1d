"""Removing entities from Feast's online store, their bytes included.

Feast has no call for that, so each online store that the documents name has its own way here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from qianmian.errors import FeatureStoreError
from qianmian.features.online import entity_key_of

if TYPE_CHECKING:
    from feast import FeatureStore

_PACKED: Final = "PackedSqliteOnlineStore"
_REDIS: Final = "RedisOnlineStore"


def erase_online(store: FeatureStore, views: Sequence[str], key: str, ids: Sequence[str]) -> int:
    """Remove entities from views that share a join key; returns how many rows there were.

    Raises:
        FeatureStoreError: the online store is of a kind that nothing can be removed from.
    """
    online: Any = store.provider.online_store
    config = store.config
    keys = [entity_key_of(key)(one) for one in ids]
    match type(online).__name__:
        case name if name == _PACKED:
            tables = [store.get_feature_view(view) for view in views]
            return int(online.erase(config, tables, keys))
        case name if name == _REDIS:
            return _from_redis(online, config, keys)
        case other:
            raise FeatureStoreError(
                f"online_store.type={other!r}: people cannot be erased from it; use the packed "
                "SQLite store or Redis (feature_repo/feature_store.yaml)"
            )


def _from_redis(online: Any, config: Any, keys: Sequence[Any]) -> int:
    """One hash holds all views of an entity; the files on disk are written anew."""
    # Feast is imported by now; the client is an optional extra.
    from feast.infra.online_stores.helpers import _redis_key  # noqa: PLC0415

    from qianmian.events.redis_link import rewrite_files  # noqa: PLC0415

    client = online._get_client(config.online_store)  # noqa: SLF001  # Feast has no other way
    version = config.entity_key_serialization_version
    names = [
        _redis_key(config.project, key, entity_key_serialization_version=version) for key in keys
    ]
    removed = int(client.delete(*names)) if names else 0
    if removed:
        rewrite_files(client, "the online store")
    return removed
