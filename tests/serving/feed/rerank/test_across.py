"""Windows from block to block, and fixed slots that a block may not get to, on random pages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qianmian.venues.rules import BlockRules, Exploration, Quota, Rules, Window
from serving.feed.rerank.arrays import FREE
from serving.feed.rerank.layout import Layout, Vacancy
from serving.feed.rerank.reasons import relaxed
from tests.serving.feed.rerank.test_layout import BOOK, ITEMS, crowded, held, laid, pages, shown


def crowded_as_read(layouts: list[Layout]) -> bool:
    """Whether a window that runs over blocks is broken where no rule is said to be let go."""
    above: list[int] = []
    for layout, broken in zip(layouts, relaxed(layouts), strict=True):
        rules, start = layout.vacancy.rules, len(above)
        above += layout.shown.tolist()
        for w in np.flatnonzero(rules.across):
            limits = int(rules.window_most[w]), int(rules.within[w])
            if rules.names[w] in broken:
                continue
            if crowded(above, start, rules.codes[w], *limits):
                return True
    return False


@settings(max_examples=150)
@given(pages(), st.integers(0, 2**32 - 1))
def test_windows_hold_from_block_to_block_whatever_is_drawn(
    made: tuple[list[Vacancy], Rules], seed: int
) -> None:
    vacancies = [
        replace(one, before=one.before[:0], seed=seed + number)
        for number, one in enumerate(made[0])
    ]
    assert not crowded_as_read(laid(vacancies))


ACROSS = (Window(attribute="brand", at_most=1, within=8, across_blocks=True),)
DRAWS = Exploration(share=0.5, first_position=1, max_gap=1.0)


def blocks(*rules: BlockRules, slots: int) -> list[Vacancy]:
    return [
        Vacancy(
            rules=BOOK.bound(Rules(), one),
            slots=slots,
            offset=0,
            items=np.arange(ITEMS, dtype=np.int32),
            scores=np.linspace(1.0, 0.5, ITEMS, dtype=np.float32),
            source=np.zeros(ITEMS, dtype=np.int8),
            rest=lambda: np.zeros(0, np.int32),
        )
        for one in rules
    ]


@pytest.mark.parametrize(
    "rules",
    [
        # shorter than what the block below looks back on
        [BlockRules(windows=ACROSS, exploration=DRAWS)] * 2,
        # a window of the block below alone
        [BlockRules(exploration=DRAWS), BlockRules(windows=ACROSS)],
        # of the one below that
        [BlockRules(exploration=DRAWS), BlockRules(exploration=DRAWS), BlockRules(windows=ACROSS)],
    ],
)
def test_no_slot_draws_that_a_block_below_looks_back_on(rules: list[BlockRules]) -> None:
    for seed in range(40):
        made = [replace(one, seed=seed) for one in blocks(*rules, slots=4)]
        layouts = laid(made)
        assert not crowded_as_read(layouts)
    assert not relaxed(layouts)[-1]


@st.composite
def small_blocks(draw: st.DrawFn) -> list[Vacancy]:
    """Blocks of few items with fixed slots on this page and behind it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    order = rng.permutation(ITEMS).astype(np.int32)
    quota = Quota(attribute="category", values=("c0",), at_least=1, at_most=3)
    page = draw(st.sampled_from([Rules(), Rules(quotas=(quota,))]))
    made = []
    for number in range(draw(st.integers(1, 2))):
        count, ranked = draw(st.integers(0, 12)), draw(st.integers(0, 12))
        places = rng.choice(20, draw(st.integers(0, 4)), replace=False).tolist()
        items = order[:count][: min(ranked, count)]
        own = order[50 + 4 * number : 54 + 4 * number]
        rest = np.concatenate([order[:count][len(items) :], own])
        made.append(
            Vacancy(
                rules=BOOK.bound(page, BlockRules(quotas=(quota,))),
                slots=draw(st.integers(1, 12)),
                offset=0,
                items=items,
                scores=np.linspace(1.0, 0.5, len(items), dtype=np.float32),
                source=np.zeros(len(items), dtype=np.int8),
                rest=lambda rest=rest: rest,
                fixed=dict(zip(places, own.tolist(), strict=False)),
            )
        )
    return made


@settings(max_examples=200)
@given(small_blocks())
def test_what_is_fixed_out_of_reach_is_laid_out_like_the_rest(vacancies: list[Vacancy]) -> None:
    layouts = laid(vacancies)
    everything = [item for layout in layouts for item in layout.shown.tolist()]
    assert len(everything) == len(set(everything))
    held(layouts)
    taken: set[int] = set()
    for vacancy, layout in zip(vacancies, layouts, strict=True):
        items = shown(layout)
        assert FREE not in items[: len(layout.shown)], "no hole"
        left = set(vacancy.rest().tolist()) | set(vacancy.items.tolist())
        left -= taken | set(items)
        others = {i for v in vacancies if v is not vacancy for i in v.fixed.values()}
        assert layout.more == bool(left - others)
        if not layout.more:
            assert set(vacancy.fixed.values()) <= set(items)
        reach = len(layout.shown) + len(left - others)
        kept, whole = layout.vacancy.fixed, dict(vacancy.fixed)
        within_reach = {slot: item for slot, item in whole.items() if slot < reach}
        assert kept == within_reach or (kept == whole and layout.more)
        for slot, item in layout.vacancy.here.items():
            assert items[slot] == item
        taken |= set(items)
