"""`POST /v1/events`: each event judged on its own, once, durably, and attributed if it can be."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianmian.contracts.api import Problem
from qianmian.contracts.event_api import EventsResponse
from qianmian.events.event import StoredEvent
from qianmian.events.store import BEGINNING
from serving.http import build_app
from serving.ingest.route import MAX_EVENTS_BODY
from serving.service import VenueService
from tests.serving import tiny
from tests.serving.shop import service

EVENTS = "/v1/events"
Send = Callable[..., httpx.Response]


@pytest.fixture
def shop(tmp_path: Path, release_home: Path) -> VenueService:
    (tmp_path / tiny.DATASET).mkdir()
    (tmp_path / tiny.DATASET / "releases").symlink_to(release_home)
    return service(tmp_path)


@pytest.fixture(scope="module")
def release_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("releases") / "releases"
    tiny.publish(home)
    return home


@pytest.fixture
def send(shop: VenueService) -> Send:
    return sender(shop)


def sender(shop: VenueService) -> Send:
    app = build_app(shop)

    def post(content: Any, path: str = EVENTS) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                body = content if isinstance(content, bytes) else json.dumps(content)
                return await client.post(path, content=body)

        return asyncio.run(go())

    return post


def at(seconds: float = 0.0) -> str:
    return datetime.fromtimestamp(tiny.NOW + seconds, tz=UTC).isoformat()


def event(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "event_type": "click",
        "timestamp": at(),
        "user_id": "anna",
        "item_id": tiny.item_id(number),
        **fields,
    }


def told(response: httpx.Response) -> tuple[int, int, list[int]]:
    assert response.status_code == 202, response.text
    answer = EventsResponse.model_validate_json(response.content)
    return answer.accepted, answer.duplicates, [one.index for one in answer.rejected]


def stored(shop: VenueService) -> list[StoredEvent]:
    return shop.engine.events.read(BEGINNING, 1000)[0]


def counted(send: Send, shop: VenueService, name: str) -> float:
    registry = shop.metrics.registry
    value = registry.get_sample_value(*_sample(name))
    return value or 0.0


def _sample(name: str) -> tuple[str, dict[str, str]]:
    metric, _, label = name.partition("/")
    if not label:
        return metric, {}
    key, _, value = label.partition("=")
    return metric, {key: value}


def test_an_event_is_stored_as_it_was_sent(send: Send, shop: VenueService) -> None:
    full = event(
        visitor_id="d-7",
        session_id="s",
        page_view_id="v",
        order_id="o",
        venue_id="sale",
        block_id="main",
        position=3,
        quantity=2,
        value=4.5,
        list_value=5,
        currency="EUR",
        coupon_id="c-9",
        shared_by="ben",
    )
    assert told(send({"events": [full, event(2, user_id=None, visitor_id="d-8")]})) == (2, 0, [])
    first, second = stored(shop)
    expected = {name: value for name, value in full.items() if name != "timestamp"}
    assert {name: getattr(first, name) for name in expected} == expected
    assert (first.timestamp, first.received_at) == (tiny.NOW, tiny.NOW)
    assert (first.subject_id, second.subject_id) == ("anna", "visitor:d-8")
    assert (first.attributed, first.quarantine) == ("none", None)


def test_an_event_sent_again_has_the_effect_of_once(send: Send, shop: VenueService) -> None:
    assert told(send({"events": [event(1), event(2), event(1)]})) == (2, 1, [])
    assert told(send({"events": [event(2), event(3)]})) == (1, 1, [])
    again = service(shop.settings.home)  # as after a restart
    assert told(sender(again)({"events": [event(3), event(4)]})) == (1, 1, [])
    assert [one.event_id for one in stored(again)] == ["e1", "e2", "e3", "e4"]
    assert counted(send, shop, "qianmian_events_duplicate_total") == 2


def test_each_event_is_judged_on_its_own(send: Send, shop: VenueService) -> None:
    bad: list[Any] = [
        event(0, event_type="clik"),
        event(1),
        {"event_id": "no more"},
        event(2, position=0, usr="x"),
        7,
        event(3, timestamp=at(300)),
        event(4, timestamp=at(301)),
        event(5, timestamp=at(-7 * 86_400)),
        event(6, timestamp=at(-7 * 86_400 - 1)),
        event(7, user_id=None),
        event(8, user_id="visitor:x"),
        event(9, timestamp="2017-12-05T05:00:00"),
        event(10, quantity=1e400),
        event(11),
        event(12, value=1e11),
        event(13, value=1e10),
        event(14, value=5000, currency="JPY"),
    ]
    response = send(json.dumps({"events": bad}).encode())
    assert told(response) == (5, 0, [0, 2, 3, 4, 6, 8, 9, 10, 11, 12, 14, 16])
    assert sorted(one.event_id for one in stored(shop)) == ["e1", "e11", "e13", "e3", "e5"]
    errors = {one["index"]: one for one in response.json()["rejected"]}
    assert errors[0]["event_id"] == "e0"
    assert "events[0].event_type='clik': expected 'impression', 'click'" in errors[0]["error"]
    assert "did you mean 'click'" in errors[0]["error"]
    assert "events[2].event_type: missing" in errors[2]["error"]
    assert "events[3].position=0: expected" in errors[3]["error"]
    assert "events[3].usr='x': unknown key" in errors[3]["error"]
    assert errors[4]["event_id"] is None
    assert "at most 300 s ahead of the service's clock, found 301 s" in errors[6]["error"]
    assert "at most 7 days old" in errors[8]["error"]
    assert "a user_id or a visitor_id" in errors[9]["error"]
    assert "does not begin with 'visitor:'" in errors[10]["error"]
    assert "timezone" in errors[11]["error"]
    assert "events[14].value=100000000000.0: expected" in errors[14]["error"]
    assert "currency='JPY': expected 'EUR', the data set's; convert" in errors[16]["error"]
    assert counted(send, shop, "qianmian_events_rejected_total/reason=invalid") == 10
    assert counted(send, shop, "qianmian_events_rejected_total/reason=too_old") == 1
    assert counted(send, shop, "qianmian_events_rejected_total/reason=in_the_future") == 1


def test_nothing_but_bad_events_is_no_error_of_the_request(send: Send) -> None:
    assert told(send({"events": [{}, 3]})) == (0, 0, [0, 1])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"\xff", "body"),
        (b'{"events": []}', "events"),
        (b'{"events": {}}', "events"),
        (b'{"event": [{}]}', "events"),
        (b'{"events": "\\ud800"}', "body"),
    ],
)
def test_a_body_that_is_no_batch_is_refused(send: Send, body: bytes, field: str) -> None:
    response = send(body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    Problem.model_validate_json(response.content)
    assert response.json()["errors"][0]["field"] == field


def test_500_events_go_and_one_more_does_not(send: Send) -> None:
    assert told(send({"events": [event(n) for n in range(500)]}))[0] == 500
    assert send({"events": [event(n) for n in range(501)]}).status_code == 422


def test_the_body_has_a_limit(send: Send) -> None:
    response = send(b" " * (MAX_EVENTS_BODY + 1))
    assert response.status_code == 413
    token = "x" * 8_000
    events = [event(n, attribution_token=token) for n in range(500)]
    assert told(send({"events": events})) == (500, 0, [])


def test_the_unknown_is_kept_and_counted(send: Send, shop: VenueService) -> None:
    events = [event(1, item_id="new"), event(2, venue_id="new"), event(3, venue_id="sale")]
    assert told(send({"events": events})) == (3, 0, [])
    assert [one.quarantine for one in stored(shop)] == ["unknown_item", "unknown_venue", None]
    assert counted(send, shop, "qianmian_events_quarantined_total/reason=unknown_item") == 1
    assert counted(send, shop, "qianmian_events_quarantined_total/reason=unknown_venue") == 1


def page(send: Send, venue: str = "sale") -> tuple[dict[str, Any], str]:
    question = {"user": {"id": "anna"}, "page_view_id": "v1", "blocks": [{"page_size": 3}]}
    answer = send(question, f"/v1/venues/{venue}:recommend").json()
    return answer, answer["attribution_token"]


def test_an_event_is_attributed_by_its_token(send: Send, shop: VenueService) -> None:
    answer, token = page(send)
    item = answer["blocks"][0]["items"][1]
    click = event(item_id=item["item_id"], attribution_token=token, position=9, block_id="x")
    assert told(send({"events": [click]})) == (1, 0, [])
    (one,) = stored(shop)
    assert one.attributed == "token"
    assert one.recommendation_id == answer["recommendation_id"]
    assert (one.venue_id, one.block_id, one.position) == ("sale", "main", 2)
    assert (one.release, one.phase, one.page_view_id) == (answer["release"], "peak", "v1")
    assert (one.propensity, one.slot, one.arms) == (item["propensity"], "organic", ())
    assert counted(send, shop, "qianmian_events_attributed_total/attributed=token") == 1


def test_a_token_that_does_not_hold_is_counted_and_the_event_kept(
    send: Send, shop: VenueService
) -> None:
    answer, token = page(send)
    shown = answer["blocks"][0]["items"][0]["item_id"]
    changed = token[:60] + ("A" if token[60] != "A" else "B") + token[61:]
    given = {
        "forged": [
            {"attribution_token": changed},
            {"attribution_token": "nothing"},
            {"attribution_token": ""},
        ],
        "foreign": [
            {"attribution_token": token, "venue_id": "all"},
            {"attribution_token": token, "item_id": "i001"},
            {"attribution_token": "AAAA" + token[4:]},
        ],
    }
    events = [{**event(0, item_id=shown), **fields} for kind in given.values() for fields in kind]
    events = [{**one, "event_id": f"e{n}"} for n, one in enumerate(events)]
    assert told(send({"events": events})) == (6, 0, [])
    assert [one.attributed for one in stored(shop)] == ["forged"] * 3 + ["foreign"] * 3
    assert {one.recommendation_id for one in stored(shop)} == {None}
    assert counted(send, shop, "qianmian_events_attributed_total/attributed=forged") == 3
    assert counted(send, shop, "qianmian_events_attributed_total/attributed=foreign") == 3


def test_an_old_token_attributes_nothing(send: Send, shop: VenueService, monkeypatch) -> None:
    answer, token = page(send)
    shown = answer["blocks"][0]["items"][0]["item_id"]
    for number, days in enumerate((6.9, 7.1)):
        monkeypatch.setattr(shop, "now", lambda days=days: tiny.NOW + days * 86_400)
        click = event(number, item_id=shown, attribution_token=token)
        click["timestamp"] = at(days * 86_400)
        assert told(send({"events": [click]})) == (1, 0, [])
    assert [one.attributed for one in stored(shop)] == ["token", "expired"]


def test_tokens_survive_a_rotation_and_die_with_their_key(send: Send, shop: VenueService) -> None:
    answer, token = page(send)
    shown = answer["blocks"][0]["items"][0]["item_id"]
    keys = shop.settings.keys()
    first = keys.ring.active.id
    keys.rotate(at=datetime.now(UTC), retire_before=datetime(2000, 1, 1, tzinfo=UTC))
    shop.refresh()
    assert page(send)[1][:6] != token[:6]  # signed by the new key
    assert told(send({"events": [event(1, item_id=shown, attribution_token=token)]}))[0] == 1
    keys.retire(first)
    shop.refresh()
    assert told(send({"events": [event(2, item_id=shown, attribution_token=token)]}))[0] == 1
    assert [one.attributed for one in stored(shop)] == ["token", "expired"]


def test_a_retired_key_is_not_remembered_when_another_token_had_the_ring_read_anew(
    send: Send, shop: VenueService
) -> None:
    answer, token = page(send)
    shown = answer["blocks"][0]["items"][0]["item_id"]
    click = {**event(1, item_id=shown), "attribution_token": token}
    assert told(send({"events": [click]}))[0] == 1
    keys = shop.settings.keys()
    first = keys.ring.active.id
    keys.rotate(at=datetime.now(UTC), retire_before=datetime(2000, 1, 1, tzinfo=UTC))
    keys.retire(first)
    unknown = {**event(2, item_id=shown), "attribution_token": "AAAA" + token[4:]}
    assert told(send({"events": [unknown, {**click, "event_id": "e3"}]}))[0] == 2
    assert [one.attributed for one in stored(shop)] == ["token", "foreign", "expired"]


def test_a_log_that_cannot_be_written_answers_503_and_keeps_nothing(
    send: Send, shop: VenueService
) -> None:
    path = shop.settings.workspace().events / "events.db"
    shop.engine.events._file._busy = 0.05
    with sqlite3.connect(path) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        response = send({"events": [event(1)]})
    blocker.close()
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert Problem.model_validate_json(response.content).type.endswith("not-written")
    assert stored(shop) == []
    assert counted(send, shop, "qianmian_events_unwritten_total") == 1
    assert told(send({"events": [event(1)]})) == (1, 0, [])


def test_requests_at_once_share_a_write_and_each_hears_its_own(shop: VenueService) -> None:
    app = build_app(shop)

    async def go() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            bodies = [{"events": [event(n), event(n + 1)]} for n in range(40)]
            return await asyncio.gather(*(client.post(EVENTS, json=body) for body in bodies))

    answers = [told(response) for response in asyncio.run(go())]
    assert sum(accepted for accepted, _, _ in answers) == 41
    assert sum(duplicates for _, duplicates, _ in answers) == 39
    assert {one.event_id for one in stored(shop)} == {f"e{n}" for n in range(41)}
    writes = shop.metrics.registry.get_sample_value("qianmian_events_append_size_count")
    assert writes is not None
    assert writes < 40


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["event_id", "event_type", "timestamp", "user_id", "item_id", "position", "value", "quantity"]
)


@given(
    events=st.lists(
        JSON | st.dictionaries(FIELDS, JSON).map(lambda changed: event(1, **changed)), max_size=6
    )
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_batch_is_answered_and_every_event_accounted_for(
    send: Send, events: list[Any]
) -> None:
    response = send(json.dumps({"events": events}).encode("utf-8", "surrogatepass"))
    assert response.status_code in {202, 422}
    if response.status_code == 202:
        accepted, duplicates, rejected = told(response)
        assert accepted + duplicates + len(rejected) == len(events)
