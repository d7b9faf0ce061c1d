from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from qianmian.campaigns.auction import Bid, award, rank_bids
from qianmian.campaigns.schema import Pricing


def bid(campaign: str, worth: float, chance: float = 0.1, **fields) -> Bid:
    given = {"item": hash(campaign), "pricing": Pricing.SECOND_PRICE, **fields}
    return Bid(campaign=campaign, chance=chance, price=worth / chance, **given)


def winners(bids, places, *, reserve=0.0, present=None):
    ranked = rank_bids(bids, reserve)
    entered = {b.campaign for b in bids} if present is None else present
    return [
        (w.bid.campaign, w.price) for w in award(ranked, places, reserve=reserve, present=entered)
    ]


def test_a_winner_pays_what_it_needed_to_keep_its_place() -> None:
    bids = [bid("a", 1000, 0.1), bid("b", 800, 0.2), bid("c", 300, 0.5)]
    # a needs 800 an impression: 8000 a click at one in ten; b needs 300: 1500; c has nobody below
    assert winners(bids, 3) == [("a", 8000), ("b", 1500), ("c", 1)]


def test_the_last_winner_pays_the_reserve_price() -> None:
    assert winners([bid("a", 1000)], 2, reserve=50.0) == [("a", 500)]


def test_a_fixed_price_is_the_bid() -> None:
    assert winners([bid("a", 1000, pricing=Pricing.FIXED), bid("b", 10)], 1) == [("a", 10_000)]


def test_worth_below_the_reserve_stays_out() -> None:
    assert winners([bid("a", 49.9)], 1, reserve=50.0) == []


def test_a_bought_day_stands_first_and_costs_nothing_more() -> None:
    bids = [bid("rich", 1e9), bid("day", 1, 1.0, bought=True)]
    assert winners(bids, 2) == [("day", 0), ("rich", 1)]
    assert winners(bids, 2, reserve=1e8) == [("day", 0), ("rich", 10**9)]


def test_a_campaign_has_one_place_and_an_item_one() -> None:
    bids = [bid("a", 9, item=1), bid("a", 8, item=2), bid("b", 7, item=1), bid("b", 6, item=3)]
    wins = award(rank_bids(bids, 0.0), 3, reserve=0.0, present={"a", "b"})
    assert [(win.bid.campaign, win.bid.item) for win in wins] == [("a", 1), ("b", 3)]


def test_a_rival_for_the_same_item_sets_the_price_and_takes_the_place_of_who_is_away() -> None:
    bids = [bid("a", 1000, item=1), bid("b", 900, item=1), bid("c", 100, item=2)]
    assert winners(bids, 2) == [("a", 9000), ("c", 1)]
    assert winners(bids, 2, present={"b", "c"}) == [("b", 1000), ("c", 1)]
    (win,) = award(rank_bids(bids[:2], 0.0), 2, reserve=0.0, present={"b"})
    assert win.propensity == 0.0  # a always enters


def test_who_does_not_enter_does_not_set_the_price() -> None:
    bids = [bid("a", 1000), bid("b", 900), bid("c", 100)]
    assert winners(bids, 1, present={"a", "c"}) == [("a", 1000)]


bids_strategy = st.lists(
    st.tuples(st.floats(1, 1e6), st.floats(0.001, 1), st.floats(0, 1)), min_size=1, max_size=6
)


@given(bids_strategy, st.integers(1, 4), st.floats(0, 1e4))
def test_a_price_is_between_one_and_the_bid_and_never_lowers_the_order(rows, places, reserve):
    bids = [bid(f"c{n}", w, p, participation=q) for n, (w, p, q) in enumerate(rows)]
    ranked = rank_bids(bids, reserve)
    wins = list(award(ranked, places, reserve=reserve, present={b.campaign for b in bids}))
    for place, win in enumerate(wins):
        assert 1 <= win.price <= max(round(win.bid.price), 1)
        if place + 1 < len(ranked):  # the price keeps the place, to the rounding of a micro
            needed = ranked[place + 1].worth
            assert win.price * win.bid.chance >= needed - 0.5 * win.bid.chance - 1e-6
    assert [w.bid for w in wins] == ranked[:places]


@given(bids_strategy, st.integers(1, 3), st.lists(st.integers(0, 3), min_size=18, max_size=18))
def test_propensities_are_those_of_every_way_to_enter(rows, places, items):
    bids = [
        bid(f"c{n}", w / (1 + k), p, participation=q, item=items[3 * n + k] if n % 2 else 10 * n)
        for n, (w, p, q) in enumerate(rows)
        for k in range(1 + n % 3)
    ]
    ranked = rank_bids(bids, 0.0)
    campaigns = {b.campaign: b.participation for b in bids}
    found: dict[tuple[str, int], float] = {}
    expected: dict[tuple[str, int], float] = {}
    for enters in itertools.product([True, False], repeat=len(campaigns)):
        entering = dict(zip(campaigns, enters, strict=True))
        chance = math.prod(q if entering[c] else 1 - q for c, q in campaigns.items())
        present = {c for c, e in entering.items() if e}
        for place, win in enumerate(award(ranked, places, reserve=0.0, present=present)):
            key = win.bid.campaign, place
            expected[key] = expected.get(key, 0.0) + chance
            found[key] = win.propensity
    assert found == pytest.approx(expected, abs=1e-9)


def test_many_campaigns_for_few_items_are_followed_up_as_far_as_is_likely() -> None:
    bids = [
        bid(f"c{n}", 1000 - n, participation=0.5, item=(n + k) % 3)
        for n in range(40)
        for k in range(2)
    ]
    (first, second) = award(rank_bids(bids, 0.0), 2, reserve=0.0, present={"c0", "c1"})
    assert first.propensity == 0.5  # of the first place nothing is left out
    assert second.propensity == pytest.approx(0.25)
