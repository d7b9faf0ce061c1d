"""What a venue's query selects, followed as prices, stock and statistics change.

A pool is laid out beside requests, so it lags behind its query for a moment. Until it is laid out
anew, what the query has let go is not shown; what it has come to select is shown from then on.

Shapes: `n` items of the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from qianmian.features.item_table import Int32
from qianmian.venues.conditions import Condition, Mask
from serving.feed.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Selection:
    """The items that a pool was laid out by.

    `listed` are those that the venue names one by one, whatever the query says of them. `shelf` is
    for the thread that lays out pools alone: the one that pages are made from belongs to requests.
    """

    query: Condition
    listed: Int32
    shelf: Shelf
    selected: Mask  # bool [n], by the query

    @classmethod
    def of(cls, query: Condition, listed: Int32, shelf: Shelf) -> Self:
        """Return what a query selects now."""
        return cls(query, listed, shelf, shelf.holds(query))

    @property
    def items(self) -> Int32:
        """The item indices, those that are listed first."""
        return np.concatenate([self.listed, np.flatnonzero(self.selected).astype(np.int32)])

    def renewed(self) -> Self:
        """Return what the query selects now, itself if that is the same.

        No item is looked at unless a column of the query changed.
        """
        self.shelf.catch_up()
        selected = self.shelf.holds(self.query)
        if selected is self.selected or np.array_equal(selected, self.selected):
            return self
        return replace(self, selected=selected)

    def let_go(self, shelf: Shelf) -> Mask:
        """Return the items that are not selected as a shelf stands, bool [n]."""
        gone = ~shelf.holds(self.query)
        gone[self.listed[self.listed >= 0]] = False
        return gone
