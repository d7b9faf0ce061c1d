"""Whole pages under random rules: what must hold, whatever is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from qianmian.features.item_table import ItemTable
from qianmian.retrieval.sources import SOURCES
from qianmian.venues.rules import BlockRules, Diversity, Exploration, Quota, Rules, Window
from serving.feed.rerank.layout import Layout, Vacancy, lay_out
from serving.feed.rerank.reasons import relaxed
from serving.feed.rerank.rulebook import RuleBook

ITEMS = 90
RNG = np.random.default_rng(5)
TABLE = ItemTable.from_profile(
    pd.DataFrame(
        {
            "item_id": [f"i{n:02d}" for n in range(ITEMS)],
            "brand": [None if n % 9 == 0 else f"b{n % 7}" for n in RNG.integers(0, 99, ITEMS)],
            "category": [f"c{n}" for n in RNG.integers(0, 4, ITEMS)],
        }
    ),
    ["brand", "category"],
)
BOOK = RuleBook(
    TABLE,
    RNG.normal(size=(ITEMS, 8)).astype(np.float32),
    np.arange(ITEMS, dtype=np.uint32),
)
FRESH = RNG.random(ITEMS) < 0.5
GAP = 0.4

windows = st.lists(
    st.builds(
        lambda attribute, within, most, across: Window(
            attribute=attribute,
            within=within,
            at_most=min(most, within - 1),
            across_blocks=across,
        ),
        st.sampled_from(["brand", "category"]),
        st.integers(2, 6),
        st.integers(1, 3),
        st.booleans(),
    ),
    max_size=2,
).map(tuple)
bounds = st.sampled_from([(1, None), (2, 4), (None, 2), (3, 3), (None, 5)])
quotas = st.lists(
    st.one_of(
        st.builds(
            lambda value, bound: Quota(
                attribute="category", values=(value,), at_least=bound[0], at_most=bound[1]
            ),
            st.sampled_from(["c0", "c1", "c2", "no such"]),
            bounds,
        ),
        st.builds(
            lambda source, bound: Quota(source=source, at_least=bound[0], at_most=bound[1]),
            st.sampled_from(SOURCES),
            bounds,
        ),
    ),
    max_size=2,
).map(tuple)
diversity = st.none() | st.builds(
    Diversity, method=st.sampled_from(["mmr", "dpp"]), window=st.integers(1, 8)
)
exploration = st.none() | st.builds(
    Exploration,
    share=st.sampled_from([0.2, 0.5]),
    first_position=st.integers(1, 4),
    max_gap=st.just(GAP),
    candidates=st.integers(1, 4),
)
block = st.builds(BlockRules, windows=windows, quotas=quotas, diversity=diversity).flatmap(
    lambda rules: exploration.map(lambda e: rules.model_copy(update={"exploration": e}))
)


@st.composite
def pages(draw: st.DrawFn) -> tuple[list[Vacancy], Rules]:
    """Blocks of one page, with what stands fixed on them and what was shown before."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    page = Rules(quotas=draw(quotas))
    order = rng.permutation(ITEMS).astype(np.int32)
    vacancies = []
    for number, rules in enumerate(draw(st.lists(block, min_size=1, max_size=3))):
        count = draw(st.integers(0, 50))
        slots = draw(st.integers(1, 12))
        places = rng.choice(slots, draw(st.integers(0, min(2, slots))), replace=False).tolist()
        spare = order[80 + 2 * number : 82 + 2 * number].tolist()
        vacancies.append(
            Vacancy(
                rules=BOOK.bound(page, rules),
                slots=slots,
                offset=0,
                items=order[:count],
                scores=np.sort(rng.random(count))[::-1].astype(np.float32),
                source=rng.integers(0, len(SOURCES), count).astype(np.int8),
                rest=lambda rest=order[count:70]: rest,
                fixed=dict(zip(places, spare, strict=False)),
                before=order[70 : 70 + draw(st.integers(0, 6))],
                seed=int(rng.integers(2**63)),
            )
        )
    return vacancies, page


def laid(vacancies: Sequence[Vacancy]) -> list[Layout]:
    return lay_out(
        vacancies,
        BOOK,
        lambda _: FRESH,
        lambda items, _: FRESH[items],
    )


def shown(layout: Layout) -> list[int]:
    """Items of the page, by slot; -2 where nothing was left."""
    return layout.sequence[layout.start :].tolist()


def crowded(items: list[int], start: int, codes: np.ndarray, most: int, within: int) -> bool:
    """Whether an item from `start` on stands in a window with too many of its code."""
    for first in range(len(items)):
        places = range(first, min(first + within, len(items)))
        count = Counter(codes[items[place]] for place in places if items[place] >= 0)
        own = {codes[items[p]] for p in places if p >= start and items[p] >= 0} - {0}
        if any(count[code] > most for code in own):
            return True
    return False


def held(layouts: Sequence[Layout]) -> None:
    """No rule is broken but those that are told."""
    of_page = Counter[int]()
    for layout, broken in zip(layouts, relaxed(layouts), strict=True):
        rules, items = layout.vacancy.rules, shown(layout)
        for w in range(len(rules.within)):
            since = int(layout.windows.since[w])
            seen = layout.sequence[since:].tolist()
            limits = int(rules.window_most[w]), int(rules.within[w])
            full = crowded(seen, layout.start - since, rules.codes[w], *limits)
            assert rules.names[w] in broken or not full
        counts = [0] * len(rules.at_least)
        for slot, item in enumerate(items):
            if item < 0:
                continue
            source = -1
            if layout.rows[slot] >= 0:
                kept = layout.kept[layout.rows[slot]]
                fallback = SOURCES.index("fallback")
                source = int(layout.vacancy.source[kept]) if kept >= 0 else fallback
            for q in range(len(counts)):
                by_source = dict(rules.by_source)
                counts[q] += (
                    source == by_source[q] if q in by_source else bool(rules.by_value[q, item])
                )
        names = rules.names[len(rules.within) :]
        for q, count in enumerate(counts):
            if q < rules.page_quotas:
                of_page[q] += count
            else:
                kept_bounds = rules.at_least[q] <= count <= rules.at_most[q]
                assert kept_bounds or names[q] in broken
    rules, broken = layouts[-1].vacancy.rules, relaxed(layouts)[-1]
    for q in range(rules.page_quotas):
        kept_bounds = rules.at_least[q] <= of_page[q] <= rules.at_most[q]
        assert kept_bounds or rules.names[len(rules.within) + q] in broken


@settings(max_examples=60)
@given(pages())
def test_no_rule_is_broken_silently_and_no_item_stands_twice(
    made: tuple[list[Vacancy], Rules],
) -> None:
    vacancies, _ = made
    layouts = laid(vacancies)
    items = [item for layout in layouts for item in shown(layout) if item >= 0]
    assert len(items) == len(set(items))
    assert not set(items) & {int(i) for v in vacancies for i in v.before} - {
        i for v in vacancies for i in [*v.fixed.values(), *v.items.tolist(), *v.rest().tolist()]
    }
    for layout in layouts:
        for slot, item in layout.vacancy.fixed.items():
            assert shown(layout)[slot] == item
            assert layout.propensity[slot] == 1.0
    held(layouts)
    again = laid(vacancies)
    assert [shown(layout) for layout in layouts] == [shown(layout) for layout in again]


@settings(max_examples=60)
@given(pages())
def test_draws_lose_little_break_nothing_and_have_the_chance_they_tell(
    made: tuple[list[Vacancy], Rules],
) -> None:
    vacancies, _ = made
    base = laid([replace_exploration(vacancy) for vacancy in vacancies])
    chances: dict[tuple[int, int], dict[int, float]] = {}
    for seed in range(40):
        for number, vacancy in enumerate(vacancies):
            object.__setattr__(vacancy, "seed", seed * 7 + number)
        layouts = laid(vacancies)
        held(layouts)
        for number, layout in enumerate(layouts):
            before, now = shown(base[number]), shown(layout)
            for slot, item in enumerate(now):
                if item < 0:
                    continue
                chance = float(layout.propensity[slot])
                told = chances.setdefault((number, slot), {})
                assert told.setdefault(item, chance) == chance
                assert layout.explored[slot] == (item != before[slot])
                if layout.explored[slot]:
                    was, is_now = (one.scores[one.rows[slot]] for one in (base[number], layout))
                    assert is_now >= was - GAP * abs(was) - 1e-6
    for told in chances.values():
        assert sum(told.values()) <= 1.0 + 1e-9


def replace_exploration(vacancy: Vacancy) -> Vacancy:
    return replace(vacancy, rules=replace(vacancy.rules, exploration=None))
