"""Point-in-time features for training, through Feast's `get_historical_features`.

Rows are asked for in groups that see the same snapshot, so that Feast's join reads one file a view
and group (see `offline`), and each distinct (entity, time) pair is joined once.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from qianmian.contracts import features as f

if TYPE_CHECKING:
    from feast import FeatureStore

_ROW: Final = "row_of_query"


def historical_features(
    store: FeatureStore,
    references: Sequence[str],
    key: str,
    rows: pd.DataFrame,
    moments: Sequence[float],
) -> pa.Table:
    """Features of each row as they were known at its time.

    Args:
        store: Feast.
        references: `view:field` of what is wanted.
        key: the join key.
        rows: at least one; columns `key` (text) and `event_timestamp` (aware), in any order,
            repeats allowed.
        moments: times of the snapshots (epoch seconds), ascending. They only group the rows.

    Returns the columns `key`, `event_timestamp` and one for each reference, in the order of
    `rows`; fields of an entity that was not known then are null.
    """
    asked = pd.DataFrame(
        {
            key: rows[key].astype(str).to_numpy(dtype=object),
            f.EVENT_TIMESTAMP: rows[f.EVENT_TIMESTAMP].to_numpy(),
        }
    )
    asked[f.EVENT_TIMESTAMP] = asked[f.EVENT_TIMESTAMP].dt.round("us").astype("datetime64[us, UTC]")
    pair = asked.groupby([key, f.EVENT_TIMESTAMP], sort=False).ngroup().to_numpy()
    distinct = asked.drop_duplicates(ignore_index=True)
    distinct = distinct.assign(**{_ROW: np.arange(len(distinct))})
    seconds = distinct[f.EVENT_TIMESTAMP].astype("int64") / 1e6
    group = np.searchsorted(np.asarray(moments, dtype=float), seconds, side="right")
    parts = [
        _ask(store, references, part.reset_index(drop=True)) for _, part in distinct.groupby(group)
    ]
    found = pa.concat_tables(parts).sort_by(_ROW).drop_columns([_ROW])
    if len(distinct) == len(asked):
        return found
    return found.take(pa.array(pair))


def _ask(store: FeatureStore, references: Sequence[str], rows: pd.DataFrame) -> pa.Table:
    with warnings.catch_warnings():
        # ibis 12 calls a method that duckdb 2 renamed.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ibis\.")
        job = store.get_historical_features(entity_df=rows, features=list(references))
        table: pa.Table = job.to_arrow()
    return table
