"""Merging over HTTP, with two replicas of one shop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from qianmian.contracts.people_api import ErasureReceipt, MergeResponse, UnmergeResponse
from qianmian.decisions.segments import newest
from qianmian.releases.store import ReleaseStore
from serving.http import build_app
from serving.service import VenueService
from tests.serving import tiny
from tests.serving.shop import service

PAGE = "/v1/venues/all:recommend"
Send = Callable[..., httpx.Response]


def sender(shop: VenueService) -> Send:
    app = build_app(shop)

    def send(path: str, body: Any, method: str = "POST") -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                return await client.request(method, path, content=json.dumps(body))

        return asyncio.run(go())

    return send


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[VenueService]]:
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    shops = [service(tmp_path) for _ in range(2)]
    for shop in shops:
        shop.start()
    yield shops
    for shop in shops:
        shop.close()


def first_items(send: Send, user: dict[str, str]) -> list[str]:
    answer = send(PAGE, {"user": user, "blocks": [{"page_size": 3}]}).json()
    return [item["item_id"] for item in answer["blocks"][0]["items"]]


def within_a_second(holds: Callable[[], bool]) -> None:
    until(holds, 1.0)


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"it took longer than {seconds} s"
        time.sleep(0.01)


def test_a_merge_reaches_the_other_replica_within_a_second_and_is_undone_as_fast(
    replicas: list[VenueService],
) -> None:
    one, other = map(sender, replicas)
    stranger, anna = first_items(other, {"visitor_id": "d-1"}), first_items(other, {"id": "anna"})
    assert stranger != anna
    response = one("/v1/users:merge", {"visitor_id": "d-1", "user_id": "anna"})
    assert response.status_code == 200
    assert MergeResponse.model_validate_json(response.content).merged
    within_a_second(lambda: first_items(other, {"visitor_id": "d-1"}) == anna)
    again = other("/v1/users:merge", {"visitor_id": "d-1", "user_id": "anna"})
    assert not MergeResponse.model_validate_json(again.content).merged
    undone = other("/v1/users:unmerge", {"visitor_id": "d-1"})
    assert UnmergeResponse.model_validate_json(undone.content).unmerged
    within_a_second(lambda: first_items(one, {"visitor_id": "d-1"}) == stranger)


def test_a_merge_survives_the_restart_of_every_replica(tmp_path: Path) -> None:
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    shop = service(tmp_path)
    sender(shop)("/v1/users:merge", {"visitor_id": "d-1", "user_id": "anna"})
    shop.close()
    successor = service(tmp_path)
    send = sender(successor)
    assert first_items(send, {"visitor_id": "d-1"}) == first_items(send, {"id": "anna"})
    successor.close()


def test_refusals_say_what_to_do(replicas: list[VenueService]) -> None:
    send = sender(replicas[0])
    send("/v1/users:merge", {"visitor_id": "d-1", "user_id": "anna"})
    taken = send("/v1/users:merge", {"visitor_id": "d-1", "user_id": "ben"})
    assert taken.status_code == 409
    assert taken.json()["type"] == "urn:qianmian:problem:merged-elsewhere"
    assert "users:unmerge" in taken.json()["detail"]
    assert "anna" not in taken.text
    unknown = send("/v1/users:unmerge", {"visitor_id": "d-9"})
    assert unknown.status_code == 404
    missing = send("/v1/users:merge", {"visitor_id": "d-1"})
    assert missing.json()["errors"][0]["field"] == "user_id"
    device = send("/v1/users:merge", {"visitor_id": "d-1", "user_id": "visitor:d-2"})
    assert device.status_code == 422
    assert send("/v1/users:merge", {"visitor_id": "x" * 9_000, "user_id": "a"}).status_code == 413


def test_the_decision_log_holds_the_subject_that_counts(replicas: list[VenueService]) -> None:
    send = sender(replicas[0])
    first_items(send, {"visitor_id": "d-1"})
    first_items(send, {"visitor_id": "d-1", "id": "ben"})
    first_items(send, {})
    send("/v1/users:merge", {"visitor_id": "d-1", "user_id": "anna"})
    replicas[0].listener.catch_up()
    first_items(send, {"visitor_id": "d-1"})
    folder = replicas[0].settings.workspace().decisions
    within_a_second(lambda: len(newest(folder, 9)) == 4)
    assert [row["subject_id"] for row in newest(folder, 9)] == ["visitor:d-1", "ben", None, "anna"]


def test_forgetting_reaches_every_replica_and_its_open_segments(
    replicas: list[VenueService],
) -> None:
    one, other = map(sender, replicas)
    home = replicas[0].settings.workspace()
    for send in (one, other):
        for _ in range(3):
            first_items(send, {"id": "anna", "visitor_id": "d-anna"})
        first_items(send, {"id": "ben"})
    one("/v1/users:merge", {"visitor_id": "d-anna", "user_id": "anna"})
    click = {"event_type": "click", "timestamp": "2017-12-05T05:00:00Z", "item_id": "i001"}
    sent = [{**click, "event_id": f"e{who}", "user_id": who} for who in ("anna", "ben")]
    assert one("/v1/events", {"events": sent}).json()["accepted"] == 2
    answer = one("/v1/users/anna:forget", None)
    assert answer.status_code == 202
    receipt = ErasureReceipt.model_validate_json(answer.content)
    path = f"/v1/receipts/{receipt.receipt_id}"
    until(lambda: other(path, None, "GET").json()["state"] == "done")
    done = ErasureReceipt.model_validate_json(other(path, None, "GET").content)
    removed = {store.store: store.removed for store in done.stores}
    assert (removed["event_log"], removed["decision_log"], removed["merges"]) == (1, 6, 1)
    assert "anna" not in answer.text + other(path, None, "GET").text
    assert {row["subject_id"] for row in newest(home.decisions, 99)} == {"ben"}
    found = [p.name for p in home.path.rglob("*") if p.is_file() and b"anna" in p.read_bytes()]
    assert found == []
    ReleaseStore(home.releases).verify("live", tiny.SCHEMA)
    assert removed["releases"] == 1
    # nothing new of her is taken in, by any replica, until she is allowed again
    late = [{**click, "event_id": "late", "user_id": "anna"}]
    for send in (one, other):
        rejected = send("/v1/events", {"events": late}).json()["rejected"]
        assert "did not ask to be forgotten" in rejected[0]["error"]
        assert "anna" not in send("/v1/users", None, "GET").text
        assert first_items(send, {"id": "anna"}) == first_items(send, {})
        assert send("/v1/users:merge", {"visitor_id": "d", "user_id": "anna"}).status_code == 422
    assert one("/v1/users/anna:allow", None).json() == {"allowed": True}
    within_a_second(lambda: other("/v1/events", {"events": late}).json()["accepted"] == 1)


def test_requests_about_nobody_are_refused(replicas: list[VenueService]) -> None:
    send = sender(replicas[0])
    assert send("/v1/users/visitor::forget", None).status_code == 422
    assert send("/v1/receipts/none", None, "GET").status_code == 404
    assert send("/v1/users/anna:allow", None).json() == {"allowed": False}
