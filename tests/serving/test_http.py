"""The HTTP door: every answer fits its schema, every refusal is a problem document."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

from qianmian.contracts.api import Problem, Readiness, RecommendResponse, UserList, VenueList
from serving.http import MAX_BODY, build_app
from serving.service import VenueService
from tests.serving import tiny
from tests.serving.shop import service

RECOMMEND = "/v1/venues/all:recommend"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> VenueService:
    home = tmp_path_factory.mktemp("home")
    tiny.publish(home / tiny.DATASET / "releases")
    return service(home)


@pytest.fixture(scope="module")
def ask(shop: VenueService):
    app = build_app(shop)

    def send(method: str, path: str, content: Any = None, **options: Any) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                body = content if isinstance(content, bytes | None) else json.dumps(content)
                return await client.request(method, path, content=body, **options)

        return asyncio.run(go())

    return send


def faults(response: httpx.Response, status: int = 422) -> list[dict[str, Any]]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    document = Problem.model_validate_json(response.content)
    assert document.status == status
    return response.json()["errors"]


def test_a_page(ask) -> None:
    response = ask("POST", RECOMMEND, {"user": {"id": "anna"}, "blocks": [{"page_size": 3}]})
    assert response.status_code == 200
    answer = RecommendResponse.model_validate_json(response.content)
    assert [item.item_id for item in answer.blocks[0].items] == ["i033", "i021", "i012"]


def test_an_empty_question_gets_a_page(ask) -> None:
    assert ask("POST", RECOMMEND, {}).status_code == 200


def test_unknown_venue(ask) -> None:
    response = ask("POST", "/v1/venues/sail:recommend", {})
    faults(response, 404)
    assert response.json()["type"] == "urn:qianmian:problem:unknown-venue"
    assert "did you mean 'sale'" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field", "expected", "remedy"),
    [
        (b"", "body", "a JSON object", "send a JSON object"),
        (b"{", "body", "a JSON object", "send a JSON object"),
        (b"[]", "body", "an object", "send a JSON object"),
        (b"\xff\xfe", "body", "a JSON object", "send a JSON object"),
        (b'{"usr": 1}', "usr", "one of blocks, context", "remove usr, did you mean 'user'?"),
        (b'{"user": {"id": 7}}', "user.id", "a valid string", "set user.id"),
        (b'{"user": null}', "user", "an object", "set user"),
        (b'{"user": {"id": ""}}', "user.id", "at least 1 character", "set user.id"),
        (
            b'{"blocks": [{}, {"page_size": 0}]}',
            "blocks[1].page_size",
            "greater than or equal to 1",
            "set blocks[1].page_size",
        ),
        (b'{"blocks": [{"page_size": 101}]}', "blocks[0].page_size", "less than or", "set"),
        (b'{"blocks": [{"page_size": "9"}]}', "blocks[0].page_size", "a valid integer", "set"),
        (b'{"blocks": []}', "blocks", "at least 1 item", "set blocks"),
        (b'{"blocks": [{"page_token": "x"}]}', "blocks[0].page_token", "a page token", "unchanged"),
        (b'{"blocks": [{}, {}]}', "blocks[1].block_id", "a name that no other", "its own"),
        (
            b'{"blocks": [{"filter": {"price_min": 2, "price_max": 1}}]}',
            "blocks[0].filter",
            "price_min <= price_max",
            "set",
        ),
        (b'{"context": {"a": [1]}}', "context.a", "string or a valid integer or", "set context.a"),
        (b'{"params": {"explian": true}}', "params.explian", "one of explain", "'explain'"),
    ],
)
def test_refused_field_is_named(ask, body: bytes, field: str, expected: str, remedy: str) -> None:
    (fault,) = faults(ask("POST", RECOMMEND, body))
    assert fault["field"] == field
    assert expected in fault["expected"]
    assert remedy in fault["remedy"]


def test_all_faults_are_listed(ask) -> None:
    body = {"usr": 1, "blocks": [{"page_size": 0}, {"pagesize": 3}]}
    assert [fault["field"] for fault in faults(ask("POST", RECOMMEND, body))] == [
        "blocks[0].page_size",
        "blocks[1].pagesize",
        "usr",
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"blocks": [{"block_id": f"b{n}"} for n in range(9)]},
        {"blocks": [{"exclude_item_ids": ["x"] * 501}]},
        {"blocks": [{"page_token": "x" * 20_000}]},
        {"context": {str(n): n for n in range(51)}},
    ],
)
def test_limits_hold(ask, body: dict[str, Any]) -> None:
    assert len(faults(ask("POST", RECOMMEND, body))) == 1


def test_a_huge_body_is_refused(ask) -> None:
    faults(ask("POST", RECOMMEND, b" " * (MAX_BODY + 1)), 413)


def test_unknown_route_and_method(ask) -> None:
    faults(ask("GET", "/v2/venues"), 404)
    response = ask("GET", RECOMMEND)
    faults(response, 405)
    assert response.headers["allow"] == "POST"
    assert "expected POST" in response.json()["detail"]


def test_lists_for_the_page(ask) -> None:
    venues = VenueList.model_validate_json(ask("GET", "/v1/venues").content).venues
    assert [(venue.id, venue.phase) for venue in venues] == [("all", "open"), ("sale", "peak")]
    users = UserList.model_validate_json(ask("GET", "/v1/users?limit=2").content).users
    assert [user.id for user in users] == ["anna", "ben"]


@pytest.mark.parametrize(
    "limit", ["0", "201", "x", "-1", "1.5", "", "9" * 5000, f"{1:09}{0:05000}", "²"]
)
def test_bad_limit_is_named(ask, limit: str) -> None:
    (fault,) = faults(ask("GET", "/v1/users", params={"limit": limit}))
    assert fault["field"] == "limit"


def test_health_readiness_and_metrics(ask) -> None:
    assert ask("GET", "/healthz").text == "ok\n"
    ready = ask("GET", "/readyz")
    assert ready.status_code == 200
    assert Readiness.model_validate_json(ready.content).ready
    ask("POST", RECOMMEND, {"user": {"id": "anna"}})
    text = ask("GET", "/metrics").text
    assert 'qianmian_http_responses_total{route="recommend",status="200"}' in text
    assert 'qianmian_release_info{alias="live",release="2017' in text
    assert 'qianmian_user_cache_lookups{outcome="hit"}' in text


def test_not_ready_without_a_release(tmp_path: Path) -> None:
    app = build_app(service(tmp_path))

    async def go() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return [await client.get("/readyz"), await client.post(RECOMMEND, content=b"{}")]

    ready, page = asyncio.run(go())
    assert ready.status_code == 503
    assert ready.json()["ready"] is False
    faults(page, 503)
    assert page.headers["retry-after"] == "1"
    assert "unknown release 'live'" in page.json()["detail"]


def test_openapi_document_is_valid_and_knows_every_route(ask) -> None:
    document = ask("GET", "/openapi.json").json()
    validate(document)
    assert set(document["paths"]) == {
        "/v1/venues/{venue_id}:recommend",
        "/v1/events",
        "/v1/inventory",
        "/v1/users:merge",
        "/v1/users:unmerge",
        "/v1/users:forget",
        "/v1/users/{id}:forget",
        "/v1/users/{id}:allow",
        "/v1/receipts/{receipt_id}",
        "/v1/venues",
        "/v1/users",
        "/healthz",
        "/readyz",
        "/metrics",
    }


def test_docs_need_nothing_from_elsewhere(ask) -> None:
    page = ask("GET", "/docs").text
    assert "http://" not in page
    assert "https://" not in page
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/docs/assets/{asset}" in page
        assert len(ask("GET", f"/docs/assets/{asset}").content) > 10_000


def test_the_page_and_its_files(ask) -> None:
    assert ask("GET", "/").text == "<h1>Venues</h1>"
    script = ask("GET", "/web/page.js")
    assert script.headers["content-type"].startswith("text/javascript")
    for path in ("/web/none.js", "/web/../secret", "/web/%2e%2e/%2e%2e/etc/passwd", "/web/%00"):
        faults(ask("GET", path), 404)


# -- nothing answers 500 --------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(["anna", "ben", "nobody", "\u0000", "é"]) | st.text(min_size=1, max_size=9)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "user": st.fixed_dictionaries({}, optional={"id": NAMES, "visitor_id": NAMES}) | JSON,
        "session_id": NAMES,
        "page_view_id": NAMES | JSON,
        "context": st.dictionaries(st.text(), JSON, max_size=3),
        "blocks": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "block_id": NAMES,
                    "page_size": st.integers(-1, 102) | JSON,
                    "page_token": st.text(),
                    "exclude_item_ids": st.lists(NAMES | JSON, max_size=4),
                    "filter": st.fixed_dictionaries(
                        {},
                        optional={
                            "category": st.lists(NAMES, max_size=2) | JSON,
                            "price_min": st.floats() | st.integers(),
                            "price_max": st.floats() | st.integers(),
                        },
                    ),
                },
            )
            | JSON,
            max_size=4,
        ),
        "params": st.fixed_dictionaries({}, optional={"explain": st.booleans()}) | JSON,
    },
)
FUZZ = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=150,
    deadline=None,
)


@FUZZ
@given(body=NEARLY | JSON, venue=st.sampled_from(["all", "sale", "none"]))
def test_no_body_makes_it_fail(ask, body: Any, venue: str) -> None:
    content = json.dumps(body).encode("utf-8", "surrogatepass")
    response = ask("POST", f"/v1/venues/{venue}:recommend", content)
    assert response.status_code in {200, 404, 422}
    if response.status_code == 200:
        assert RecommendResponse.model_validate_json(response.content).degraded == []
    else:
        faults(response, response.status_code)


@FUZZ
@given(content=st.binary(max_size=200))
def test_no_bytes_make_it_fail(ask, content: bytes) -> None:
    faults(ask("POST", RECOMMEND, content)) if not _is_object(content) else None


def _is_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False


@FUZZ
@given(path=st.text(max_size=30), method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]))
def test_no_path_makes_it_fail(ask, path: str, method: str) -> None:
    encoded = "/" + path.encode("utf-8", "replace").hex("%", 1) if path else "/"
    assert ask(method, encoded).status_code < 500


def test_a_broken_request_path_still_answers_with_popular_items(
    ask, shop: VenueService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("serving.feed.journey.Weightings.of", fail)
    body = {"user": {"id": "anna"}, "blocks": [{"page_size": 3, "filter": {"brand": ["x"]}}]}
    response = ask("POST", RECOMMEND, body)
    assert response.status_code == 200
    answer = RecommendResponse.model_validate_json(response.content)
    assert answer.degraded == ["request_path_failed"]
    assert [item.item_id for item in answer.blocks[0].items] == ["i059", "i058", "i057"]


def test_when_nothing_works_it_is_503(ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("serving.feed.journey.understand", fail)
    response = ask("POST", RECOMMEND, {})
    faults(response, 503)
    assert 'qianmian_degraded_total{reason="no_answer"} 1.0' in ask("GET", "/metrics").text
