"""Popularity by segment: how many shoppers of each value of a user tag acted on each item lately.

What a page falls back to where retrieval fails and `fallback.segment` of its venue names a tag.
The events are read once; another tag then costs one count, for a file may name it at any time.

Shapes: `n` distinct pairs of user and item.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import pandas as pd

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.data.store import Dataset

DAYS: Final = f.WINDOWS_DAYS[1]  # those of plain popularity


class Segments:
    """Users of each item by the value of a tag."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.users_by_value = lru_cache(maxsize=32)(self._users_by_value)

    def warm(self) -> None:
        """Read what every tag needs."""
        _ = self._pairs

    def _users_by_value(self, tag: str) -> Mapping[str, Mapping[str, float]]:
        """Return the distinct users of each item in the last weeks, by the value of a user tag."""
        known = self._dataset.users()
        if known is None or tag not in known:
            return {}
        values = pd.Series(known[tag].to_numpy(), index=known[c.USER_ID].astype(str)).dropna()
        users, items = self._pairs
        of_user = values.reindex(users.categories).to_numpy()
        found: dict[str, Mapping[str, float]] = {}
        for value in values.unique():
            counts = np.bincount(
                items.codes[(of_user == value)[users.codes]], minlength=len(items.categories)
            )
            held = np.flatnonzero(counts)
            ids = items.categories[held].tolist()
            found[str(value)] = dict(zip(ids, counts[held].astype(float).tolist(), strict=True))
        return found

    @cached_property
    def _pairs(self) -> tuple[pd.Categorical, pd.Categorical]:
        """Distinct user and item of the target actions of the last weeks of training, [n] each."""
        dataset, names = self._dataset, [c.USER_ID, c.ITEM_ID, c.EVENT_TYPE]
        split = dataset.spec.split
        if split.by == "time":
            since = split.train_end - pd.Timedelta(days=DAYS)
            events = dataset.events(names, until=split.train_end, since=since)
        else:
            events = dataset.train_events(names)
        events = events[events[c.EVENT_TYPE] == dataset.spec.target]
        pairs = events[[c.USER_ID, c.ITEM_ID]].drop_duplicates()
        return pd.Categorical(pairs[c.USER_ID]), pd.Categorical(pairs[c.ITEM_ID])
