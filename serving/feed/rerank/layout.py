"""The page, laid out: every block filled in turn by its rules, then explored.

Pure arrays: what a block may show, what stands in fixed slots and what was shown before come in;
which candidate stands where, with which propensity, and which rule moved or yielded come out.

An item stands once on the page. A block whose ranked candidates run out, or cannot keep its rules,
goes on with what else the venue has. Exploration comes last, over whole pages, so that what one
slot draws changes nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
    fixed: Mapping[int, int] = field(default_factory=dict)  # item index by slot, from 0
    before: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))  # shown on pages before
    seed: int = 0


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
    sequence: Int32  # items before the block, then its slots
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
    vacancies: Sequence[Vacancy], reserved: Int32, book: RuleBook, holds: Holds, fresh: Fresh
) -> list[Layout]:
    """Lay out the blocks of a page, in the order in which they stand.

    Args:
        vacancies: the blocks; all of them under the same quotas of the page.
        reserved: items that stand in fixed slots, on this page or a later one.
        book: the rules' release.
        holds: evaluates conditions of quotas.
        fresh: tells which items may explore.
    """
    quotas = vacancies[0].rules.page_quotas if vacancies else 0
    page = _Page(book, holds, np.zeros(len(book.scale), np.bool_), np.zeros(quotas, np.int32))
    page.taken[reserved] = True
    fixed = [_fixed_members(vacancy, holds) for vacancy in vacancies]
    for members in fixed:
        page.used += members[:quotas]
    later = _later(vacancies, page)
    above = _NONE
    layouts: list[Layout] = []
    for vacancy, members, reach in zip(vacancies, fixed, later, strict=True):
        layout = _lay_block(vacancy, page, members, reach, above)
        above = layout.sequence[layout.sequence != FREE]
        layouts.append(layout)
    if any(vacancy.rules.exploration for vacancy in vacancies):
        _explore(layouts, page, fresh)
    return layouts


def _lay_block(vacancy: Vacancy, page: _Page, fixed: Int32, later: Int32, above: Int32) -> Layout:
    count = vacancy.rules.page_quotas
    used = np.concatenate([page.used, fixed[count:]])
    ranked = np.flatnonzero(~page.taken[vacancy.items]).astype(np.int32)
    layout = _attempt(vacancy, page, used, later, above, ranked, _NONE)
    filled = layout.rows[layout.rows >= 0]
    short = len(filled) < vacancy.slots - len(vacancy.fixed)
    if short or layout.picks.level.any() or len(filled) == len(ranked):
        rest = vacancy.rest()
        rest = rest[~page.taken[rest]][: vacancy.slots + _SPARE]
        if len(rest) and (short or layout.picks.level.any()):
            layout = _attempt(vacancy, page, used, later, above, ranked, rest)
            filled = layout.rows[layout.rows >= 0]
        layout.more = len(ranked) + len(rest) > len(filled)
    else:
        layout.more = True
    page.taken[layout.items[filled]] = True
    page.used = layout.used[:count]
    return layout


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
    continued = len(vacancy.before) > 0
    history = (vacancy.before if continued else above)[-rules.memory :] if rules.memory else _NONE
    start = len(history)
    own = 0 if continued else start
    sequence = np.full(start + vacancy.slots, FREE, np.int32)
    sequence[:start] = history
    for slot, item in vacancy.fixed.items():
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
    """Return how many members of each quota stand in fixed slots, int32 [Q]."""
    rules = vacancy.rules
    if not vacancy.fixed:
        return np.zeros(len(rules.at_least), np.int32)
    items = np.fromiter(vacancy.fixed.values(), dtype=np.int32)
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
            slots = vacancy.slots - len(vacancy.fixed)
            below = below + np.minimum((member & free).sum(1, dtype=np.int32), slots)
    return reach


def _explore(layouts: Sequence[Layout], page: _Page, fresh: Fresh) -> None:
    """Let the slots that may explore draw, block by block; the page stays as it is elsewhere."""
    most, least = page.used.copy(), page.used.copy()  # of the page's quotas, by any draw so far
    count = len(most)
    for number, layout in enumerate(layouts):
        rules, quotas = layout.vacancy.rules, layout.quotas
        exploration = rules.exploration
        if exploration is None:
            continue
        may = _exploring(layout, exploration, last=number + 1 == len(layouts))
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


def _exploring(layout: Layout, exploration: Exploration, *, last: bool) -> Mask:
    """Return the slots that may explore: organic, ranked, and not read by the block below."""
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
    across = vacancy.rules.across
    if not last and across.any():
        may[len(rows) - (int(vacancy.rules.within[across].max()) - 1) :] = False
    return may
