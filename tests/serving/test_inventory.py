"""`POST /v1/inventory`: each row judged on its own, and every replica holds to it at once."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from qianmian.contracts.api import RECOMMEND_REQUEST, Problem
from qianmian.contracts.inventory_api import InventoryResponse
from qianmian.errors import EventStoreError
from serving.http import build_app
from serving.service import VenueService
from tests.serving import tiny
from tests.serving.shop import service


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    return tmp_path


def push(shop: VenueService, content: Any) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(build_app(shop), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            body = content if isinstance(content, bytes) else json.dumps(content)
            return await client.post("/v1/inventory", content=body)

    return asyncio.run(go())


def page(shop: VenueService, token: str | None = None, venue: str = "all") -> dict[str, Any]:
    body = {"user": {"id": "anna"}, "blocks": [{"page_token": token, "page_size": 5}]}
    answer = shop.recommend(venue, RECOMMEND_REQUEST.validate_json(json.dumps(body)))
    block: dict[str, Any] = answer["blocks"][0]
    return block


def ids(block: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in block["items"]]


def test_every_replica_drops_what_is_sold_out_within_a_second(home: Path) -> None:
    near, far = service(home), service(home)
    far.start()
    try:
        token = page(far)["next_page_token"]
        gone = ids(page(far, token))
        answer = push(near, {"rows": [{"item_id": item, "stock": 0} for item in gone]})
        assert answer.status_code == 202
        assert InventoryResponse.model_validate(answer.json()).accepted == 5
        assert not set(ids(page(near, token))) & set(gone), "the replica that took it, at once"
        until = time.monotonic() + 1.0
        while set(ids(page(far, token))) & set(gone):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert len(ids(page(far, token))) == 5
    finally:
        far.close()
        near.close()
    again = service(home)  # and one that starts later knows, too
    again.listener.catch_up()
    assert not set(ids(page(again, token))) & set(gone)
    again.close()


def test_rows_are_judged_one_by_one(home: Path) -> None:
    shop = service(home)
    rows = [
        {"item_id": "i033", "price": 9.5, "venue_id": "sale"},
        {"item_id": "i033", "prise": 1},
        {"item_id": "nobody", "stock": 1},
        {"item_id": "i033", "stock": -1},
        {"item_id": "i033", "stock": 1, "venue_id": "sael"},
        {"item_id": "i033"},
        {"stock": 1},
        {"item_id": "i033", "on_sale_from": "2017-12-06T00:00:00"},
        {"item_id": "i021", "on_sale_to": "2017-12-05T00:00:00Z"},
    ]
    answer = InventoryResponse.model_validate(push(shop, {"rows": rows}).json())
    assert answer.accepted == 2
    errors = {row.index: (row.item_id, row.error) for row in answer.rejected}
    assert list(errors) == [1, 2, 3, 4, 5, 6, 7]
    assert "did you mean 'price'" in errors[1][1]
    assert errors[2] == ("nobody", "item_id='nobody': expected an item of the catalogue")
    assert "stock=-1: expected" in errors[3][1]
    assert "expected a venue of GET /v1/venues; did you mean 'sale'" in errors[4][1]
    assert "expected at least one of stock, price, on_sale_from, on_sale_to" in errors[5][1]
    assert "item_id: missing" in errors[6][1]
    assert "on_sale_from='2017-12-06T00:00:00'" in errors[7][1]
    assert "i021" not in ids(page(shop)), "its sale is over"
    shown = {item["item_id"]: item["item"]["price"] for item in page(shop)["items"]}
    assert shown["i033"] == pytest.approx(4.3), "the price was pushed for another venue"
    shop.close()


@pytest.mark.parametrize("stock", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 30, "1" * 400])
def test_a_number_that_is_none_is_refused_and_takes_nothing_back(home: Path, stock: str) -> None:
    shop = service(home)
    sold_out, other = ids(page(shop))[:2]
    push(shop, {"rows": [{"item_id": sold_out, "stock": 0}]})
    rows = [
        f'{{"item_id": "{sold_out}", "stock": {stock}}}',
        f'{{"item_id": "{other}", "stock": 0}}',
    ]
    answer = push(shop, f'{{"rows": [{", ".join(rows)}]}}'.encode())
    assert answer.status_code == 202
    told = InventoryResponse.model_validate(answer.json())
    assert told.accepted == 1
    assert [(row.index, row.item_id) for row in told.rejected] == [(0, sold_out)]
    assert told.rejected[0].error.startswith("stock=")
    assert not {sold_out, other} & set(ids(page(shop)))
    shop.close()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"rows": []}, "rows"),
        ({"rows": [{"item_id": "i001", "stock": 1}] * 501}, "rows"),
        ({"row": []}, "row"),
        (b"[", "body"),
    ],
)
def test_a_body_that_is_no_list_of_rows_is_refused(home: Path, body: Any, field: str) -> None:
    shop = service(home)
    answer = push(shop, body)
    assert answer.status_code == 422
    assert field in {fault.field for fault in Problem.model_validate(answer.json()).errors}
    shop.close()


def test_null_takes_back_what_was_pushed(home: Path) -> None:
    shop = service(home)
    first = ids(page(shop))
    push(shop, {"rows": [{"item_id": first[0], "stock": 0, "price": 5}]})
    assert first[0] not in ids(page(shop))
    push(shop, {"rows": [{"item_id": first[0], "stock": None, "price": None}]})
    assert ids(page(shop)) == first
    shop.close()


def test_what_is_kept_is_accepted_though_it_cannot_be_read_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = service(home)
    first = ids(page(shop))[0]
    rows = {"rows": [{"item_id": first, "stock": 0}]}

    def fail(*_: object) -> None:
        raise EventStoreError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(shop.listener, "catch_up", fail)
        assert push(shop, rows).status_code == 202
    shop.listener.catch_up()
    assert first not in ids(page(shop))
    monkeypatch.setattr(shop.engine.changes, "put", fail)
    assert push(shop, rows).status_code == 503
