"""What was shown and what came of it: logged impressions as pages, with their labels.

A page is what one answer showed in one block. An action labels an impression of its item when it
comes within the window: the impression of the answer that it names, else the last one before it. An
order that names no answer needs a click or cart of its item there: not all are made on pages.

Shapes: `E` impressions, `A` actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from qianmian.contracts import columns as c
from qianmian.contracts.events import EventType
from qianmian.data.store import Dataset
from qianmian.distinct import distinct
from qianmian.features.item_table import Float32, Float64, Int32, ItemTable

Int64 = npt.NDArray[np.int64]

_OPTIONAL = (c.RECOMMENDATION_ID, c.SESSION_ID, c.BLOCK_ID, c.POSITION, c.PROPENSITY)
SECONDS_PER_HOUR = 3_600.0


@dataclass(frozen=True, slots=True)
class Exposures:
    """Impressions as parallel arrays, page after page in order of time."""

    users: npt.NDArray[np.object_]  # [E] user ids
    items: Int32  # [E] item indices
    at: Float64  # [E] epoch seconds at which the page was first seen
    page: Int64  # [E] ascending
    position: Int32  # [E] from 1; 0 where it was not logged
    propensity: Float32  # [E] 1 where it was not logged
    labels: Float32  # [E, A]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def pages(self) -> int:
        """Number of pages."""
        return len(distinct(self.page))

    @classmethod
    def read(
        cls,
        dataset: Dataset,
        catalogue: ItemTable,
        actions: Sequence[EventType],
        *,
        window_hours: float,
    ) -> Exposures:
        """Read the impressions that training may see, each labelled by `actions`.

        They come in the order of `PREDICTED_ACTIONS`: what leads to an order before the order.
        An action after the end of training labels nothing, so pages whose window was open then are
        not yet told (`training.history.History.exposures`).
        """
        present = set(dataset.event_columns())
        columns = [c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.TIMESTAMP]
        events = dataset.train_events([*columns, *(n for n in _OPTIONAL if n in present)])
        kinds = events[c.EVENT_TYPE].astype(str)
        wanted = kinds.isin([EventType.IMPRESSION, *actions]).to_numpy()
        events, kinds = events[wanted], kinds[wanted]
        rows = _Rows.of(events, catalogue)
        shown = (kinds == EventType.IMPRESSION).to_numpy() & (rows.item >= 0)
        impressions = rows.take(shown).by_page()
        came: list[Float64] = []  # when the first action of each kind came of an impression
        for action in actions:
            acts = rows.take((kinds == action).to_numpy())
            since = impressions.at
            if action == EventType.ORDER:
                since = np.min([np.full_like(since, np.inf), *came], axis=0)
            came.append(_came_of(impressions, acts, since, window_hours * SECONDS_PER_HOUR))
        return cls(
            users=impressions.user_ids[impressions.user],
            items=impressions.item,
            at=impressions.page_at(),
            page=impressions.page,
            position=impressions.position,
            propensity=impressions.propensity,
            labels=np.isfinite(np.stack(came, axis=1)).astype(np.float32),
        )

    def between(self, start: float, end: float) -> Exposures:
        """The pages first seen in [start, end)."""
        a, b = np.searchsorted(self.at, [start, end], side="left")
        return self._take(slice(int(a), int(b)))

    def newest(self, pages: int) -> Exposures:
        """The last pages, at most so many."""
        kept = distinct(self.page)[-pages:]
        return self._take(self.page >= kept[0]) if len(kept) else self

    def _take(self, rows: slice | npt.NDArray[np.bool_]) -> Exposures:
        return Exposures(
            users=self.users[rows],
            items=self.items[rows],
            at=self.at[rows],
            page=self.page[rows],
            position=self.position[rows],
            propensity=self.propensity[rows],
            labels=self.labels[rows],
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Events as arrays over one numbering of users and answers."""

    user_ids: npt.NDArray[np.object_]
    user: Int64
    item: Int32
    at: Float64
    answer: Int64  # code of the recommendation; -1 where none is named
    page: Int64  # what stood together: the answer's block, else the visit's minute
    position: Int32
    propensity: Float32

    @classmethod
    def of(cls, events: pd.DataFrame, catalogue: ItemTable) -> _Rows:
        size = len(events)
        user, user_ids = pd.factorize(events[c.USER_ID].astype(str))
        stamp = events[c.TIMESTAMP].to_numpy(dtype="datetime64[us]").astype(np.int64)
        at = stamp.astype(np.float64) * 1e-6
        answer = _codes(events, c.RECOMMENDATION_ID)
        minute = (at // 60).astype(np.int64)
        visit = np.where(answer >= 0, 0, minute)
        keys = [answer, np.where(answer >= 0, -1, user), visit, _codes(events, c.BLOCK_ID)]
        _, page = np.unique(np.stack(keys), axis=1, return_inverse=True)
        position = _numbers(events, c.POSITION, 0.0)
        return cls(
            user_ids=np.asarray(user_ids, dtype=object),
            user=user.astype(np.int64),
            item=catalogue.indices_of(events[c.ITEM_ID].astype(str)),
            at=at,
            answer=answer,
            page=page.reshape(size).astype(np.int64),
            position=np.maximum(position, 0).astype(np.int32),
            propensity=_numbers(events, c.PROPENSITY, 1.0).astype(np.float32),
        )

    def take(self, rows: npt.NDArray[np.bool_] | Int64) -> _Rows:
        return _Rows(
            self.user_ids,
            self.user[rows],
            self.item[rows],
            self.at[rows],
            self.answer[rows],
            self.page[rows],
            self.position[rows],
            self.propensity[rows],
        )

    def by_page(self) -> _Rows:
        """In order of the pages' times, each item once a page; pages numbered in that order."""
        order = np.lexsort((self.position, self.at))
        _, first = np.unique(
            np.stack([self.page[order], self.item[order]]), axis=1, return_index=True
        )
        rows = self.take(order[np.sort(first)])
        begins = rows.page_at()
        rows = rows.take(np.lexsort((rows.position, rows.page, begins)))
        changes = np.diff(rows.page, prepend=rows.page[:1]) != 0
        numbered = np.cumsum(changes).astype(np.int64)
        return _Rows(
            rows.user_ids,
            rows.user,
            rows.item,
            rows.at,
            rows.answer,
            numbered,
            rows.position,
            rows.propensity,
        )

    def page_at(self) -> Float64:
        """When the page of each row was first seen, [E]."""
        begins = np.full(int(self.page.max(initial=-1)) + 1, np.inf)
        np.minimum.at(begins, self.page, self.at)
        times: Float64 = begins[self.page]
        return times


def _came_of(shown: _Rows, acts: _Rows, since: Float64, window: float) -> Float64:
    """When the first action came of each impression, [E]; infinite where none did.

    Args:
        shown: the impressions.
        acts: the actions of one kind.
        since: when an impression begins to count for actions that name no answer, [E]; infinite
            where it never does.
        window: seconds from an impression to its last action.
    """
    first = np.full(len(shown.item), np.inf)
    for named in (True, False):
        mine = acts.take((acts.answer >= 0) == named)
        begins = shown.at if named else since
        counting = np.flatnonzero(np.isfinite(begins))
        offered = shown.take(counting)
        keys = [rows.answer if named else rows.user for rows in (offered, mine)]
        hit = _last_before((keys[0], offered.item, begins[counting]), (keys[1], mine.item, mine.at))
        shown_at, acted_at = shown.at, mine.at
        impressions, acted_at = counting[hit[hit >= 0]], acted_at[hit >= 0]
        within = acted_at - shown_at[impressions] <= window
        np.minimum.at(first, impressions[within], acted_at[within])
    return first


def _last_before(
    offered: tuple[Int64, Int32, Float64], asked: tuple[Int64, Int32, Float64]
) -> Int64:
    """For each asked (key, item, time) the row of the last offered one up to then, else -1."""
    both = [np.concatenate([o, a]) for o, a in zip(offered, asked, strict=True)]
    is_asked = np.arange(len(both[0])) >= len(offered[0])
    order = np.lexsort((is_asked, both[2], both[1], both[0]))
    place = np.where(is_asked[order], -1, np.arange(len(order)))
    last = np.maximum.accumulate(place) if len(place) else place
    rows = order[np.maximum(last, 0)]
    same = (last >= 0) & (both[0][rows] == both[0][order]) & (both[1][rows] == both[1][order])
    found = np.full(len(order), -1, dtype=np.int64)
    found[order] = np.where(same & (both[0][order] >= 0) & (both[1][order] >= 0), rows, -1)
    return found[len(offered[0]) :]


def _codes(events: pd.DataFrame, name: str) -> Int64:
    if name not in events:
        return np.full(len(events), -1, dtype=np.int64)
    return pd.factorize(events[name])[0].astype(np.int64)


def _numbers(events: pd.DataFrame, name: str, missing: float) -> Float64:
    if name not in events:
        return np.full(len(events), missing)
    return events[name].fillna(missing).to_numpy(dtype=np.float64)
