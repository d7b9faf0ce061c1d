"""Venue files while the service runs: taken over within moments, refused with their faults."""

from __future__ import annotations

import threading
from pathlib import Path

import pandas as pd
import pytest

from qianmian.contracts.api import RECOMMEND_REQUEST
from qianmian.errors import ConfigError, VenueNotFoundError
from qianmian.venues import Sources, VenueBook
from qianmian.venues.conditions import Kind, Vocabulary, vocabularies
from serving.service import VenueService
from tests.serving import tiny
from tests.serving.shop import service

ROWS = pd.DataFrame({"venue_id": ["sale"], "name": ["Sale"]})
ITEMS = Vocabulary("items", {"category": Kind.TEXT, "price": Kind.NUMBER, "item_id": Kind.TEXT})


class Folder:
    """Operators' files of the tiny shop."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "configs" / "venues"
        (self.path / tiny.DATASET).mkdir(parents=True)
        self.default = self.path / "default.yaml"
        self.sale = self.path / tiny.DATASET / "sale.yaml"
        self.default.write_text("objective: {order: 1.0, click: 0.1}\n")

    def sources(self) -> Sources:
        context = vocabularies(ITEMS, Vocabulary("users", {"age": Kind.TEXT}))
        kept = self.home / tiny.DATASET / "venues"
        return Sources(self.path, tiny.DATASET, ROWS, context, has_margin=False, kept=kept)

    def serve(self) -> VenueService:
        return service(self.home, book=VenueBook.open(self.sources()))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    tiny.publish(tmp_path / tiny.DATASET / "releases")
    return Folder(tmp_path)


def shown(shop: VenueService, venue: str) -> list[str]:
    question = RECOMMEND_REQUEST.validate_json('{"blocks": [{"page_size": 50}]}')
    answer = shop.recommend(venue, question)
    assert answer["degraded"] == []
    return [item["item_id"] for item in answer["blocks"][0]["items"]]


def counted(shop: VenueService, outcome: str) -> float:
    labels = {"outcome": outcome}
    value = shop.metrics.registry.get_sample_value("qianmian_venue_files_total", labels)
    return value or 0.0


def test_changed_files_take_effect_and_bad_ones_do_not(folder: Folder, caplog) -> None:
    folder.sale.write_text("pool: {query: 'category == \"milk\"'}\n")
    shop = folder.serve()
    assert len(shown(shop, "sale")) == 20
    folder.sale.write_text("pool: {items: [i003, i001]}\n")
    shop.refresh()
    assert sorted(shown(shop, "sale")) == ["i001", "i003"]
    assert counted(shop, "taken") == 1

    folder.sale.write_text("name: x\npool: {items: [i005]}\neligibility:\n  fliter: 'price < 2'\n")
    shop.refresh()
    assert sorted(shown(shop, "sale")) == ["i001", "i003"]
    (why,) = shop.readiness()["venue_files_refused"].values()
    assert "sale.yaml:4: eligibility.fliter='price < 2': unknown key" in why
    assert "did you mean 'filter'" in why
    assert why in caplog.text
    shop.refresh()
    assert counted(shop, "refused") == 1, "told once"
    assert shop.metrics.registry.get_sample_value("qianmian_venue_files_refused") == 1
    assert shop.readiness()["ready"]

    folder.sale.write_text("pool: {items: [i005]}\neligibility: {filter: 'price < 2'}\n")
    shop.refresh()
    assert shown(shop, "sale") == ["i005"]
    assert shop.readiness()["venue_files_refused"] == {}
    assert shop.metrics.registry.get_sample_value("qianmian_venue_files_refused") == 0
    shop.close()


def test_a_venue_may_come_and_go_by_file_alone(folder: Folder) -> None:
    shop = folder.serve()
    path = folder.path / tiny.DATASET / "flash.yaml"
    path.write_text("name: Flash sale\npool: {items: [i010]}\n")
    shop.refresh()
    assert shown(shop, "flash") == ["i010"]
    assert "flash" in [venue["id"] for venue in shop.venues()]
    path.unlink()
    shop.refresh()
    with pytest.raises(VenueNotFoundError):
        shown(shop, "flash")
    shop.close()


def test_one_bad_file_holds_up_no_other(folder: Folder) -> None:
    shop = folder.serve()
    folder.sale.write_text("phases: 5\n")
    (folder.path / tiny.DATASET / "all.yaml").write_text("pool: {items: [i001]}\n")
    shop.refresh()
    assert shown(shop, "all") == ["i001"]
    assert len(shop.readiness()["venue_files_refused"]) == 1
    shop.close()


def test_a_service_that_starts_on_a_broken_file_goes_on_with_what_held(folder: Folder) -> None:
    folder.sale.write_text("pool: {items: [i001]}\n")
    folder.serve().close()
    folder.sale.write_text("pool: {items: [i001\n")
    shop = folder.serve()
    assert shown(shop, "sale") == ["i001"]
    assert "cannot be read as YAML" in next(iter(shop.readiness()["venue_files_refused"].values()))
    shop.close()
    (folder.home / tiny.DATASET / "venues" / tiny.DATASET / "sale.yaml").unlink()
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        folder.serve()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "eligibility:\n  filter: 'categry == \"A\"'\n",
            "sale.yaml:2: eligibility.filter='categry == \"A\"': expected a column of items",
        ),
        (
            "blocks:\n  main:\n    audience: 'age < 5'\n",
            "sale.yaml:3: blocks.main.audience='age < 5': expected a text beside 'age' at column 7",
        ),
        ("objective: {margin: 1.0}\n", "sale.yaml:1: objective.margin=1: expected no such weight"),
        ("blocks: {main: {kind: fed}}\n", "did you mean 'feed'"),
        ("id: other\npool: {items: [i001]}\n", "expected the id of a venue of the data set"),
    ],
)
def test_faults_name_file_line_path_value_and_remedy(folder: Folder, text: str, said: str) -> None:
    folder.sale.write_text(text)
    with pytest.raises(ConfigError) as caught:
        folder.serve()
    assert said in str(caught.value)


def test_two_files_of_one_venue_are_told(folder: Folder) -> None:
    folder.sale.write_text("name: First\n")
    (folder.path / tiny.DATASET / "second.yaml").write_text("id: sale\nname: Second\n")
    book = VenueBook.open(folder.sources())
    assert book.venues["sale"].name == "First"
    assert "id='sale': expected an id that no other file has" in str(book.refused)


def test_no_request_fails_while_files_change(folder: Folder) -> None:
    shop = folder.serve()
    wrong: list[object] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                pages = shown(shop, "sale")
                if pages not in ([], ["i001"], ["i002"]):
                    wrong.append(pages)
            except Exception as error:  # noqa: BLE001  whatever it is, a request must not fail
                wrong.append(error)

    folder.sale.write_text("pool: {items: [i001]}\n")
    shop.refresh()
    asking = threading.Thread(target=ask)
    asking.start()
    for n in range(30):
        folder.sale.write_text(f"pool: {{items: [i00{1 + n % 2}]}}\nname: Sale {n}\n")
        shop.refresh()
    done.set()
    asking.join()
    assert wrong == []
    shop.close()
