"""Venues: data set rows and operators' files together."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianmian.config import load_yaml
from qianmian.data.spec import DatasetSpec
from qianmian.errors import ConfigError
from qianmian.venues import Phase, Sources, Venue, VenueBook
from qianmian.venues.venue import ENDED, OPEN, UPCOMING
from qianmian.venues.vocabulary import conditions_of
from qianmian.workspace import CONFIGS

ROWS = pd.DataFrame(
    {
        "venue_id": ["18", "27"],
        "name": ["Campaign 18", None],
        "kind": ["Type A", "Type B"],
        "starts_at": pd.to_datetime(["2017-10-30T04:00Z", "2017-02-08T05:00Z"]),
        "ends_at": pd.to_datetime(["2017-12-25T05:00Z", None]),
    }
)
DEFAULT = "objective: {order: 1.0, click: 0.1}\nblocks:\n  main: {title: For you, page_size: 12}\n"


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def load_venues(folder: Path, dataset: str, rows: pd.DataFrame | None) -> dict[str, Venue]:
    return VenueBook.open(Sources(folder, dataset, rows)).venues


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "default.yaml").write_text(DEFAULT)
    return tmp_path


def test_every_data_set_has_its_whole_catalogue(folder: Path) -> None:
    venues = load_venues(folder, "shop", None)
    assert list(venues) == ["all"]
    everything = venues["all"]
    assert everything.phase_at(0.0).name == OPEN
    assert everything.block("anything").page_size == 12
    assert everything.objective == {"order": 1.0, "click": 0.1}


def test_rows_give_period_and_names(folder: Path) -> None:
    venues = load_venues(folder, "shop", ROWS)
    assert list(venues) == ["all", "18", "27"]
    assert venues["18"].name == "Campaign 18"
    assert venues["27"].name == "Venue 27"
    assert venues["27"].ends_at is None
    assert venues["18"].phase_at(at("2017-10-30T03:59:59")).name == UPCOMING
    assert venues["18"].phase_at(at("2017-10-30T04:00:00")).name == OPEN
    assert venues["18"].phase_at(at("2017-12-25T05:00:00")).name == ENDED


def test_own_file_wins_and_phases_take_over_what_they_leave_out(folder: Path) -> None:
    (folder / "shop" / "18.yaml").write_text(
        "name: Autumn\n"
        "objective: {click: 0.2}\n"
        "phases:\n"
        "  - {name: warm_up, starts_at: 2017-10-30T04:00:00Z, objective: {click: 0.9}}\n"
        "  - {name: peak, starts_at: 2017-11-20T05:00:00Z}\n"
        "blocks:\n"
        "  discover: {page_size: 6}\n"
    )
    venue = load_venues(folder, "shop", ROWS)["18"]
    assert venue.name == "Autumn"
    warm_up, peak = venue.phase_at(at("2017-11-01T00:00")), venue.phase_at(at("2017-12-01T00:00"))
    assert (warm_up.name, warm_up.objective) == ("warm_up", {"order": 1.0, "click": 0.9})
    assert (peak.name, peak.objective) == ("peak", {"order": 1.0, "click": 0.2})
    assert venue.block("discover").page_size == 6
    assert venue.block("main").title == "For you"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("objectiv: {order: 1}\n", r"18.yaml:1: objectiv=.*unknown key.*did you mean 'objective'"),
        ("objective: {ordr: 1}\n", r"18.yaml:1: objective"),
        ("objective: {favorite: 1}\n", "objective.favorite"),
        ("objective: {order: 0}\n", "expected at least one weight above 0"),
        ("objective: {order: -1}\n", "objective.order=-1"),
        (
            "starts_at: 2017-11-02T00:00:00Z\nends_at: 2017-11-01T00:00:00Z\n",
            "expected starts_at before ends_at",
        ),
        (
            "name: x\nends_at: 2016-12-25T00:00:00Z\n",
            r"18.yaml:2: ends_at: .* from 2017-10-30T.* expected starts_at before ends_at",
        ),
        (
            "starts_at: 2017-12-25T05:00:00Z\n",
            r"18.yaml:1: starts_at: .* to 2017-12-25T.* expected starts_at before ends_at",
        ),
        (
            (
                "phases:\n  - {name: b, starts_at: 2017-11-02T00:00:00Z}\n"
                "  - {name: a, starts_at: 2017-11-01T00:00:00Z}\n"
            ),
            "expected phases in the order of time",
        ),
        (
            "phases: [{name: a, starts_at: 2017-11-02T00:00:00}]\n",
            "expected a UTC offset, or time_zone",
        ),
        ("phases: [{name: a, starts_at: 2018-11-02T00:00:00Z}]\n", "'a' starts outside"),
        ("blocks: {main: {page_size: 101}}\n", "page_size=101"),
        (
            "eligibility: {fatigue: {times: 5, within_days: 60}}\n",
            "eligibility.fatigue.within_days=60: expected .* equal to 28",
        ),
    ],
)
def test_faults_of_a_file_name_the_place(folder: Path, text: str, said: str) -> None:
    (folder / "shop" / "18.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_venues(folder, "shop", ROWS)


def test_file_for_no_venue_is_refused(folder: Path) -> None:
    (folder / "shop" / "al.yaml").write_text("name: x\n")
    with pytest.raises(ConfigError, match=r"expected the id of a venue.*mean 'all'"):
        load_venues(folder, "shop", ROWS)


def test_a_file_of_another_ending_is_refused(folder: Path) -> None:
    (folder / "shop" / "18.yml").write_text("name: Autumn\n")
    with pytest.raises(ConfigError, match=r"18.yml: expected .* rename it to 18.yaml"):
        load_venues(folder, "shop", ROWS)


def test_the_default_file_does_not_belong_among_those_of_a_data_set(folder: Path) -> None:
    (folder / "shop" / "default.yaml").write_text("objective: {order: 2.0}\n")
    with pytest.raises(ConfigError, match=r"shop/default.yaml:1: .*venue 'default': expected"):
        load_venues(folder, "shop", ROWS)


def test_a_venue_may_be_called_as_the_default_file(folder: Path) -> None:
    own = folder / "shop" / "default.yaml"
    own.write_text("name: Default\npool: {items: [i1]}\n")
    sources = Sources(folder, "shop", ROWS, kept=folder / "kept")
    book = VenueBook.open(sources)
    assert book.files() == [(folder / "default.yaml", None), (own, "default")]
    assert book.venues["18"].objective == {"order": 1.0, "click": 0.1}
    (folder / "default.yaml").write_text("objective: [\n")
    assert VenueBook.open(sources).venues == book.venues, "each copy is kept apart"


SEASONS = ("warm_up", "opening", "peak", "sprint", "encore")


def test_shipped_files_are_good() -> None:
    spec = load_yaml(CONFIGS / "datasets" / "complete-journey.yaml", DatasetSpec)
    periods = {
        "8": ("2017-05-08T04:00Z", "2017-06-26T04:00Z"),
        "13": ("2017-08-08T04:00Z", "2017-09-25T04:00Z"),
        "18": ("2017-10-30T04:00Z", "2017-12-25T05:00Z"),
    }
    rows = pd.DataFrame(
        [
            {"venue_id": v, "starts_at": pd.Timestamp(start), "ends_at": pd.Timestamp(end)}
            for v, (start, end) in periods.items()
        ]
    )
    sources = Sources(
        CONFIGS / "venues",
        "complete-journey",
        rows,
        context=conditions_of(spec),
        has_margin=False,
        segments=frozenset(spec.users.categorical),
    )
    venues = VenueBook.open(sources).venues
    assert list(venues) == ["all", "8", "13", "18", "new-to-you"]
    for venue_id in periods:
        assert tuple(phase.name for phase in venues[venue_id].phases) == SEASONS
    names = [
        venues["18"].phase_at(at(f"2017-{day}T12:00")).name
        for day in ("10-29", "10-30", "11-10", "11-20", "12-05", "12-11", "12-22", "12-26")
    ]
    assert names == [
        UPCOMING, "warm_up", "opening", "peak", "peak", "sprint", "encore", ENDED,
    ]  # fmt: skip


@given(
    now=st.floats(-10, 110),
    starts=st.lists(st.integers(0, 99), unique=True, max_size=5).map(sorted),
)
def test_exactly_one_phase_holds_at_any_moment(now: float, starts: list[int]) -> None:
    phases = tuple(Phase(f"p{s}", float(s), {}) for s in starts)
    venue = Venue("v", "v", "", 0.0, 100.0, {}, phases, {})
    phase = venue.phase_at(now)
    begun = [s for s in starts if s <= now]
    if now < 0:
        assert phase.name == UPCOMING
    elif now >= 100:
        assert phase.name == ENDED
    else:
        assert phase.name == (f"p{begun[-1]}" if begun else OPEN)
