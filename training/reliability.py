"""Measures whether probabilities hold: what the ranker predicted against what followed the cut.

Every known user counts, those who never came back too, over the candidates that serving ranks. A
probability speaks of one horizon, so the time after the cut must be as long.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts.events import EventType
from qianmian.data.store import Dataset
from qianmian.distinct import distinct
from qianmian.features.item_table import Float32, Int32
from qianmian.features.user_state import SECONDS_PER_DAY, UserState
from qianmian.releases.bundle import Bundle
from qianmian.releases.manifest import CalibrationRow
from qianmian.retrieval.sources import SourceQuotas
from training.foretold import Foretold
from training.history import History
from training.segments import SEGMENT_TAGS, segments_of
from training.workers import by_all_cores


def calibration_rows(
    bundle: Bundle,
    history: History,
    dataset: Dataset,
    ranked: Int32,
    *,
    quotas: SourceQuotas,
    horizon_days: float,
    tags: Sequence[str] = SEGMENT_TAGS,
    without: Collection[EventType] = (),
) -> list[CalibrationRow]:
    """Rows for each action over all users and over each segment by the tags.

    None where the data ends before the horizon does, and none for actions that are known of pages
    alone: what was not shown says nothing of them. What is held against the events are the actions
    of the bundle, whatever others the data have since.
    """
    if days_after(history, dataset) < horizon_days:
        return []
    end = history.cut + horizon_days * SECONDS_PER_DAY
    followed = _followed(history, dataset, bundle.actions, end)
    users = history.known_users(history.cut)
    pool = bundle.pool(ranked)
    nothing = np.zeros(0, dtype=np.int32)

    def expected(state: UserState) -> tuple[Float32, npt.NDArray[np.bool_]]:
        vector = bundle.user_vector(state, history.cut)
        allowed = None if history.again else pool.without(state.ledger.items)
        candidates = bundle.propose(state, vector, pool, quotas, allowed)
        had = [acted.get(state.user_id, nothing) for acted in followed]
        marks = [np.isin(candidates.items, items) for items in had]
        return bundle.expect(state, candidates, history.cut), np.stack(marks, axis=1)

    foretold = Foretold()
    coming = history.states(f.RANKER_SERVICE, users, history.cut)
    while states := list(islice(coming, _AT_ONCE)):
        for state, (scores, marks) in zip(states, by_all_cores(expected, states), strict=True):
            foretold.add(scores, marks, segments_of(state, tags))
    rows = foretold.rows(bundle.actions, "test")
    return [row for row in rows if row.action not in without]


_AT_ONCE: Final = 4096  # users whose states are held


def days_after(history: History, dataset: Dataset) -> float:
    """Days from the cut to the end of the test; a second short of a day counts as the day."""
    return (dataset.spec.split.test_end.timestamp() + 1.0 - history.cut) / SECONDS_PER_DAY


def _followed(
    history: History, dataset: Dataset, actions: Sequence[EventType], end: float
) -> list[dict[str, Int32]]:
    """For each of the actions, the items of each user between the cut and `end`."""
    events = dataset.test_events([c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.TIMESTAMP])
    at = events[c.TIMESTAMP].to_numpy(dtype="datetime64[us]").astype(np.int64) * 1e-6
    events = events[(at >= history.cut) & (at < end)]
    users = events[c.USER_ID].astype(str).to_numpy()
    items = history.catalogue.indices_of(events[c.ITEM_ID].astype(str))
    types = events[c.EVENT_TYPE].astype(str).to_numpy()
    followed = []
    for action in actions:
        mask = types == action.value
        order = np.argsort(users[mask], kind="stable")
        names, starts = np.unique(users[mask][order], return_index=True)
        groups = np.split(items[mask][order], starts[1:]) if len(names) else []
        followed.append(dict(zip(names.tolist(), map(distinct, groups), strict=True)))
    return followed
