"""Kinds of blocks, the worth of an order in the score, and each rung of the ladder down."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from qianmian.contracts.api import RECOMMEND_REQUEST
from qianmian.features.ranking_features import RankingFeatures
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.overrides import SourceOverrides
from qianmian.retrieval.sources import SOURCES, SourceQuotas
from qianmian.venues import Block, Venue
from qianmian.venues.blocks import BlockKind
from qianmian.venues.conditions import Condition
from qianmian.venues.fallback import FallbackFile
from qianmian.venues.pool import PoolFile
from qianmian.venues.rules import BlockRules, Exploration
from serving.feed.answer import REASONS
from serving.feed.journey import Feed
from serving.feed.metrics import FeedMetrics
from serving.feed.resident import Goods, ResidentRelease, World
from serving.feed.shelf import ItemFacts, Offers
from serving.feed.tokens import Signer
from serving.feed.users import Users
from tests.serving import tiny
from tests.serving.conftest import OBJECTIVE

ITEMS = tuple(tiny.item_id(n) for n in range(tiny.ITEMS))


def opened(world: World, bundle: Bundle, *, goods: Goods | None = None, **venue: object) -> World:
    """The world with one venue `v` of all items."""
    given = {"blocks": {"main": Block("", 10)}, "pool": PoolFile(items=ITEMS), **venue}
    made = replace(Venue("v", "V", "", None, None, OBJECTIVE, (), {}), **given)
    release = ResidentRelease.build("r", bundle, {"v": made}, goods or Goods())
    return replace(world, venues={"v": made}, releases={"live": release})


def ask(feed: Feed, world: World, user: str = "anna", **body: object) -> dict[str, object]:
    body = {"user": {"id": user}, "params": {"explain": True}, **body}
    return feed.recommend(world, "v", RECOMMEND_REQUEST.validate_json(json.dumps(body)))


def ids(answer: dict[str, object], block: int = 0) -> list[str]:
    return [item["item_id"] for item in answer["blocks"][block]["items"]]


# -- kinds ----------------------------------------------------------------------------------------


def block_of(
    feed: Feed, world: World, bundle: Bundle, block: Block, user: str = "anna", **goods: object
) -> dict[str, object]:
    world = opened(world, bundle, goods=Goods(**goods), blocks={"main": block})
    return ask(feed, world, user, blocks=[{"page_size": 100}])


def test_best_sellers_are_the_same_for_everybody(
    tagged: Feed, aged: None, world: World, release: ResidentRelease
) -> None:
    world = opened(
        world,
        release.bundle,
        goods=Goods(segments=lambda _: {"30s": {"i004": 9.0, "i002": 5.0}}),
        fallback=FallbackFile(segment="age"),
        blocks={"main": Block("", 60, BlockKind.BEST_SELLERS)},
    )
    pages = [ask(tagged, world, user) for user in ("anna", "ben", "nobody")]
    assert [ids(page) for page in pages] == 3 * [list(reversed(ITEMS))]
    assert {item["source"] for item in pages[0]["blocks"][0]["items"]} == {"trending"}
    assert pages[0]["degraded"] == []


def test_new_arrivals_and_buy_again_end_with_their_candidates(
    feed: Feed, world: World, release: ResidentRelease
) -> None:
    again = block_of(feed, world, release.bundle, Block("", 10, BlockKind.BUY_AGAIN))
    assert sorted(ids(again)) == ["i003", "i012", "i021", "i033"]
    assert again["blocks"][0]["next_page_token"] is None
    assert ids(block_of(feed, world, release.bundle, Block("", 10, BlockKind.BUY_AGAIN), "x")) == []
    new = block_of(feed, world, release.bundle, Block("", 10, BlockKind.NEW_ARRIVALS))
    assert {item["source"] for item in new["blocks"][0]["items"]} == {"new"}


def launching(release: ResidentRelease, *numbers: int) -> Bundle:
    """The release as if nobody had acted on these items."""
    table = release.bundle.items.unseen(np.array(numbers, dtype=np.int32))
    features = RankingFeatures(table, release.bundle.vectors, (), tiny.END.timestamp())
    return replace(release.bundle, items=table, features=features)


def test_new_arrivals_hold_what_nobody_acted_on_yet(
    feed: Feed, world: World, release: ResidentRelease
) -> None:
    block = Block("", 10, BlockKind.NEW_ARRIVALS)
    answer = block_of(feed, world, launching(release, 3, 40), block)
    unseen = [item for item in answer["blocks"][0]["items"] if item["source"] == "unseen"]
    assert {item["item_id"] for item in unseen} == {"i003", "i040"}
    assert {item["reason"] for item in unseen} == {"nobody_has_it_yet"}


def test_exploration_of_what_is_new_shows_what_nobody_acted_on_yet(
    feed: Feed, world: World, release: ResidentRelease
) -> None:
    explored = Exploration(share=0.5, new_within_days=0.1, impressions_below=None, max_gap=1.0)
    block = Block("", 10, rules=BlockRules(exploration=explored))

    def drawn(bundle: Bundle) -> set[str]:
        made = opened(world, bundle, blocks={"main": block})
        pages = [ask(feed, made, session_id=f"s{n}")["blocks"][0]["items"] for n in range(30)]
        return {
            i["item_id"]
            for page in pages
            for i in page
            if "exploration" in i["explain"]["moved_by"]
        }

    assert drawn(release.bundle) == set()  # all of it appeared at least a day ago
    assert drawn(launching(release, 0, 1)) == {"i000", "i001"}


def test_coupon_block_holds_what_has_a_coupon(
    feed: Feed, world: World, release: ResidentRelease
) -> None:
    offers = {"v": Offers(coupons={"i001": "c", "i002": "c"})}
    block = Block("", 10, BlockKind.COUPONS)
    answer = block_of(feed, world, release.bundle, block, offers=offers)
    assert sorted(ids(answer)) == ["i001", "i002"]
    assert answer["blocks"][0]["explain"]["removed"] == {"no_coupon": 58}


def test_a_block_has_its_own_filter_and_audience(
    feed: Feed, world: World, release: ResidentRelease
) -> None:
    milk = Block("", 10, filter=Condition.read('category == "milk"'))
    answer = block_of(feed, world, release.bundle, milk)
    assert len(ids(answer)) == 20
    assert answer["blocks"][0]["explain"]["removed"]["block_filter"] == 40
    members = Block("", 10, audience=Condition.read('age == "19-24"'))
    answer = block_of(feed, world, release.bundle, members)
    assert ids(answer) == []
    assert answer["blocks"][0]["explain"]["removed"] == {"not_in_audience": 60}


def test_blocks_that_ask_for_different_things_share_no_item(
    feed: Feed, world: World, release: ResidentRelease
) -> None:
    blocks = {
        "main": Block("", 10),
        "best": Block("", 10, BlockKind.BEST_SELLERS),
        "again": Block("", 10, BlockKind.BUY_AGAIN),
    }
    world = opened(world, release.bundle, blocks=blocks)
    answer = ask(feed, world, blocks=[{"block_id": b, "page_size": 5} for b in blocks])
    shown = [ids(answer, block) for block in range(3)]
    assert [len(items) for items in shown] == [5, 5, 0], "the main block took what was bought"
    assert len({*shown[0], *shown[1]}) == 10


# -- what an order is worth -----------------------------------------------------------------------


def test_price_and_margin_weigh_by_the_chance_of_an_order(
    feed: Feed, world: World, release: ResidentRelease
) -> None:
    facts = ItemFacts(numbers={"margin": {"i001": 2.0}})
    objective = {"order": 1.0, "click": 0.5, "price": 0.25, "margin": 0.5}
    world = opened(world, release.bundle, goods=Goods(facts=facts), objective=objective)
    answer = ask(feed, world, blocks=[{"page_size": 100}])
    for item in answer["blocks"][0]["items"]:
        how, price = item["explain"], item["item"]["price"]
        assert how["weights"] == objective
        assert how["values"] == {
            "price": pytest.approx(price) if price else None,
            "margin": 2.0 if item["item_id"] == "i001" else None,
        }
        p = how["probabilities"]
        worth = 0.25 * (price or 0.0) + 0.5 * (how["values"]["margin"] or 0.0)
        expected = 0.5 * p["click"] + p["order"] * (1.0 + worth)
        assert item["score"] == pytest.approx(expected, rel=1e-4)


# -- the ladder: each rung without what the one above needs ---------------------------------------


class NoRanker(Bundle):
    __slots__ = ()

    def score(self, *_: object) -> np.ndarray:
        raise RuntimeError("ranker is gone")


class NoModel(NoRanker):
    __slots__ = ()

    def user_vector(self, *_: object) -> np.ndarray:
        raise RuntimeError("user tower is gone")


def without(bundle: Bundle, kind: type[Bundle], **parts: object) -> Bundle:
    held = {name: getattr(bundle, name) for name in Bundle.__dataclass_fields__}
    return kind(**{**held, **parts})


@pytest.fixture
def tagged(signer: Signer, metrics: FeedMetrics) -> Feed:
    """Shoppers whose age is known."""
    read = {name: {**row, "age": "30s"} for name, row in tiny.USERS.items()}.get
    return Feed(
        users=Users(read, size=9, ttl=60.0), signer=signer, metrics=metrics, new_id=lambda: "r"
    )


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The release reads the age of its shoppers."""
    read = Bundle.user_state
    monkeypatch.setattr(
        Bundle,
        "user_state",
        lambda self, user_id, row: replace(
            read(self, user_id, row), tags={"age": (row or {}).get("age")}
        ),
    )


def counted(metrics: FeedMetrics, reason: str) -> float | None:
    return metrics.registry.get_sample_value("qianmian_degraded_total", {"reason": reason})


def test_first_rung_down_is_the_order_of_retrieval(
    feed: Feed, world: World, release: ResidentRelease, metrics: FeedMetrics
) -> None:
    answer = ask(feed, opened(world, without(release.bundle, NoRanker)))
    assert answer["degraded"] == ["no_ranker"]
    how = [item["explain"]["retrieval_score"] for item in answer["blocks"][0]["items"]]
    assert how == sorted(how, reverse=True)
    assert counted(metrics, "no_ranker") == 1


def test_second_rung_is_what_the_segment_likes(
    tagged: Feed, aged: None, world: World, release: ResidentRelease, metrics: FeedMetrics
) -> None:
    liked = {"30s": {"i004": 9.0, "i002": 5.0}, "60s": {"i001": 1.0}}
    world = opened(
        world,
        without(release.bundle, NoModel),
        goods=Goods(segments=lambda tag: liked if tag == "age" else {}),
        fallback=FallbackFile(segment="age"),
    )
    answer = ask(tagged, world)
    assert answer["degraded"] == ["no_retrieval", "no_ranker"]
    assert ids(answer)[:3] == ["i004", "i002", "i000"], "then in the order of the pool"
    assert ids(ask(tagged, world, "nobody"))[:2] == ["i059", "i058"], "of all shoppers"
    assert counted(metrics, "no_retrieval") == 2


def test_last_rung_is_the_order_of_the_pool(
    feed: Feed, world: World, release: ResidentRelease, metrics: FeedMetrics
) -> None:
    table = replace(release.bundle.items, statistics=np.zeros_like(release.bundle.items.statistics))
    bundle = without(release.bundle, NoModel, items=table)
    answer = ask(feed, opened(world, bundle, pool=PoolFile(items=("i009", "i001", "i030"))))
    assert answer["degraded"] == ["no_retrieval", "no_popularity", "no_ranker"]
    assert ids(answer) == ["i009", "i001", "i030"]
    assert counted(metrics, "no_popularity") == 1


def test_a_remembered_fallback_is_told_on_each_page(
    feed: Feed, world: World, release: ResidentRelease, metrics: FeedMetrics
) -> None:
    table = replace(release.bundle.items, statistics=np.zeros_like(release.bundle.items.statistics))
    nothing = SourceOverrides(**dict.fromkeys(SourceQuotas.model_fields, 0))
    world = opened(
        world,
        replace(release.bundle, items=table),
        blocks={"main": Block("", 10, sources=nothing)},
    )
    first = ask(feed, world)
    more = ask(feed, world, blocks=[{"page_token": first["blocks"][0]["next_page_token"]}])
    assert first["degraded"] == more["degraded"] == ["no_popularity"]
    assert counted(metrics, "no_popularity") == 2


def test_every_source_has_a_reason_to_tell() -> None:
    assert set(SOURCES) <= set(REASONS)
