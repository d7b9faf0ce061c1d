import numpy as np
import pytest

from benchmarks.simulator.clicks import ClickModel
from benchmarks.simulator.shoppers import Shoppers


def test_staples_and_the_favourite_category_are_wanted_most(shoppers):
    past = shoppers.taste.past
    now = float(past.at.max()) + 86_400
    wins = []
    for user in range(len(past.user_ids)):
        bought = past.items[past.users == user]
        often = np.bincount(bought, minlength=len(past.item_ids))
        staple, stranger = int(often.argmax()), int(np.flatnonzero(often == 0)[0])
        wanted = shoppers.taste.utility(user, np.array([staple, stranger]), now)
        wins.append(wanted[0] > wanted[1])
    assert np.mean(wins) > 0.95


def test_an_item_just_bought_is_wanted_less_when_it_comes_back_at_intervals(shoppers):
    taste = shoppers.taste
    item = taste.owned(0)[0]
    last = float(taste.past.at.max())
    taste.weights[:] = [0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0]  # only what is due counts
    taste.buy(0, item, last)
    soon, later = (
        float(taste.utility(0, np.array([item]), last + days * 86_400)[0])
        for days in (0.01, taste._interval[item])
    )
    assert later > soon


def test_nothing_after_the_cut_is_read(shop_data):
    early = shop_data.spec.split.train_end.timestamp() - 28 * 86_400
    shoppers = Shoppers.fit(shop_data, cut=early, seed=3)
    assert float(shoppers.taste.past.at.max()) < early


def test_the_same_seed_gives_the_same_shoppers(shop_data):
    cut = shop_data.spec.split.train_end.timestamp()
    plans = []
    for _ in range(2):
        shoppers = Shoppers.fit(shop_data, cut=cut, seed=9)
        plans.append(shoppers.plan(50, start=cut, end=cut + 7 * 86_400))
    assert plans[0] == plans[1]
    assert all(cut <= visit.at < cut + 7 * 86_400 for visit in plans[0])


def test_visits_keep_to_the_hours_of_the_shop(shoppers, shop_data):
    cut = shop_data.spec.split.train_end.timestamp()
    hours = [int(v.at % 86_400 // 3600) for v in shoppers.plan(800, start=cut, end=cut + 604_800)]
    assert np.mean([8 <= hour < 23 for hour in hours]) > 0.95  # the shop's orders are from 8 to 22


def test_clicks_fall_with_the_position_and_grow_with_what_is_wanted():
    model, rng = ClickModel(), np.random.default_rng(1)
    positions = np.tile(np.arange(1, 21), 4000)
    clicked, carted, ordered, _ = model.react(np.zeros(len(positions)), positions, rng)
    rates = np.array([clicked[positions == p].mean() for p in (1, 5, 20)])
    assert rates == pytest.approx(0.15 * np.array([1, 5, 20]) ** -0.6, abs=0.02)
    assert not (carted & ~clicked).any()
    assert not (ordered & ~carted).any()
    eager, *_ = model.react(np.full(len(positions), 2.0), positions, rng)
    assert eager.sum() > 1.5 * clicked.sum()


def test_an_item_that_nobody_knows_can_be_shown(shoppers):
    page = [*shoppers.usual_page(0), "never heard of"]
    reaction = shoppers.react(0, page, np.arange(1, len(page) + 1), 0.0)
    assert len(reaction.clicked) == len(page)
