from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from qianmian.contracts.events import EventType
from qianmian.features.item_table import ItemTable
from training.exposures import Exposures
from training.history import History

START = pd.Timestamp("2024-03-01T12:00:00Z")
CATALOGUE = ItemTable.from_profile(pd.DataFrame({"item_id": ["a", "b", "c"]}), ())
ACTIONS = (EventType.CLICK, EventType.ORDER)


class Held:
    """Stands for a data set: its training events and their columns."""

    def __init__(self, rows):
        self._frame = pd.DataFrame(rows).sort_values("timestamp", kind="stable")

    def event_columns(self):
        return list(self._frame.columns)

    def train_events(self, columns):
        return self._frame[list(columns)]


def event(kind, minutes, item, user="u", **more):
    at = START + pd.Timedelta(minutes=minutes)
    return {"user_id": user, "item_id": item, "event_type": kind, "timestamp": at, **more}


def read(*rows, hours=24.0):
    return Exposures.read(Held(rows), CATALOGUE, ACTIONS, window_hours=hours)


def table(exposures):
    ids = CATALOGUE.item_ids[exposures.items]
    return list(zip(exposures.page.tolist(), ids, exposures.labels.tolist(), strict=True))


def test_an_action_counts_for_the_answer_that_it_names():
    shown = [
        event("impression", 0, "a", recommendation_id="r1", position=1.0),
        event("impression", 0.1, "b", recommendation_id="r1", position=2.0),
        event("impression", 5, "a", recommendation_id="r2", position=1.0),
    ]
    click = event("click", 9, "a", recommendation_id="r1")
    order = event("order", 10, "a", recommendation_id="r1")
    unnamed = event("click", 11, "a", recommendation_id=None)
    assert table(read(*shown, click, order, unnamed)) == [
        (0, "a", [1.0, 1.0]),
        (0, "b", [0.0, 0.0]),
        (1, "a", [1.0, 0.0]),  # without a name, the last page before it
    ]


def test_an_order_that_names_no_answer_counts_where_its_item_was_clicked():
    """Orders are made without pages, too: at a till, after a search."""
    shown = [
        event("impression", 0, item, recommendation_id="r", position=place)
        for place, item in enumerate("ab", start=1)
    ]
    click = event("click", 1, "a", recommendation_id="r")
    orders = [event("order", 10, item, recommendation_id=None) for item in "ab"]
    assert table(read(*shown, click, *orders)) == [(0, "a", [1.0, 1.0]), (0, "b", [0.0, 0.0])]
    again = [event("impression", 5, "a", recommendation_id="later", position=1)]
    assert table(read(*shown, *again, click, *orders)) == [
        (0, "a", [1.0, 1.0]),
        (0, "b", [0.0, 0.0]),
        (1, "a", [0.0, 0.0]),  # shown again, and not clicked there
    ]
    before = event("order", 0.5, "a", recommendation_id=None)
    assert table(read(*shown, click, before))[0] == (0, "a", [1.0, 0.0])


def test_a_click_alone_brings_an_order_where_carts_are_told_too():
    shown = event("impression", 0, "a", recommendation_id="r", position=1)
    click = event("click", 1, "a", recommendation_id="r")
    order = event("order", 2, "a", recommendation_id=None)
    actions = (EventType.CLICK, EventType.CART, EventType.ORDER)
    exposures = Exposures.read(Held([shown, click, order]), CATALOGUE, actions, window_hours=1.0)
    assert exposures.labels.tolist() == [[1.0, 0.0, 1.0]]


def test_too_late_and_too_early_actions_count_for_nothing():
    rows = [
        event("click", -1, "a"),
        event("impression", 0, "a"),
        event("click", 61, "a"),
        event("click", 1, "b"),
        event("click", 1, "a", user="another"),
    ]
    assert table(read(*rows, hours=1.0)) == [(0, "a", [0.0, 0.0])]
    assert table(read(*rows, hours=2.0)) == [(0, "a", [1.0, 0.0])]


def test_an_item_shown_twice_on_a_page_is_one_row_and_unknown_items_are_none():
    rows = [
        event("impression", 0, "a", recommendation_id="r", position=2.0),
        event("impression", 1, "a", recommendation_id="r", position=2.0),
        event("impression", 0, "unheard", recommendation_id="r", position=1.0),
    ]
    exposures = read(*rows)
    assert table(exposures) == [(0, "a", [0.0, 0.0])]
    assert exposures.position.tolist() == [2]
    assert exposures.propensity.tolist() == [1.0]


def test_blocks_of_one_answer_are_pages_of_their_own():
    rows = [
        event("impression", 0, item, recommendation_id="r", block_id=block, position=1.0)
        for item, block in (("a", "main"), ("b", "more"))
    ]
    assert read(*rows).pages == 2


def test_pages_are_cut_whole_and_the_newest_are_kept():
    rows = [
        event("impression", minutes, item, recommendation_id=f"r{minutes}", position=place)
        for minutes in (0, 10, 20)
        for place, item in enumerate("abc", start=1)
    ]
    exposures = read(*rows)
    assert exposures.pages == 3
    newest = exposures.newest(2)
    assert newest.pages == 2
    assert newest.at.min() == START.timestamp() + 600
    later = exposures.between(START.timestamp() + 1, START.timestamp() + 601)
    assert (later.pages, len(later)) == (1, 3)


def test_impressions_without_an_answer_are_grouped_by_visitor_and_minute():
    rows = [
        event("impression", minutes, item, user=user)
        for user in ("u", "v")
        for minutes, item in ((0.1, "a"), (0.5, "b"), (30, "c"))
    ]
    exposures = read(*rows)
    assert exposures.pages == 4
    assert np.all(exposures.position == 0)


def test_nothing_shown_is_nothing():
    assert len(read(event("order", 0, "a"))) == 0


@pytest.mark.parametrize("seed", range(5))
def test_every_label_is_of_an_action_within_the_window(seed):
    rng = np.random.default_rng(seed)
    rows = [
        event(
            str(rng.choice(["impression", "impression", "click", "order"])),
            float(rng.integers(0, 300)),
            str(rng.choice(["a", "b", "c"])),
            user=str(rng.choice(["u", "v"])),
            recommendation_id=None,
        )
        for _ in range(60)
    ]
    exposures = read(*rows, hours=1.0)
    frame = pd.DataFrame(rows)
    for row in range(len(exposures)):
        for place, action in enumerate(ACTIONS):
            if exposures.labels[row, place]:
                item = CATALOGUE.item_ids[exposures.items[row]]
                mine = frame[
                    (frame["user_id"] == exposures.users[row])
                    & (frame["item_id"] == item)
                    & (frame["event_type"] == action.value)
                ]
                times = mine["timestamp"].map(pd.Timestamp.timestamp).to_numpy()
                lags = times - float(exposures.at.item(row))
                assert ((lags >= 0) & (lags <= 3660)).any()


def test_a_page_whose_window_is_open_at_the_cut_says_nothing_yet():
    """Its order may be on the way: a page without one would teach that it did not come."""
    shown = [event("impression", minutes, "a") for minutes in (0, 59, 61)]
    history = SimpleNamespace(
        _has_impressions=True,
        _dataset=Held(shown),
        catalogue=CATALOGUE,
        predicted=ACTIONS,
        cut=(START + pd.Timedelta(hours=2)).timestamp(),
    )
    pages = History.exposures(history, window_hours=1.0)
    assert pages.pages == 2
    assert (pages.at < START.timestamp() + 3_600).all()
