"""The request path on a real tiny release."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianmian.contracts.api import RECOMMEND_REQUEST, RecommendResponse
from qianmian.contracts.events import EventType
from qianmian.errors import FieldError, VenueNotFoundError
from qianmian.experiments import Experiments, FeedParams, Layer
from qianmian.experiments.schema import ExperimentFile
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.sources import SourceQuotas
from qianmian.venues.pool import PoolFile
from serving.feed.journey import Feed
from serving.feed.metrics import FeedMetrics
from serving.feed.resident import Goods, ResidentRelease, World
from serving.feed.tokens import Placed, Signer
from serving.feed.users import Users
from tests.serving import tiny
from tests.serving.conftest import VENUES

Answer = dict


def ask(feed: Feed, world: World, user: str | None = "anna", venue: str = "all", **body) -> Answer:
    shopper = {} if user is None else {"id": user}
    request = RECOMMEND_REQUEST.validate_json(json.dumps({"user": shopper, **body}))
    answer = feed.recommend(world, venue, request)
    RecommendResponse.model_validate_json(orjson.dumps(answer))
    return answer


def ids(answer: Answer, block: int = 0) -> list[str]:
    return [item["item_id"] for item in answer["blocks"][block]["items"]]


def test_bought_items_come_first_in_the_known_order(feed: Feed, world: World) -> None:
    answer = ask(feed, world)
    # what anna bought, the popular before the less popular, then what is popular
    assert ids(answer)[:4] == ["i033", "i021", "i012", "i003"]
    first = answer["blocks"][0]["items"][0]
    assert (first["source"], first["reason"]) == ("repeat", "you_chose_it_before")
    assert (first["position"], first["propensity"], first["slot"]) == (1, 1.0, "organic")
    assert first["item"] == {
        "title": "Item 33",
        "category": "bread",
        "brand": "brand 1",
        "price": 4.3,
        "base_price": 5.3,
        "discount": round(1 - 4.3 / 5.3, 4),
        "coupon_id": None,
    }
    assert answer["degraded"] == []
    assert answer["venue"]["phase"] == "open"
    scores = [item["score"] for item in answer["blocks"][0]["items"]]
    assert scores == sorted(scores, reverse=True)


def test_an_item_shows_the_coupon_of_this_venue(feed: Feed, world: World) -> None:
    def coupons(venue: str) -> dict[str, str | None]:
        items = ask(feed, world, venue=venue)["blocks"][0]["items"]
        return {item["item_id"]: item["item"]["coupon_id"] for item in items}

    shown = coupons("sale")
    assert set(shown.values()) == {None, "c-9"}
    with_coupon = next(item for item, coupon in shown.items() if coupon)
    assert coupons("all").get(with_coupon) is None


def test_page_size_is_the_venues_unless_asked(feed: Feed, world: World) -> None:
    assert len(ids(ask(feed, world))) == 10
    assert len(ids(ask(feed, world, blocks=[{"page_size": 3}]))) == 3


def test_different_shoppers_differ_and_the_same_repeats(feed: Feed, world: World) -> None:
    anna, again, ben = (ids(ask(feed, world, user)) for user in ("anna", "anna", "ben"))
    assert anna == again
    assert anna != ben


@pytest.mark.parametrize("user", [None, "nobody"])
def test_cold_shopper_gets_a_popular_page(feed: Feed, world: World, user: str | None) -> None:
    answer = ask(feed, world, user)
    assert ids(answer)[0] == "i059"
    assert answer["degraded"] == []


def test_venue_shows_only_its_pool(feed: Feed, world: World) -> None:
    answer = ask(feed, world, venue="sale", blocks=[{"page_size": 100}])
    assert set(ids(answer)) <= {tiny.item_id(n) for n in range(0, 60, 2)}
    assert len(ids(answer)) == 30
    assert answer["blocks"][0]["next_page_token"] is None
    assert answer["venue"]["phase"] == "peak"


def test_unknown_venue_is_named(feed: Feed, world: World) -> None:
    with pytest.raises(VenueNotFoundError, match="unknown venue 'sail', did you mean 'sale'"):
        ask(feed, world, venue="sail")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    size=st.integers(1, 40),
    user=st.sampled_from(["anna", "ben", "nobody"]),
    quotas=st.sampled_from(
        [SourceQuotas(), SourceQuotas(repeat=2, two_tower=3, trending=2, new=0)]
    ),
    venue=st.sampled_from(["all", "sale"]),
)
def test_paging_shows_every_item_of_the_pool_once(
    feed: Feed,
    make_world: Callable[..., World],
    size: int,
    user: str,
    quotas: SourceQuotas,
    venue: str,
) -> None:
    world = make_world(Experiments((), FeedParams(sources=quotas)))
    seen: list[str] = []
    positions: list[int] = []
    token: str | None = None
    while True:
        block = {"page_size": size, "page_token": token}
        answer = ask(feed, world, user, venue, blocks=[block])
        seen += ids(answer)
        positions += [item["position"] for item in answer["blocks"][0]["items"]]
        token = answer["blocks"][0]["next_page_token"]
        if token is None:
            break
        assert len(ids(answer)) == size
    assert len(seen) == len(set(seen)) == (60 if venue == "all" else 30)
    assert positions == list(range(1, len(seen) + 1))


def test_blocks_share_no_item_on_any_page(feed: Feed, world: World) -> None:
    blocks = [{"block_id": "a", "page_size": 7}, {"block_id": "b", "page_size": 7}]
    first = ask(feed, world, blocks=blocks)
    second = ask(
        feed,
        world,
        blocks=[
            {**block, "page_token": answered["next_page_token"]}
            for block, answered in zip(blocks, first["blocks"], strict=True)
        ],
    )
    shown = [i for answer in (first, second) for block in (0, 1) for i in ids(answer, block)]
    assert len(shown) == len(set(shown)) == 28


def test_exclusions_and_filters_hold_and_are_counted(feed: Feed, world: World) -> None:
    block = {
        "exclude_item_ids": ["i033", "i059", "unheard of"],
        "filter": {"category": ["bread", "no such"], "price_max": 5.0},
        "page_size": 50,
    }
    answer = ask(feed, world, blocks=[block], params={"explain": True})
    shown = ids(answer)
    # bread is every third item, up to number 40 by price; 33 is excluded
    assert sorted(shown) == [f"i{n:03d}" for n in range(0, 41, 3) if n != 33]
    removed = answer["blocks"][0]["explain"]["removed"]
    assert removed["excluded"] == 2
    assert removed["filtered"] > 0
    assert all(item["item"]["category"] == "bread" for item in answer["blocks"][0]["items"])


def test_item_without_a_price_meets_no_price(feed: Feed, world: World) -> None:
    answer = ask(feed, world, blocks=[{"filter": {"price_min": 0.0}, "page_size": 100}])
    assert "i007" not in ids(answer)
    assert len(ids(answer)) == 59


def test_explain_says_how_a_score_came_about(feed: Feed, world: World) -> None:
    answer = ask(feed, world, params={"explain": True})
    for item in answer["blocks"][0]["items"]:
        how = item["explain"]
        assert how["weights"] == {"click": pytest.approx(0.1), "order": 1.0}
        total = sum(how["weights"][a] * p for a, p in how["probabilities"].items())
        assert item["score"] == pytest.approx(total, rel=1e-5)
    candidates = answer["blocks"][0]["explain"]["candidates"]
    assert candidates["repeat"] == 4
    assert "explain" not in ask(feed, world)["blocks"][0]


def test_phase_changes_the_weights(feed: Feed, world: World) -> None:
    answer = ask(feed, world, venue="sale", params={"explain": True})
    weights = answer["blocks"][0]["items"][0]["explain"]["weights"]
    assert weights == {"click": 0.0, "order": 1.0}


def test_attribution_token_tells_what_was_shown_where(
    feed: Feed, world: World, signer: Signer
) -> None:
    answer = ask(
        feed,
        world,
        page_view_id="view 1",
        blocks=[{"block_id": "a", "page_size": 3}, {"block_id": "b", "page_size": 3}],
    )
    told = signer.open_attribution(answer["attribution_token"])
    assert told.recommendation_id == answer["recommendation_id"]
    assert (told.venue_id, told.release) == ("all", answer["release"])
    assert told.page_view_id == "view 1"
    for block, name in ((0, "a"), (1, "b")):
        for item in answer["blocks"][block]["items"]:
            place = Placed(name, item["position"], item["propensity"], item["slot"])
            assert told.place_of(item["item_id"]) == place
    assert told.place_of("i001") is None


@pytest.mark.parametrize(
    "bad",
    ["", "x", "é", "AAAA", "A" * 200, " " * 100],
)
def test_bad_page_token_names_its_field(feed: Feed, world: World, bad: str) -> None:
    with pytest.raises(FieldError, match=r"blocks\[1\].page_token=.*expected a page token"):
        ask(feed, world, blocks=[{"block_id": "a"}, {"block_id": "b", "page_token": bad}])


def test_page_token_belongs_to_its_venue_and_block(feed: Feed, world: World) -> None:
    token = ask(feed, world)["blocks"][0]["next_page_token"]
    with pytest.raises(FieldError, match="a token of block 'main' of venue 'sale'"):
        ask(feed, world, venue="sale", blocks=[{"page_token": token}])
    with pytest.raises(FieldError, match="a token of block 'other' of venue 'all'"):
        ask(feed, world, blocks=[{"block_id": "other", "page_token": token}])
    attribution = ask(feed, world)["attribution_token"]
    with pytest.raises(FieldError, match="expected a page token of this service"):
        ask(feed, world, blocks=[{"page_token": attribution}])


def test_blocks_need_names_of_their_own(feed: Feed, world: World) -> None:
    with pytest.raises(FieldError, match=r"blocks\[1\].block_id='main'"):
        ask(feed, world, blocks=[{}, {}])


# -- experiments ----------------------------------------------------------------------------------


def sources_experiment(**overrides: object) -> Experiments:
    file = ExperimentFile.model_validate(
        {
            "experiment": "discovery",
            "layer": "sources",
            "salt": "s",
            "arms": [
                {"name": "control", "share": 0.5},
                {"name": "treated", "share": 0.5, "overrides": overrides},
            ],
        }
    )
    return Experiments([Layer(file)], FeedParams())


def test_arms_give_different_pages_and_stand_in_the_answer(
    feed: Feed, make_world: Callable[..., World]
) -> None:
    quotas = {"repeat": 0, "neighbours": 0, "factors": 0, "two_tower": 5, "trending": 0, "new": 5}
    world = make_world(sources_experiment(sources=quotas))
    by_arm: dict[str, list[str]] = {}
    for n in range(40):
        first, second = (ask(feed, world, f"u{n}") for _ in range(2))
        assert ids(first) == ids(second)
        (assigned,) = first["experiments"]
        assert assigned == {**assigned, "layer": "sources", "experiment": "discovery"}
        if assigned["arm"] == "control":
            assert ids(first) == ids(ask(feed, make_world(), f"u{n}"))
        else:
            assert ids(first) != ids(ask(feed, make_world(), f"u{n}"))
        by_arm.setdefault(assigned["arm"], []).append(f"u{n}")
    assert min(len(users) for users in by_arm.values()) > 10


def test_arm_may_answer_from_another_release(
    feed: Feed, make_world: Callable[..., World], release: ResidentRelease
) -> None:
    other = replace(release, id="another")
    experiments = sources_experiment(release="candidate")
    world = make_world(experiments, candidate=other)
    answers = [ask(feed, world, f"u{n}") for n in range(20)]
    for answer in answers:
        arm = answer["experiments"][0]["arm"]
        assert answer["release"] == ("another" if arm == "treated" else release.id)
    without = [ask(feed, make_world(experiments), f"u{n}") for n in range(20)]
    reasons = {(a["experiments"][0]["arm"], *a["degraded"]) for a in without}
    assert reasons == {("control",), ("treated", "release_unavailable")}


def test_page_goes_on_over_a_change_of_release_without_repeating(
    feed: Feed, world: World, make_world: Callable[..., World], release: ResidentRelease
) -> None:
    first = ask(feed, world)
    later = make_world(live=replace(release, id="newer"))
    block = {"page_token": first["blocks"][0]["next_page_token"]}
    second = ask(feed, later, blocks=[block])
    assert not set(ids(first)) & set(ids(second))
    assert second["degraded"] == ["page_order_changed"]


# -- the ladder -----------------------------------------------------------------------------------


class Broken(Bundle):
    """A bundle whose parts fail as a bad file or a full memory would make them fail."""

    __slots__ = ()

    def score(self, *_: object) -> np.ndarray:
        raise RuntimeError("ranker is gone")


class MoreBroken(Broken):
    __slots__ = ()

    def user_vector(self, *_: object) -> np.ndarray:
        raise RuntimeError("user tower is gone")


def broken(release: ResidentRelease, kind: type[Bundle]) -> ResidentRelease:
    whole = release.bundle
    parts = {name: getattr(whole, name) for name in Bundle.__dataclass_fields__}
    return replace(release, bundle=kind(**parts))


def test_page_without_a_ranker_follows_retrieval(
    feed: Feed, make_world: Callable[..., World], release: ResidentRelease, metrics: FeedMetrics
) -> None:
    answer = ask(feed, make_world(live=broken(release, Broken)), params={"explain": True})
    assert answer["degraded"] == ["no_ranker"]
    assert len(ids(answer)) == 10
    items = answer["blocks"][0]["items"]
    retrieval = [item["explain"]["retrieval_score"] for item in items]
    assert retrieval == sorted(retrieval, reverse=True)
    assert items[0]["explain"]["probabilities"] == {}
    counted = metrics.registry.get_sample_value("qianmian_degraded_total", {"reason": "no_ranker"})
    assert counted == 1


def test_page_without_any_model_is_the_popular_one(
    feed: Feed, make_world: Callable[..., World], release: ResidentRelease
) -> None:
    answer = ask(feed, make_world(live=broken(release, MoreBroken)), venue="sale")
    assert answer["degraded"] == ["no_retrieval", "no_ranker"]
    assert ids(answer)[:3] == ["i058", "i056", "i054"]
    assert {item["source"] for item in answer["blocks"][0]["items"]} == {"fallback"}


def test_page_without_the_feature_store_is_the_cold_one(
    world: World, signer: Signer, metrics: FeedMetrics
) -> None:
    def unreachable(_: str) -> None:
        raise ConnectionError("no online store")

    feed = Feed(
        users=Users(unreachable, size=4, ttl=9.0),
        signer=signer,
        metrics=metrics,
        new_id=lambda: "r",
    )
    answer = ask(feed, world)
    assert answer["degraded"] == ["user_features_unavailable"]
    assert ids(answer) == ids(ask(feed, world, None))


def test_venue_of_unknown_items_is_empty_and_says_so(
    feed: Feed, make_world: Callable[..., World], release: ResidentRelease
) -> None:
    bundle = release.bundle
    venue = replace(VENUES["all"], pool=PoolFile(items=("x", "y")))
    empty = ResidentRelease.build("e", bundle, {"all": venue}, Goods())
    answer = ask(feed, make_world(live=empty))
    assert ids(answer) == []
    assert answer["degraded"] == ["empty_pool"]
    assert answer["blocks"][0]["next_page_token"] is None


def test_not_a_number_sinks_below_every_score(
    feed: Feed, make_world: Callable[..., World], release: ResidentRelease
) -> None:
    class Doubtful(Bundle):
        __slots__ = ()

        def describe(self, user, candidates, now):
            features = np.array(super().describe(user, candidates, now))
            features[candidates.items == 33] = np.nan
            return features

    answer = ask(
        feed, make_world(live=broken(release, Doubtful)), blocks=[{"page_size": 100}],
        params={"explain": True},
    )  # fmt: skip
    assert len(ids(answer)) == 60
    assert ids(answer)[-1] == "i033"
    assert answer["blocks"][0]["explain"]["removed"] == {"unscored": 1}
    assert answer["degraded"] == ["unscored_candidates"]


def test_objective_that_fits_no_action_counts_all_alike(
    feed: Feed, world: World, release: ResidentRelease
) -> None:
    venue = replace(world.venues["all"], objective={"cart": 1.0})
    answer = ask(feed, replace(world, venues={"all": venue}), params={"explain": True})
    assert answer["degraded"] == ["objective_unmatched"]
    weights = answer["blocks"][0]["items"][0]["explain"]["weights"]
    assert weights == {"click": 1.0, "order": 1.0}


def test_a_page_asked_again_says_and_shows_the_same(
    feed: Feed, make_world: Callable[..., World], release: ResidentRelease
) -> None:
    described: list[int] = []

    class Counting(Bundle):
        __slots__ = ()

        def describe(self, user, candidates, now):
            described.append(len(candidates))
            return super().describe(user, candidates, now)

    params = FeedParams(candidates_ranked=5, objective={EventType.CLICK: 1.0})
    world = make_world(Experiments((), params), live=broken(release, Counting))
    first = ask(feed, world, params={"explain": True})
    second = ask(feed, world, params={"explain": True})
    assert first["blocks"][0]["items"] == second["blocks"][0]["items"]
    assert first["blocks"][0]["explain"] == second["blocks"][0]["explain"]
    assert described == [5]


def test_candidates_beyond_the_limit_are_counted(
    feed: Feed, make_world: Callable[..., World]
) -> None:
    params = FeedParams(candidates_ranked=5, objective={EventType.CLICK: 1.0})
    answer = ask(feed, make_world(Experiments((), params)), params={"explain": True})
    how = answer["blocks"][0]["explain"]
    assert how["removed"]["beyond_limit"] == sum(how["candidates"].values()) - 5
    assert [item["source"] for item in answer["blocks"][0]["items"]].count("fallback") == 5
