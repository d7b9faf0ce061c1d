"""The page, laid out: every block filled in turn by its rules, then explored.

Pure arrays: what a block may show, what stands in fixed slots and what was shown before come in;
which candidate stands where, with which propensity, and which rule moved or yielded come out.

An item stands once on the page. A block whose ranked candidates run out, or cannot keep its rules,
goes on with what else the venue has. Fixed slots behind the last item that a block has are given
up, and what was to stand there is laid out like any other item. Exploration comes last, over whole
pages, so that what one slot draws changes nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from qianmian.features.item_table import Float32, Float64, Int32
from qianmian.retrieval.sources import FALLBACK, SOURCE_CODE, Int8
from qianmian.venues.rules import Exploration
from serving.feed.rerank.arrays import (
    DPP,
    FREE,
    MMR,
    Candidates,
    Diversity,
    Mask,
    Picks,
    Quotas,
    Windows,
)
from serving.feed.rerank.explore import explore
from serving.feed.rerank.greedy import fill
from serving.feed.rerank.rulebook import Bound, Holds, RuleBook

#: Items beyond the ranking that are looked at besides those that fill the slots.
_SPARE: Final = 300
_UNRANKED: Final = -1.0  # relevance of the first item beyond the ranking; ranked ones are 0..1


@dataclass(frozen=True, slots=True)
class Vacancy:
    """A block to lay out. N candidates, best first."""

    rules: Bound
    slots: int
    offset: int  # slots of the pages before
    items: Int32  # [N]
    scores: Float32  # [N], never rising
    source: Int8  # [N]
    rest: Callable[[], Int32]  # what else may be shown, in order, none of it among the candidates
    fixed: Mapping[int, int] = field(default_factory=dict)  # item by slot, of later pages too
    before: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))  # shown on pages before
    seed: int = 0

    @property
    def continued(self) -> bool:
        """Whether its rules look back on the block's own pages before."""
        return len(self.before) > 0

    @property
    def here(self) -> dict[int, int]:
        """The fixed slots of this page."""
        return {slot: item for slot, item in self.fixed.items() if slot < self.slots}


@dataclass(slots=True)
class Layout:
    """A block, laid out. Rows from N on are items beyond the ranking."""

    vacancy: Vacancy
    kept: Int32  # [M], rows of the vacancy's candidates that were free, then FREE for the rest
    items: Int32  # [M]
    scores: Float32  # [M]
    picks: Picks
    quotas: Quotas
    windows: Windows
    sequence: Int32  # items before the block that its rules look back on, then its slots
    start: int  # of the block in `sequence`
    used: Int32  # [Q], members of each quota, those of the page up to this block
    more: bool = False  # whether anything is left for a next page
    rows: Int32 = field(init=False)  # [slots], of `items`; FIXED or FREE
    propensity: Float64 = field(init=False)  # [slots]
    explored: Mask = field(init=False)  # [slots]

    def __post_init__(self) -> None:
        """Nothing is explored yet."""
        self.rows = self.picks.rows.copy()
        self.propensity = np.ones(len(self.rows))
        self.explored = np.zeros(len(self.rows), dtype=np.bool_)

    @property
    def shown(self) -> Int32:
        """Items of the page, in order; nothing stands behind a slot that nothing was left for."""
        slots = self.sequence[self.start :]
        items: Int32 = slots[slots != FREE]
        return items


@dataclass(slots=True)
class _Page:
    """What all blocks of a page share."""

    book: RuleBook
    holds: Holds
    taken: Mask  # [n], items that stand somewhere
    used: Int32  # [quotas of the page]


#: Tells which items are new to the shop or hardly shown: bool [N] of int32 [N].
Fresh = Callable[[Int32, Exploration], Mask]


def lay_out(
    vacancies: Sequence[Vacancy], book: RuleBook, holds: Holds, fresh: Fresh
) -> list[Layout]:
    """Lay out the blocks of a page, in the order in which they stand.

    Args:
        vacancies: the blocks; all of them under the same quotas of the page, no item fixed twice.
        book: the rules' release.
        holds: evaluates conditions of quotas.
        fresh: tells which items may explore.
    """
    quotas = vacancies[0].rules.page_quotas if vacancies else 0
    page = _Page(book, holds, np.zeros(len(book.scale), np.bool_), np.zeros(quotas, np.int32))
    for vacancy in vacancies:
        page.taken[list(vacancy.fixed.values())] = True
        page.used += _fixed_members(vacancy, holds)[:quotas]
    above = _NONE
    layouts: list[Layout] = []
    for vacancy, later in zip(vacancies, _later(vacancies, page), strict=True):
        layout = _lay_block(vacancy, page, later, above)
        above = np.concatenate([above, layout.shown])
        layouts.append(layout)
    if any(vacancy.rules.exploration for vacancy in vacancies):
        _explore(layouts, page, fresh)
    return layouts


def _lay_block(vacancy: Vacancy, page: _Page, later: Int32, above: Int32) -> Layout:
    count = vacancy.rules.page_quotas
    used = np.concatenate([page.used, _fixed_members(vacancy, page.holds)[count:]])
    ranked = np.flatnonzero(~page.taken[vacancy.items]).astype(np.int32)
    layout = _attempt(vacancy, page, used, later, above, ranked, _NONE)
    filled = layout.rows[layout.rows >= 0]
    short = len(filled) < vacancy.slots - len(vacancy.here)
    if short or layout.picks.level.any() or len(filled) == len(ranked):
        rest = vacancy.rest()
        rest = rest[~page.taken[rest]][: vacancy.slots + _SPARE]
        if len(rest) and (short or layout.picks.level.any()):
            layout = _attempt(vacancy, page, used, later, above, ranked, rest)
            filled = layout.rows[layout.rows >= 0]
        layout.more = len(ranked) + len(rest) > len(filled)
    else:
        layout.more = True
    if vacancy.fixed and not layout.more:
        reached = _reached(vacancy, len(filled))
        if len(reached) < len(vacancy.fixed):
            return _lay_block(_give_up(vacancy, reached, page), page, later, above)
        layout.more = len(vacancy.here) < len(reached)
    page.taken[layout.items[filled]] = True
    page.used = layout.used[:count]
    return layout


def _reached(vacancy: Vacancy, organic: int) -> dict[int, int]:
    """Return the fixed slots that a block gets to with so many other items.

    An item whose slot is out of reach is one of the others from then on, if the block may show it
    anywhere.
    """
    reached = dict(sorted(vacancy.fixed.items()))
    others = np.concatenate([vacancy.items, vacancy.rest()])
    while reached and max(reached) >= organic + len(reached):
        _, item = reached.popitem()
        organic += item in others
    return reached


def _give_up(vacancy: Vacancy, reached: Mapping[int, int], page: _Page) -> Vacancy:
    """Return the block with these fixed slots; the items of the others are free again."""
    count = vacancy.rules.page_quotas
    left = replace(vacancy, fixed=reached)
    page.taken[[item for slot, item in vacancy.fixed.items() if slot not in reached]] = False
    before, now = (_fixed_members(one, page.holds)[:count] for one in (vacancy, left))
    page.used = page.used - before + now
    return left


def _attempt(
    vacancy: Vacancy,
    page: _Page,
    used: Int32,
    later: Int32,
    above: Int32,
    ranked: Int32,
    rest: Int32,
) -> Layout:
    rules = vacancy.rules
    items = np.concatenate([vacancy.items[ranked], rest]) if len(rest) else vacancy.items[ranked]
    scores = vacancy.scores[ranked]
    relevance = _relevance(scores, len(rest))
    source = vacancy.source[ranked]
    if len(rest):
        source = np.concatenate([source, np.full(len(rest), SOURCE_CODE[FALLBACK], np.int8)])
        scores = np.concatenate([scores, np.zeros(len(rest), np.float32)])
        ranked = np.concatenate([ranked, np.full(len(rest), FREE, np.int32)])
    history = _last(vacancy.before, rules.memory)
    if not vacancy.continued:
        history = _last(above, rules.memory_above)
    start = len(history)
    own = 0 if vacancy.continued else start
    sequence = np.full(start + vacancy.slots, FREE, np.int32)
    sequence[:start] = history
    for slot, item in vacancy.here.items():
        sequence[start + slot] = item
    windows = Windows(
        rules.codes,
        rules.window_most,
        rules.within,
        np.where(rules.across, _ZERO, np.int32(own)),
        rules.widest,
    )
    quotas = Quotas(
        _members(rules, items, source, page.holds),
        rules.at_least,
        rules.at_most,
        used.copy(),
        later,
        rules.pace,
    )
    diversity = Diversity(
        rules.method,
        rules.strength,
        rules.likeness_window,
        own,
        page.book.vectors,
        page.book.scale,
    )
    candidates = Candidates(items, _weight(rules, relevance))
    picks = fill(candidates, windows, quotas, diversity, sequence, start)
    return Layout(
        vacancy=vacancy,
        kept=ranked,
        items=items,
        scores=scores,
        picks=picks,
        quotas=quotas,
        windows=windows,
        sequence=sequence,
        start=start,
        used=quotas.used.copy(),
    )


_NONE: Final = np.zeros(0, np.int32)
_ZERO: Final = np.int32(0)


def _last(items: Int32, count: int) -> Int32:
    return items[-count:] if count else _NONE


def _relevance(scores: Float32, unranked: int) -> Float64:
    """Scale scores to 0..1; what is beyond the ranking follows below them."""
    relevance = np.zeros(len(scores) + unranked)
    if len(scores):
        low, high = float(scores[-1]), float(scores[0])
        if high > low:
            relevance[: len(scores)] = (scores - low) / (high - low)
    if unranked:
        relevance[len(scores) :] = _UNRANKED - np.arange(unranked) / unranked
    return relevance


def _weight(rules: Bound, relevance: Float64) -> Float64:
    """Return what relevance adds to the gain, see `likeness`."""
    if rules.method == MMR:
        return (1.0 - rules.strength) * relevance
    if rules.method == DPP:
        weight: Float64 = np.exp(relevance * ((1.0 - rules.strength) / rules.strength))
        return weight
    return relevance


def _members(rules: Bound, items: Int32, source: Int8, holds: Holds) -> Mask:
    """Return which items each quota counts, bool [Q, N]."""
    member = rules.by_value.take(items, axis=1)
    for row, sort in rules.by_source:
        member[row] = source == sort
    for row, condition in rules.by_condition:
        member[row] = holds(condition)[items]
    return member


def _fixed_members(vacancy: Vacancy, holds: Holds) -> Int32:
    """Return how many members of each quota stand in the page's fixed slots, int32 [Q]."""
    rules, here = vacancy.rules, vacancy.here
    if not here:
        return np.zeros(len(rules.at_least), np.int32)
    items = np.fromiter(here.values(), dtype=np.int32)
    nothing = np.full(len(items), -1, dtype=np.int8)
    members: Int32 = _members(rules, items, nothing, holds).sum(1, dtype=np.int32)
    return members


def _later(vacancies: Sequence[Vacancy], page: _Page) -> list[Int32]:
    """Return how many members of each quota the blocks below each block can still take."""
    reach: list[Int32] = []
    count = len(page.used)
    below = np.zeros(count, np.int32)
    for number, vacancy in reversed(list(enumerate(vacancies))):
        rules = vacancy.rules
        later = np.zeros(len(rules.at_least), np.int32)
        later[:count] = below
        reach.insert(0, later)
        if count and number:
            free = ~page.taken[vacancy.items]
            member = _members(rules, vacancy.items, vacancy.source, page.holds)[:count]
            slots = vacancy.slots - len(vacancy.here)
            below = below + np.minimum((member & free).sum(1, dtype=np.int32), slots)
    return reach


def _explore(layouts: Sequence[Layout], page: _Page, fresh: Fresh) -> None:
    """Let the slots that may explore draw, block by block; the page stays as it is elsewhere."""
    most, least = page.used.copy(), page.used.copy()  # of the page's quotas, by any draw so far
    count = len(most)
    for number, (layout, read) in enumerate(zip(layouts, _read_below(layouts), strict=True)):
        exploration, quotas = layout.vacancy.rules.exploration, layout.quotas
        if exploration is None:
            continue
        may = _exploring(layout, exploration, read)
        outside = (layout.kept >= 0) & ~page.taken[layout.items]
        outside &= fresh(layout.items, exploration)
        quotas.used[:count] = most
        lowest = quotas.used.copy()
        lowest[:count] = least
        explored = explore(
            layout.rows,
            may,
            outside,
            layout.items,
            layout.scores,
            layout.windows,
            quotas,
            lowest,
            layout.sequence,
            layout.start,
            exploration.candidates,
            exploration.max_gap,
            exploration.share,
            np.uint64(layout.vacancy.seed),
        )
        layout.rows, layout.propensity, layout.explored = explored[:3]
        if number + 1 < len(layouts):
            most, least = quotas.used[:count], lowest[:count]
            page.taken[layout.items[explored.options[explored.options >= 0]]] = True


def _read_below(layouts: Sequence[Layout]) -> list[int]:
    """Return on how many of its last items the blocks below each block look back."""
    read: list[int] = []
    reach = 0
    for layout in reversed(layouts):
        read.append(reach)
        reach = max(reach - len(layout.shown), 0 if layout.vacancy.continued else layout.start)
    return read[::-1]


def _exploring(layout: Layout, exploration: Exploration, read: int) -> Mask:
    """Return the slots that may explore: organic, ranked, and not among the last `read`."""
    vacancy, rows = layout.vacancy, layout.rows
    may = rows >= 0
    may[may] = layout.kept[rows[may]] >= 0
    if exploration.positions:
        positions = np.array(exploration.positions) - 1 - vacancy.offset
        named = np.zeros(len(rows), dtype=np.bool_)
        named[positions[(positions >= 0) & (positions < len(rows))]] = True
        may &= named
    else:
        may[: max(0, exploration.first_position - 1 - vacancy.offset)] = False
    if read:
        may[max(0, len(layout.shown) - read) :] = False
    return may
