"""The page at `/`, in a browser, in front of the real service."""

from __future__ import annotations

import json

import httpx
import pytest

from qianmian.contracts.topics import INVENTORY
from qianmian.events.changes import Change
from qianmian.venues.inventory import Fact, encode
from serving.service import VenueService
from tests.browser.conftest import View, eventually, resize

pytestmark = pytest.mark.browser

ENTER = "\ue007"
ANNA_AND_BEN = "?venue=sale&user=anna&user=ben"


def answer(address: str, venue: str, user: dict[str, str]) -> dict:
    response = httpx.post(f"{address}v1/venues/{venue}:recommend", json={"user": user})
    return response.raise_for_status().json()


def test_two_shoppers_see_their_own_pages(view: View) -> None:
    view.open(ANNA_AND_BEN)
    assert view.texts("h3") == ["Shopper anna", "Shopper ben"]
    assert view.one("h2").text == "Winter sale"
    assert view.one(".phase").text == "peak 爆发"
    for column, user in enumerate(("anna", "ben"), start=1):
        told = answer(view.address, "sale", {"id": user})
        items = told["blocks"][0]["items"]
        inside = f"article:nth-of-type({column})"
        assert view.item_ids(column) == [item["item_id"] for item in items]
        assert view.texts(f"{inside} h4") == [item["item"]["title"] for item in items]
        assert view.texts(f"{inside} .price") == [
            f"price\n{item['item']['price']:.2f}" for item in items
        ]
        assert [text.split("\n")[-1] for text in view.texts(f"{inside} s")] == [
            f"{item['item']['base_price']:.2f}" for item in items
        ]
        assert view.texts(f"{inside} .off") == [
            f"−{item['item']['discount']:.0%}" for item in items
        ]
        assert view.texts(f"{inside} .item .source") == [
            item["source"].replace("_", "-") for item in items
        ]
        assert {text.lower().replace(" ", "_") for text in view.texts(f"{inside} .reason")} == {
            item["reason"] for item in items
        }
        (arm,) = told["experiments"]
        assert view.one(f"{inside} .arm").text == f"discovery: {arm['arm']}"
        assert view.one(f"{inside} .time").text.endswith(" ms")
        view.one(f"{inside} summary").click()
        assert told["release"] in view.one(f"{inside} dl").text
    assert view.item_ids(1) != view.item_ids(2)
    assert view.complaints() == []


def test_what_pages_share_is_marked(view: View) -> None:
    view.open(ANNA_AND_BEN)
    shared = set(view.item_ids(1)) & set(view.item_ids(2))
    marked = [mark for mark in view.texts("article:nth-of-type(1) .shared") if mark]
    assert len(marked) == len(shared)
    assert all(mark.startswith("also #") and mark.endswith(" for ben") for mark in marked)
    words = f"{len(shared)} of 10 items stand" if shared else "no item stands"
    assert view.one("#summary").text == f"2 pages; {words} on both."


def test_without_a_choice_it_shows_an_open_venue_to_two_shoppers(view: View) -> None:
    view.open()
    assert view.query() == ANNA_AND_BEN
    assert len(view.all("article")) == 2


def test_any_id_and_cold_visitors_can_be_added_and_removed(view: View) -> None:
    view.open(ANNA_AND_BEN)
    view.one("#shopper").send_keys("nobody <b>knows</b> ", ENTER)
    view.settled()
    view.one("#visitor").click()
    view.settled()
    assert view.texts("h3")[2:] == ["Shopper nobody <b>knows</b>", "Visitor cold-1"]
    assert [len(view.item_ids(column)) for column in (3, 4)] == [10, 10]
    told = answer(view.address, "sale", {"visitor_id": "cold-1"})
    assert view.item_ids(4) == [item["item_id"] for item in told["blocks"][0]["items"]]
    (arm,) = told["experiments"]
    assert view.one("article:nth-of-type(4) .arm").text == f"discovery: {arm['arm']}"

    query = view.query()
    assert query == f"{ANNA_AND_BEN}&user=nobody+%3Cb%3Eknows%3C%2Fb%3E&visitor=cold-1"
    view.open(query)
    assert len(view.texts("h3")) == 4

    view.one("[aria-label='Remove Shopper ben']").click()
    assert "Shopper ben" not in view.texts("h3")
    assert view.driver.switch_to.active_element.get_attribute("id") == "shopper"
    view.driver.back()
    eventually(lambda: view.texts("h3")[:2] == ["Shopper anna", "Shopper ben"])
    assert view.query() == query


def test_a_shopper_stands_there_once_and_columns_are_limited(view: View) -> None:
    view.open(ANNA_AND_BEN)
    view.one("#shopper").send_keys("ben", ENTER)
    eventually(lambda: view.one("#summary").text == "That shopper is already here.")
    for _ in range(5):
        view.one("#visitor").click()
    assert len(view.all("article")) == 6
    assert "remove one first" in view.one("#summary").text


def test_another_venue_shows_other_pages(view: View) -> None:
    view.open(ANNA_AND_BEN)
    view.one("#venue option[value=all]").click()
    view.settled()
    assert view.one("h2").text == "Whole catalogue"
    assert view.query() == ANNA_AND_BEN.replace("sale", "all")
    told = answer(view.address, "all", {"id": "anna"})
    assert view.item_ids(1) == [item["item_id"] for item in told["blocks"][0]["items"]]


def test_load_more_goes_on_to_the_end(view: View) -> None:
    view.open("?venue=sale&user=anna")
    more = "[aria-label='Load more for Shopper anna']"
    view.one(more).click()
    view.settled()
    entries = view.all(".item")
    focused = view.driver.switch_to.active_element.text
    assert focused == view.texts("h4")[10], "reading goes on where the new items begin"
    while view.all(more):
        view.one(more).click()
        view.settled()
    assert len(view.all(".item")) > len(entries)
    ids = view.item_ids(1)
    assert len(set(ids)) == len(ids) == 30
    positions = [text.split()[-1] for text in view.texts(".position")]
    assert positions == [str(place) for place in range(1, 31)]
    assert view.one(".all").text == "That is all there is to show."


def test_a_refusal_is_told_in_words(view: View) -> None:
    view.open("?venue=sail&user=anna")
    told = view.one("[role=alert]").text
    assert "Unknown venue" in told
    assert "did you mean 'sale'?" in told
    view.one("#venue option[value=sale]").click()
    view.settled()
    assert not view.all("[role=alert]")
    assert len(view.item_ids(1)) == 10


def test_a_field_that_is_refused_is_named(view: View) -> None:
    view.open(f"?venue=sale&user={'x' * 300}")
    fault = view.one("[role=alert] li").text
    assert fault.startswith("user.id expected")
    assert "256" in fault


def test_a_lost_service_is_told_and_asked_again(view: View) -> None:
    view.open("?venue=sale&user=anna")
    conditions = {"latency": 0, "download_throughput": -1, "upload_throughput": -1}
    view.driver.set_network_conditions(offline=True, **conditions)
    try:
        view.one("#visitor").click()
        view.settled()
        assert "could not be reached" in view.one("[role=alert]").text
    finally:
        view.driver.set_network_conditions(offline=False, **conditions)
    view.one("[role=alert] button").click()
    eventually(lambda: len(view.item_ids(2)) == 10)
    assert not view.all("[role=alert]")


def test_a_fallback_is_shown(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("serving.feed.journey.Weightings.of", fail)
    view.open("?venue=sale&user=anna")
    assert view.texts(".degraded") == ["fallback: request path failed"]


def test_an_item_with_a_coupon_without_price_or_with_markup(view: View) -> None:
    view.open(ANNA_AND_BEN)
    ranked = {
        "item_id": "i",
        "position": 1,
        "score": 0.5,
        "source": "new",
        "reason": "just_arrived",
        "item": {
            "title": "<img src=x onerror=alert(1)>",
            "category": "FRZN ICE",
            "brand": "69",
            "price": None,
            "base_price": 2.0,
            "discount": 0.3,
            "coupon_id": "c1",
        },
    }
    script = """
        const done = arguments[1];
        import("/web/js/item.js").then(({ itemEntry }) => {
          document.querySelector("ol").replaceChildren(itemEntry(JSON.parse(arguments[0])));
          done();
        });
    """
    view.driver.execute_async_script(script, json.dumps(ranked))
    entry = view.one("article:nth-of-type(1) .item")
    assert entry.find_element("css selector", "h4").text == "<img src=x onerror=alert(1)>"
    assert entry.find_element("css selector", ".sort").text == "Frzn ice · brand 69"
    assert entry.find_element("css selector", ".coupon").text.endswith("coupon")
    assert entry.find_element("css selector", ".unpriced").text == "no price yet"
    assert not entry.find_elements("css selector", "s, .off, img")


def test_every_control_has_a_name(view: View) -> None:
    view.open(ANNA_AND_BEN)
    controls = view.all("button, input, select, summary, a, [tabindex='0']")
    assert [one.get_attribute("outerHTML") for one in controls if not one.accessible_name] == []
    assert len(controls) > 10


def test_a_phone_shows_one_column_and_a_bit_of_the_next(view: View) -> None:
    view.open(ANNA_AND_BEN)
    resize(view.driver, 390, 844)
    first, second = (column.rect for column in view.all("article"))
    assert 300 < first["width"] < 390
    assert second["x"] < 390
    width = view.driver.execute_script("return document.documentElement.scrollWidth")
    assert width == 390, "the page itself never scrolls sideways"


def test_what_was_seen_and_clicked_is_told_with_its_attribution(
    view: View, shop: VenueService
) -> None:
    def told(event_type: str) -> set[tuple[str, int | None, str]]:
        events, _ = shop.engine.events.newest(1_000)
        return {
            (event.item_id, event.position, event.attributed)
            for event in events
            if event.event_type == event_type and event.user_id == "u7"
        }

    view.open("?venue=sale&user=u7")
    first = view.item_ids(1)[0]
    eventually(lambda: (first, 1, "token") in told("impression"))
    view.one(f'[data-item="{first}"] h4').click()
    eventually(lambda: told("click") == {(first, 1, "token")})


def test_a_page_tells_its_phase_and_what_was_taken_out(view: View, shop: VenueService) -> None:
    pushed = shop.catalogue.goods.pushed

    def stock(units: float | None) -> None:
        pushed.take([Change(INVENTORY, key, value) for key, value in facts(units).items()])

    def facts(units: float | None) -> dict[str, bytes | None]:
        return encode([Fact("stock", "sale", "i058", units)])

    stock(0.0)
    try:
        view.open("?venue=sale&user=anna")
        assert view.one(".phase").text == "peak 爆发"
        view.one(".page details summary").click()
        told = view.texts(".page details dd")
        assert "sold out 1 (such as i058)" in told
        assert "i058" not in view.item_ids(1)
        assert all(view.texts(".item .reason"))
    finally:
        stock(None)
