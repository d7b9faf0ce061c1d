"""A shelf that follows what is pushed and taken back, against one that is made anew."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qianmian.contracts import columns as c
from qianmian.events.changes import Change
from qianmian.venues.conditions import Condition, Numbers
from qianmian.venues.inventory import EVERY_VENUE, FIELDS, Fact, Inventory, encode
from serving.feed.shelf import ItemColumns, ItemFacts, Offers, Shelf
from tests.serving import tiny

TABLE = tiny.item_table()
ITEMS = [tiny.item_id(n) for n in (0, 1, 2, 7)] + ["another catalogue's"]
OFFERS = Offers(
    numbers={
        c.PRICE: {ITEMS[0]: 3.5, ITEMS[4]: 1.0},
        c.STOCK: {ITEMS[1]: 0.0},
        c.ON_SALE_TO: {ITEMS[2]: 9.0},
    }
)
LABELS = ItemFacts(sets={"labels": {ITEMS[0]: frozenset({"vegan", "new"}), ITEMS[1]: frozenset()}})
CONDITIONS = [
    Condition.read(text)
    for text in (
        "price < 3",
        "discount > 0.1 or stock is known",
        "stock == 0",
        'labels contains "vegan"',
        'not labels contains "vegan" and price > 1',
        'category == "milk"',
    )
]

facts = st.builds(
    Fact,
    st.sampled_from(FIELDS),
    st.sampled_from(["sale", "other", EVERY_VENUE]),
    st.sampled_from(ITEMS),
    st.none() | st.integers(0, 9).map(float),
)


def push(inventory: Inventory, pushed: list[Fact]) -> None:
    inventory.take([Change("inventory", key, value) for key, value in encode(pushed).items()])


def held(shelf: Shelf) -> list[np.ndarray | None]:
    discount = shelf.get("discount")
    assert isinstance(discount, Numbers)
    return [
        shelf.price,
        discount.values,
        shelf.stock,
        *(shelf.window or (None, None)),
        *(shelf.holds(condition) for condition in CONDITIONS),
    ]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([OFFERS, Offers()]), st.lists(st.lists(facts, max_size=4), max_size=8))
def test_it_equals_a_shelf_made_anew(offers: Offers, pushes: list[list[Fact]]) -> None:
    inventory, columns = Inventory(), ItemColumns(TABLE, LABELS)
    shelf = Shelf("sale", columns, offers, inventory)
    for pushed in pushes:
        push(inventory, pushed)
        shelf.catch_up()
        anew = Shelf("sale", columns, offers, inventory)
        for mine, fresh in zip(held(shelf), held(anew), strict=True):
            np.testing.assert_array_equal(mine, fresh)


def test_what_is_told_of_another_venue_changes_nothing_here() -> None:
    inventory = Inventory()
    shelf = Shelf("sale", ItemColumns(TABLE, LABELS), OFFERS, inventory)
    cheap = shelf.holds(CONDITIONS[0])
    push(inventory, [Fact(c.PRICE, "other", ITEMS[1], 2.0), Fact(c.STOCK, "other", ITEMS[1], None)])
    before = shelf.version
    shelf.catch_up()
    assert shelf.version == before
    assert shelf.holds(CONDITIONS[0]) is cheap


def test_a_condition_is_judged_anew_only_where_its_columns_changed() -> None:
    inventory = Inventory()
    shelf = Shelf("sale", ItemColumns(TABLE, LABELS), OFFERS, inventory)
    before = [shelf.holds(condition) for condition in CONDITIONS]
    for value in (1.0, None):
        push(inventory, [Fact(c.STOCK, EVERY_VENUE, ITEMS[0], value)])
        shelf.catch_up()
    after = [shelf.holds(condition) for condition in CONDITIONS]
    kept = [one is other for one, other in zip(before, after, strict=True)]
    assert kept == [True, False, False, True, True, True]
