"""Compiles what a page needs before the first shopper asks for one.

The compiled code lies on disk, so only the very first start of a version compiles; later ones read
it back in half a second. What a function is compiled for depends on the types of its arrays, so
the arrays of the release itself are used. A made-up release has the same:

    python -m serving.feed.rerank.warm

compiles before there is one.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from qianmian.contracts import columns as c
from qianmian.features.item_table import Int32, ItemTable
from qianmian.venues.rules import BlockRules, Diversity, Exploration, Rules
from serving.feed.rerank.arrays import Mask
from serving.feed.rerank.layout import Vacancy, lay_out
from serving.feed.rerank.rulebook import RuleBook


def warm(book: RuleBook) -> None:
    """Lay out a page with everything on, and forget it."""
    items = np.arange(min(4, len(book.scale)), dtype=np.int32)
    if not len(items):
        return
    rules = BlockRules(diversity=Diversity(), exploration=Exploration(share=0.5, first_position=1))
    vacancy = Vacancy(
        rules=book.bound(Rules(), rules),
        slots=2,
        offset=0,
        items=items,
        scores=np.ones(len(items), dtype=np.float32),
        source=np.zeros(len(items), dtype=np.int8),
        rest=lambda: items[:0],
    )

    def everywhere(_: object) -> Mask:
        return np.ones(len(book.scale), dtype=np.bool_)

    def all_of(asked: Int32, _: object) -> Mask:
        return np.ones(len(asked), dtype=np.bool_)

    lay_out([vacancy], book, everywhere, all_of)


def made_up() -> RuleBook:
    """The rules of a release of two items."""
    profile = pd.DataFrame({c.ITEM_ID: ["a", "b"], "brand": ["x", "y"]})
    table = ItemTable.from_profile(profile, ["brand"])
    return RuleBook(table, np.eye(2, dtype=np.float32), np.arange(2, dtype=np.uint32))


if __name__ == "__main__":
    warm(made_up())
