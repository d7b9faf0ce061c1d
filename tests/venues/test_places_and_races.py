"""Places for sale and races in venue files."""

from __future__ import annotations

import pytest

from qianmian.errors import ConfigError
from qianmian.venues.book import Sources, VenueBook

DEFAULT = "objective: {order: 1.0}\nblocks: {main: {}, deals: {}}\n"


def venues(folder, text: str):
    (folder / "shop").mkdir(exist_ok=True)
    (folder / "default.yaml").write_text(DEFAULT + "sponsored: {main: {positions: [9]}}\n")
    (folder / "shop" / "all.yaml").write_text(text)
    return VenueBook.open(Sources(folder=folder, dataset="shop")).venues["all"]


def test_a_venue_keeps_the_places_of_the_default_that_it_does_not_say_otherwise(tmp_path) -> None:
    venue = venues(
        tmp_path,
        "sponsored: {deals: {positions: [1, 4], floor: 0.5}}\n"
        "racing: {order: {blocks: [main, deals]}, face: {block: main, creatives: [a, b]}}\n",
    )
    assert venue.sponsored["main"].positions == (9,)
    assert venue.sponsored["deals"].floor == 0.5
    assert venue.racing["order"].arms == ("main", "deals")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("sponsored: {mian: {positions: [1]}}\n", "did you mean 'main'?"),
        ("sponsored: {main: {positions: [4, 2]}}\n", "expected positions in rising order"),
        ("sponsored: {main: {positions: []}}\n", "positions"),
        ("racing: {order: {blocks: [main, dealz]}}\n", "racing.order.blocks[1]: 'dealz'"),
        (
            "racing: {a: {blocks: [main, deals]}, b: {blocks: [deals, main]}}\n",
            "racing.b.blocks[0]='deals': expected a block that no other race draws; 'a' does",
        ),
        (
            "racing: {a: {block: main, creatives: [x, y]}, b: {block: main, creatives: [z, x]}}\n",
            "racing.b.block='main': expected a block that no other race draws; 'a' does",
        ),
        ("racing: {face: {block: mian, creatives: [a, b]}}\n", "racing.face.block: 'mian'"),
    ],
)
def test_faults_are_told_with_their_line(tmp_path, text, fault) -> None:
    with pytest.raises(ConfigError) as error:
        venues(tmp_path, text)
    assert "all.yaml:1: " in str(error.value)
    assert fault in str(error.value)
