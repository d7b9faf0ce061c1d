"""Training history: the past cut into moments, each with the features as they were known then.

A moment is a snapshot time with the users and items as Feast's point-in-time join gives them for
that time, and the target actions that followed. Everything that the models learn from comes
through here, so nothing of the future can enter by another door. (Three things are of the whole
training period: the quantiles that cut two tags into levels, which of a few regularizations item
factors have, and whether anybody acts on an item again.)

Shapes: `U` users of a moment, `E` actions after it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts.events import PREDICTED_ACTIONS, EventType
from qianmian.data.store import Dataset
from qianmian.distinct import distinct
from qianmian.errors import TrainingError
from qianmian.features.item_table import Int32, ItemTable
from qianmian.features.store import FeatureRepo
from qianmian.features.user_state import UserState
from training.actions import Actions, act_again
from training.exposures import SECONDS_PER_HOUR, Exposures


class History:
    """The events before the cut, and the features at each moment.

    `moments` are snapshot times, ascending; the last is the cut itself.
    """

    def __init__(
        self, dataset: Dataset, repo: FeatureRepo, *, moments: Sequence[float], cut: float
    ) -> None:
        self.repo = repo
        self.moments = tuple(moments)
        self.cut = cut
        self.target = EventType(dataset.spec.target)
        self.affinity_columns = tuple(repo.schema.affinity_columns)
        self.tag_kinds = dict(repo.schema.tag_kinds)
        columns = [c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.TIMESTAMP]
        events = dataset.train_events(columns)
        events = events[events[c.TIMESTAMP] < _timestamp(cut)]
        self.catalogue = self._catalogue(dataset, events)
        users, items = events[c.USER_ID], events[c.ITEM_ID]
        self.user_ids: npt.NDArray[np.object_] = users.cat.categories.to_numpy(dtype=object)
        index = self.catalogue.indices_of(items.cat.categories)
        at = events[c.TIMESTAMP].to_numpy(dtype="datetime64[us]").astype(np.int64) * 1e-6
        user_codes = users.cat.codes.to_numpy(dtype=np.int32)
        item_codes = index[items.cat.codes.to_numpy()]
        types = events[c.EVENT_TYPE].astype(str).to_numpy()
        self.actions = {
            action: Actions(user_codes[mask], item_codes[mask], at[mask])
            for action in dict.fromkeys((*PREDICTED_ACTIONS, self.target))
            if (mask := types == action.value).any()
        }
        if self.target not in self.actions:
            raise TrainingError(
                f"no {self.target.value} event before the split: the target of the data set needs "
                "some; choose another target or an earlier part of the data in dataset.yaml"
            )
        self._first_event = _first_times(user_codes, at, len(self.user_ids))
        self._dataset = dataset
        self._items: dict[float, ItemTable] = {}  # of the moment asked for last
        self._has_impressions = bool((types == EventType.IMPRESSION.value).any())

    @property
    def targets(self) -> Actions:
        """All target actions."""
        return self.actions[self.target]

    @cached_property
    def again(self) -> bool:
        """Whether users act on an item again; where not, nobody is proposed what they had."""
        return act_again(self.targets)

    @property
    def predicted(self) -> tuple[EventType, ...]:
        """The actions that get a probability head: those that the data holds, target included."""
        return tuple(self.actions)

    def exposures(self, *, window_hours: float) -> Exposures | None:
        """Logged pages, labelled by the predicted actions; None where none were.

        Those whose window had ended before the cut: what may yet come of a later one is not known.
        """
        if not self._has_impressions:
            return None
        exposures = Exposures.read(
            self._dataset, self.catalogue, self.predicted, window_hours=window_hours
        )
        return exposures.between(-np.inf, self.cut - window_hours * SECONDS_PER_HOUR)

    def known_users(self, moment: float) -> Int32:
        """Codes of users with an event before a moment."""
        return np.flatnonzero(self._first_event < moment).astype(np.int32)

    def newcomers(self, start: float, end: float) -> Int32:
        """Codes of users first seen in [start, end), with a target action in it."""
        first = np.flatnonzero((self._first_event >= start) & (self._first_event < end))
        acted = distinct(self.targets.between(start, end).users)
        return np.intersect1d(first, acted).astype(np.int32)

    def states(self, service: str, users: Int32, moment: float) -> Iterator[UserState]:
        """User states at a moment, in the order of `users`, by point-in-time join."""
        return self.states_of(service, self.user_ids[users], moment)

    def states_of(
        self, service: str, ids: npt.NDArray[np.object_], moment: float
    ) -> Iterator[UserState]:
        """The same by user id, whether or not the history has an event of the user."""
        rows = self.repo.historical(service, f.USER, self._entity_rows(c.USER_ID, ids, moment))
        tags = tuple(self.tag_kinds)
        for user_id, row in zip(ids, _records(rows), strict=True):
            yield UserState.read(str(user_id), row, self.catalogue, tags)

    def items(self, moment: float) -> ItemTable:
        """The catalogue with the statistics as they were at a moment, by point-in-time join.

        Kept until another moment is asked for: a week is read and proposed for at one.
        """
        if moment not in self._items:
            self._items = {moment: self._items_at(moment)}
        return self._items[moment]

    def _items_at(self, moment: float) -> ItemTable:
        before = self.targets.between(-np.inf, moment)
        seen = self.catalogue.item_ids[distinct(before.items)]
        rows = self.repo.historical(
            f.RANKER_SERVICE,
            f.ITEM,
            self._entity_rows(c.ITEM_ID, seen, moment),
            views=[f.ITEM_STATISTICS],
        )
        return self.catalogue.with_statistics(rows)

    def _catalogue(self, dataset: Dataset, events: pd.DataFrame) -> ItemTable:
        items = dataset.items()
        known = pd.DataFrame({c.ITEM_ID: events[c.ITEM_ID].cat.categories})
        if items is None:
            return ItemTable.from_profile(known, self.affinity_columns)
        items = items.assign(**{c.ITEM_ID: items[c.ITEM_ID].astype(str)})
        missing = known[~known[c.ITEM_ID].isin(items[c.ITEM_ID])]
        columns = tuple(self.repo.schema.item_categorical)
        return ItemTable.from_profile(pd.concat([items, missing], ignore_index=True), columns)

    @staticmethod
    def _entity_rows(key: str, ids: npt.NDArray[np.object_], moment: float) -> pd.DataFrame:
        return pd.DataFrame({key: ids.astype(str), f.EVENT_TIMESTAMP: _timestamp(moment)})


def _timestamp(moment: float) -> pd.Timestamp:
    """A moment (epoch seconds) to the microsecond, as snapshots are named."""
    return pd.Timestamp(round(moment * 1e6), unit="us", tz="UTC")


def weekly(moments: Sequence[float], cut: float) -> Iterator[tuple[float, float]]:
    """Pairs (moment, next moment), the last one up to the cut."""
    yield from itertools.pairwise(moments)
    if moments[-1] < cut:
        yield moments[-1], cut


def _records(frame: pd.DataFrame) -> Iterator[dict[str, object]]:
    names = [name for name in frame.columns if name != f.EVENT_TIMESTAMP]
    for values in zip(*(frame[name].to_numpy() for name in names), strict=True):
        yield dict(zip(names, values, strict=True))


def _first_times(
    users: npt.NDArray[np.integer], at: npt.NDArray[np.floating], size: int
) -> npt.NDArray[np.float64]:
    first = np.full(size, np.inf)
    np.minimum.at(first, users, at)
    return first
