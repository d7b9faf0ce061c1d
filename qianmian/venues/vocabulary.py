"""The columns that conditions of a data set may name: of items in a venue, and of users.

Items: `item_id`, the categorical, numeric and multi columns that `dataset.yaml` declares, the
statistics of `contracts.features`, and what a venue holds of an item: price, base price, discount,
coupon, stock, regions. Users: the declared tags and the derived ones.
"""

from __future__ import annotations

from typing import Final

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.data.spec import DatasetSpec, TagColumns
from qianmian.venues.conditions import Kind, Vocabulary, vocabularies

#: What a venue holds of an item; these win over columns of the same name.
VENUE_COLUMNS: Final = {
    c.PRICE: Kind.NUMBER,
    f.BASE_PRICE: Kind.NUMBER,
    f.DISCOUNT: Kind.NUMBER,
    c.COUPON_ID: Kind.TEXT,
    c.STOCK: Kind.NUMBER,
    c.REGIONS: Kind.TEXTS,
}


def columns_of_items(spec: DatasetSpec) -> Vocabulary:
    """Return the columns of items."""
    statistics = dict.fromkeys(f.ITEM_STATISTICS_NUMERIC, Kind.NUMBER)
    columns = {c.ITEM_ID: Kind.TEXT, **statistics, **_declared(spec.items), **VENUE_COLUMNS}
    return Vocabulary("items", columns)


def columns_of_users(spec: DatasetSpec) -> Vocabulary:
    """Return the tags of users."""
    derived = dict.fromkeys(f.DERIVED_TAGS, Kind.TEXT)
    return Vocabulary("users", {**derived, **_declared(spec.users)})


def conditions_of(spec: DatasetSpec) -> dict[str, object]:
    """Return the validation context in which the conditions of a venue file are checked."""
    return vocabularies(columns_of_items(spec), columns_of_users(spec))


def _declared(columns: TagColumns) -> dict[str, Kind]:
    return {
        **dict.fromkeys(columns.categorical, Kind.TEXT),
        **dict.fromkeys(columns.numeric, Kind.NUMBER),
        **dict.fromkeys(columns.multi, Kind.TEXTS),
    }
