"""Feast's DuckDB offline store, reading only the snapshot that a point-in-time query can see.

Feast's join first pairs a row with every earlier snapshot of its entity and then keeps the newest.
With twenty snapshots of lists that is twenty times the memory and time. But a snapshot is whole:
whoever stood in an earlier one stands in it too. So where all rows of a query see the same newest
snapshot, the join needs that one file. The join itself stays Feast's.

Chosen in `feature_repo/feature_store.yaml`; with `type: duckdb` the same rows come out, slower.
Imported by Feast only.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal

import pandas as pd
from feast.feature_view import FeatureView
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig

from qianmian.errors import FieldError
from qianmian.features.snapshot_files import moments_of, snapshot_path


class SnapshotOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """As that of DuckDB."""

    type: Literal["qianmian.features.offline.SnapshotOfflineStore"] = (
        "qianmian.features.offline.SnapshotOfflineStore"
    )


class SnapshotOfflineStore(DuckDBOfflineStore):
    """DuckDB over folders of whole snapshots."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,  # noqa: FBT001, FBT002  # Feast's signature
        filter_by_created_timestamp: bool = False,  # noqa: FBT001, FBT002
    ) -> RetrievalJob:
        """As in `DuckDBOfflineStore`, with each view narrowed to one snapshot where one is seen."""
        if entity_df is None:
            raise FieldError("entity_df", None, "a frame of entities and times")
        if isinstance(entity_df, pd.DataFrame) and len(entity_df):
            column = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
            seen_at = pd.to_datetime(entity_df[column], utc=True)
            first, last = seen_at.min().timestamp(), seen_at.max().timestamp()
            feature_views = [narrowed(view, first, last) for view in feature_views]
        return DuckDBOfflineStore.get_historical_features(
            config,
            feature_views,
            feature_refs,
            entity_df,
            registry,
            project,
            full_feature_names,
            filter_by_created_timestamp,
        )


def narrowed(view: FeatureView, first: float, last: float) -> FeatureView:
    """The view on the one snapshot that all of `[first, last]` (epoch seconds) sees.

    The view itself where that span sees several snapshots, or none.
    """
    source = view.batch_source
    if not isinstance(source, FileSource):
        return view
    folder = Path(source.path)
    moments = moments_of(folder)
    before = [moment for moment in moments if moment <= first]
    if not before or any(before[-1] < moment <= last for moment in moments):
        return view
    narrow = copy.copy(view)
    narrow.batch_source = FileSource(
        name=source.name,
        path=str(snapshot_path(folder, before[-1])),
        timestamp_field=source.timestamp_field,
        file_format=source.file_format,
    )
    return narrow
