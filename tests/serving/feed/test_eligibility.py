"""Eligibility: nothing that a rule forbids is ever shown, and the page says why."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianmian.contracts import features as f
from qianmian.contracts.api import RECOMMEND_REQUEST
from qianmian.venues import Block, Venue
from qianmian.venues.blocks import BlockFile
from qianmian.venues.conditions import Condition
from qianmian.venues.eligibility import EligibilityFile
from qianmian.venues.inventory import Fact, Inventory, encode
from qianmian.venues.pool import PoolFile
from serving.feed.journey import Feed
from serving.feed.resident import Goods, ResidentRelease, World
from serving.feed.shelf import ItemFacts, Offers, Shelf
from serving.feed.tokens import Signer
from serving.feed.users import Users
from tests.serving import tiny
from tests.serving.conftest import OBJECTIVE

DAY = 86_400.0


class Change:
    """A change of the topic as the listener brings it."""

    def __init__(self, key: str, value: bytes | None) -> None:
        self.key, self.value = key, value


def push(inventory: Inventory, *facts: Fact) -> None:
    inventory.take([Change(key, value) for key, value in encode(facts).items()])


class Shop:
    """One venue of the tiny shop under some rules."""

    def __init__(self, world: World, feed: Feed, release: ResidentRelease) -> None:
        self._world, self._feed, self._release = world, feed, release
        self.inventory = Inventory()

    def open(self, *, goods: Goods | None = None, **venue: object) -> None:
        block = Block("", 10)
        made = Venue("v", "V", "", None, None, OBJECTIVE, (), {"main": block}, **venue)
        goods = replace(goods or Goods(), pushed=self.inventory)
        pool = made.pool or PoolFile(items=tuple(tiny.item_id(n) for n in range(tiny.ITEMS)))
        made = replace(made, pool=pool)
        release = ResidentRelease.build("r", self._release.bundle, {"v": made}, goods)
        self._world = replace(self._world, venues={"v": made}, releases={"live": release})

    @property
    def shelf(self) -> Shelf:
        return self._world.release.pools["v"].shelf

    def ask(self, user: str | None = "anna", **body: object) -> dict[str, object]:
        body = {"user": {"id": user}, "params": {"explain": True}, **body}
        request = RECOMMEND_REQUEST.validate_json(json.dumps(body))
        return self._feed.recommend(self._world, "v", request)

    def all_items(self, user: str | None = "anna", **body: object) -> set[int]:
        """Everything that paging through the venue ever shows."""
        shown: list[int] = []
        token: str | None = None
        while True:
            answer = self.ask(user, blocks=[{"page_token": token, "page_size": 7}], **body)
            (block,) = answer["blocks"]
            shown += [int(item["item_id"][1:]) for item in block["items"]]
            token = block["next_page_token"]
            if token is None:
                assert len(shown) == len(set(shown))
                return set(shown)

    def removed(self, user: str | None = "anna", **body: object) -> dict[str, int]:
        return self.ask(user, **body)["blocks"][0]["explain"]["removed"]


@pytest.fixture
def shop(world: World, feed: Feed, release: ResidentRelease) -> Shop:
    return Shop(world, feed, release)


def rules(**keys: object) -> EligibilityFile:
    return EligibilityFile.model_validate(keys)


EVERYTHING = set(range(tiny.ITEMS))


def test_a_venue_without_rules_shows_its_whole_pool(shop: Shop) -> None:
    shop.open()
    assert shop.all_items() == EVERYTHING
    assert shop.removed() == {}


def test_sold_out_items_are_gone_at_once_and_come_back(shop: Shop) -> None:
    shop.open()
    first = shop.ask()
    token = first["blocks"][0]["next_page_token"]
    later = {
        item["item_id"] for item in shop.ask(blocks=[{"page_token": token}])["blocks"][0]["items"]
    }
    push(shop.inventory, *(Fact("stock", "", item, 0.0) for item in later))
    again = shop.ask(blocks=[{"page_token": token}])["blocks"][0]
    assert not later & {item["item_id"] for item in again["items"]}
    assert len(again["items"]) == 10
    assert again["explain"]["removed"]["sold_out"] == 10
    assert set(again["explain"]["examples"]["sold_out"]) <= later
    push(shop.inventory, Fact("stock", "v", tiny.item_id(59), 3.0))
    assert shop.all_items() == EVERYTHING - {int(i[1:]) for i in later} | {59}


def test_stock_of_a_venue_wins_over_that_of_all(shop: Shop) -> None:
    shop.open()
    push(shop.inventory, Fact("stock", "v", "i001", 5.0), Fact("stock", "", "i001", 0.0))
    push(shop.inventory, Fact("stock", "other", "i002", 0.0), Fact("stock", "", "i003", 0.0))
    assert shop.all_items() == EVERYTHING - {3}
    push(shop.inventory, Fact("stock", "v", "i001", None))  # now that of all holds
    assert shop.all_items() == EVERYTHING - {1, 3}


def test_data_set_gives_stock_price_window_and_coupons(shop: Shop) -> None:
    numbers = {
        "stock": {"i001": 0.0, "i002": 4.0},
        "price": {"i005": 0.5},
        "on_sale_from": {"i010": tiny.NOW + 1},
        "on_sale_to": {"i011": tiny.NOW, "i012": tiny.NOW + 1},
    }
    shop.open(goods=Goods(offers={"v": Offers(numbers=numbers, coupons={"i005": "c-1"})}))
    assert shop.all_items() == EVERYTHING - {1, 10, 11}
    answer = shop.ask(blocks=[{"page_size": 100}])["blocks"][0]
    (five,) = [item["item"] for item in answer["items"] if item["item_id"] == "i005"]
    assert (five["price"], five["coupon_id"], five["discount"]) == (0.5, "c-1", 0.8)
    assert answer["explain"]["removed"] == {"sold_out": 1, "not_on_sale": 2}


def test_price_bounds_follow_a_pushed_price(shop: Shop) -> None:
    shop.open(eligibility=rules(price={"min": 2.0, "max": 3.0}))
    assert shop.all_items() == set(range(10, 21))  # 1 + n/10; item 7 has no price
    push(shop.inventory, Fact("price", "", "i000", 2.5), Fact("price", "", "i010", 9.0))
    assert shop.all_items() == {0, *range(11, 21)}
    shown = {i["item_id"]: i["item"]["price"] for i in shop.ask()["blocks"][0]["items"]}
    assert shown.get("i000", 2.5) == 2.5


def test_restrictive_filter_does_not_empty_the_page(shop: Shop) -> None:
    shop.open(eligibility=rules(filter="category == 'milk' and price < 3"))
    answer = shop.ask("ben")
    items = answer["blocks"][0]["items"]
    assert len(items) == 6
    assert {item["item"]["category"] for item in items} == {"milk"}
    assert {item["source"] for item in items} != {"fallback"}
    assert shop.removed()["venue_filter"] == 54


def test_what_is_sold_elsewhere_is_worked_out_once_for_each_region(shop: Shop) -> None:
    goods = Goods(offers={"v": Offers(regions={"i001": frozenset({"north", "west"})})})
    shop.open(goods=goods, eligibility=EligibilityFile(region=True))
    shelf = shop.shelf
    assert shelf.elsewhere("north") is shelf.elsewhere("north")
    nowhere = shelf.elsewhere(None)
    assert nowhere is not None
    assert nowhere.sum() == 1
    for number in range(100):  # a request may name any: none of them is remembered
        assert shelf.elsewhere(f"region {number}") is nowhere


def test_coupons_audiences_and_regions(shop: Shop) -> None:
    offers = Offers(
        coupons={"i001": "c-1", "i002": "c-2"},
        regions={"i001": frozenset({"north"}), "i003": frozenset({"south", "west"})},
    )
    goods = Goods(offers={"v": offers})
    shop.open(goods=goods, eligibility=rules(coupon_required=True))
    assert shop.all_items(context={"region": "north"}) == {1, 2}
    assert shop.removed() == {"no_coupon": 58, "another_region": 1}
    only = [{"items": 'coupon_id == "c-2"', "audience": 'age == "19-24"', "reason": "not_member"}]
    shop.open(goods=goods, eligibility=rules(only_for=only))
    assert shop.all_items(context={"region": "west"}) == EVERYTHING - {1, 2}
    assert shop.removed(context={"region": "west"}) == {"not_member": 1, "another_region": 1}
    shop.open(goods=goods, eligibility=rules(audience="age is known", region=False))
    assert shop.all_items() == set()
    assert shop.removed() == {"not_in_audience": 60}


def test_bought_shown_and_disliked_items_rest(
    world: World, signer: Signer, metrics, release: ResidentRelease
) -> None:
    row = {
        **tiny.user_row([3, 12, 21, 33]),  # bought 1, 2, 3 and 4 days before the release's end
        f.EXPOSED_ITEM_IDS: ["i050", "i051", "i052"],
        f.EXPOSED_COUNTS: [3, 3, 2],
        f.EXPOSED_AT: [tiny.NOW - DAY, tiny.NOW - 9 * DAY, tiny.NOW - DAY],
        f.DISLIKED_ITEM_IDS: ["i040", "gone"],
        f.DISLIKED_AT: [1.0, 1.0],
    }
    users = Users({"anna": row}.get, size=9, ttl=60.0)
    feed = Feed(users=users, signer=signer, metrics=metrics, new_id=lambda: "r")
    shop = Shop(world, feed, release)
    shop.open(eligibility=rules(bought_within_days=3.5, fatigue={"times": 3}))
    assert shop.all_items() == EVERYTHING - {3, 12, 50, 40}
    assert shop.removed() == {"already_bought": 2, "shown_too_often": 1, "disliked": 1}
    shop.open(eligibility=rules(disliked="show"))
    assert shop.all_items() == EVERYTHING


def test_conditions_read_declared_columns_and_pools_are_queries(shop: Shop) -> None:
    facts = ItemFacts(
        numbers={"weight": {"i001": 2.0, "i002": 1.0}},
        sets={"labels": {"i002": frozenset({"new"})}},
    )
    query = Condition.read('weight >= 1 or item_id == "i009"')
    shop.open(goods=Goods(facts=facts), pool=PoolFile(items=("i030", "nobody"), query=query))
    assert shop.all_items() == {1, 2, 9, 30}
    shop.open(
        goods=Goods(facts=facts),
        eligibility=rules(filter='labels contains "new" or weight is unknown'),
    )
    assert shop.all_items() == EVERYTHING - {1}


@pytest.mark.parametrize("broken", [False, True])
def test_last_resort_and_lower_rungs_hold_to_the_rules(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, *, broken: bool
) -> None:
    shop.open(eligibility=rules(filter="price < 2", bought_within_days=30))
    expected = shop.all_items()
    assert expected == set(range(10)) - {3, 7}

    def fail(*_: object) -> None:
        raise RuntimeError("gone")

    target = (
        "serving.feed.journey.Weightings.of" if broken else "serving.feed.journey.Scene.__init__"
    )
    monkeypatch.setattr(target, fail)
    answer = shop.ask()
    assert answer["degraded"] == ["request_path_failed"]
    assert shop.all_items() == expected


def test_rules_that_cannot_be_judged_show_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.open(eligibility=rules(filter="price < 2"))

    def fail(*_: object) -> None:
        raise RuntimeError("gone")

    monkeypatch.setattr("serving.feed.eligibility.Eligibility.of", fail)
    answer = shop.ask()
    assert answer["degraded"] == ["eligibility_unknown"]
    assert answer["blocks"][0]["items"] == []


conditions = st.sampled_from(
    [
        None,
        "price < 3",
        'category in ("milk", "soap")',
        "not brand is known",
        'item_id != "i059" and target_users_28d > 10',
    ]
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=conditions,
    sold_out=st.sets(st.integers(0, tiny.ITEMS - 1), max_size=55),
    bought=st.none() | st.floats(0.5, 9),
    user=st.sampled_from(["anna", "ben", "u7", "nobody"]),
    filtered=conditions,
)
def test_nothing_ineligible_is_ever_shown(
    shop: Shop, text: str | None, sold_out: set[int], bought: float | None, user: str, filtered
) -> None:
    block = BlockFile.model_validate({"filter": filtered} if filtered else {})
    shop.inventory = Inventory()
    shop.open(
        eligibility=rules(
            **({"filter": text} if text else {}),
            **({"bought_within_days": bought} if bought else {}),
        )
    )
    shop._world.venues["v"].blocks["main"] = replace(
        shop._world.venues["v"].blocks["main"], filter=block.filter
    )
    shop.ask(user)  # what was proposed before the stock fell is remembered
    push(shop.inventory, *(Fact("stock", "", tiny.item_id(n), 0.0) for n in sold_out))
    shown = shop.all_items(user)
    pool = shop._world.release.pools["v"]
    expected = EVERYTHING - sold_out
    for condition in (text, filtered):
        if condition is not None:
            held = Condition.read(condition).holds(pool.shelf, tiny.ITEMS)
            expected &= {n for n in range(tiny.ITEMS) if held[n]}
    if bought is not None:
        row = tiny.USERS.get(user, {f.LEDGER_ITEM_IDS: [], f.LEDGER_LAST_AT: []})
        expected -= {
            int(item[1:])
            for item, at in zip(row[f.LEDGER_ITEM_IDS], row[f.LEDGER_LAST_AT], strict=True)
            if at > tiny.NOW - bought * DAY
        }
    assert shown == expected
