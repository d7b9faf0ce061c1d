"""Why a page is as it is: the rules that moved an item, and those that could not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from serving.feed.rerank.layout import Layout

DIVERSITY: Final = "diversity"
EXPLORATION: Final = "exploration"


def moved_by(layout: Layout) -> list[list[str]]:
    """Return for each slot the rules that moved its item away from its place by score alone.

    Where another item went before the best one left, the reason that held that one back moved
    both: the one up, the other down.
    """
    picks, rules = layout.picks, layout.vacancy.rules
    moved: dict[int, list[str]] = {}
    columns = picks.rows.tolist(), picks.first.tolist(), picks.held.tolist()
    for row, first, held in zip(*columns, strict=True):
        if row < 0 or row == first:
            continue
        reason = rules.level_name(held) if held else DIVERSITY
        for one in (row, first):
            if reason not in (reasons := moved.setdefault(one, [])):
                reasons.append(reason)
    return [
        [EXPLORATION] if explored else moved.get(row, [])
        for row, explored in zip(layout.rows.tolist(), layout.explored.tolist(), strict=True)
    ]


def relaxed(layouts: Sequence[Layout]) -> list[list[str]]:
    """Return for each block the rules that its page breaks, those of the page in every block."""
    if not layouts:
        return []
    page = layouts[-1]
    count = page.vacancy.rules.page_quotas
    of_page = _unmet(page, 0, count)
    return [
        [*_broken_windows(one), *of_page, *_unmet(one, count, len(one.used))] for one in layouts
    ]


def _broken_windows(layout: Layout) -> list[str]:
    bits = int(np.bitwise_or.reduce(layout.picks.broken, initial=0))
    return [name for w, name in enumerate(layout.vacancy.rules.names) if bits >> w & 1]


def _unmet(layout: Layout, first: int, end: int) -> list[str]:
    rules, used = layout.vacancy.rules, layout.used
    names = rules.names[len(rules.within) :]
    return [
        names[q] for q in range(first, end) if not rules.at_least[q] <= used[q] <= rules.at_most[q]
    ]
