"""Whom an evaluation asks about: every user with a target action after the cut.

The cut is a global one in time. Data whose own split lets a test event precede a training event is
refused: a model would be judged on a past whose future it knows.

Shapes: `U` users.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.data.store import Dataset
from qianmian.errors import TrainingError
from qianmian.features.item_table import Int32
from qianmian.features.user_state import UserState
from training.actions import Actions, items_by_user
from training.history import History
from training.segments import SEGMENT_TAGS, segments_of


@dataclass(frozen=True, slots=True)
class Subject:
    """A user to evaluate."""

    code: int  # into History.user_ids; -1 for a user first seen after the cut
    user_id: str
    relevant: Int32  # distinct items acted on after the cut, ascending
    owned: Int32  # distinct items acted on before the cut, ascending
    state: UserState
    segments: tuple[str, ...]  # as `segments_of` names them


def refuse_a_known_future(dataset: Dataset) -> None:
    """Check that every test event comes after every training event.

    Raises:
        TrainingError: one does not, or events without a time leave it open.
    """
    if unknown := dataset.imputed_times():
        raise TrainingError(
            f"the split of the data set cannot be judged: {unknown:,} events without a time leave "
            "open whether a test event precedes a training event; give every event its time and "
            "import again"
        )
    if dataset.spec.split.by == "time":
        return
    train = dataset.train_events([c.TIMESTAMP])[c.TIMESTAMP]
    test = dataset.test_events([c.TIMESTAMP])[c.TIMESTAMP]
    remedy = "set split.by: time in dataset.yaml, or correct the column split of the events"
    if len(train) and len(test) and test.min() < train.max():
        raise TrainingError(
            f"a test event of {test.min():%Y-%m-%d %H:%M} precedes a training event of "
            f"{train.max():%Y-%m-%d %H:%M}: expected every test event after every training event, "
            f"else a model is judged on a past whose future it knows; {remedy}"
        )


def subjects_of(
    history: History,
    dataset: Dataset,
    pool: Int32 | None = None,
    tags: Sequence[str] = SEGMENT_TAGS,
) -> Iterator[Subject]:
    """Users with a target action after the cut; with a `pool`, one on an item of it.

    Their segments are those of the `tags`.
    """
    relevant = held_out_items(history, dataset)
    if pool is not None:
        kept = {user: items[np.isin(items, pool)] for user, items in relevant.items()}
        relevant = {user: items for user, items in kept.items() if len(items)}
    before = items_by_user(history.targets)
    code_of = {user_id: code for code, user_id in enumerate(history.user_ids)}
    known = np.array(sorted(code_of[u] for u in relevant if u in code_of), dtype=np.int32)
    nothing = np.zeros(0, dtype=np.int32)
    for code, state in zip(
        known.tolist(), history.states(f.RANKER_SERVICE, known, history.cut), strict=True
    ):
        items = relevant.pop(state.user_id)
        owned, segments = before.get(code, nothing), segments_of(state, tags)
        yield Subject(code, state.user_id, items, owned, state, segments)
    cold = np.array(sorted(relevant), dtype=object)
    for state in history.states_of(f.RANKER_SERVICE, cold, history.cut):
        items, segments = relevant[state.user_id], segments_of(state, tags)
        yield Subject(-1, state.user_id, items, nothing, state, segments)


def held_out_items(history: History, dataset: Dataset) -> dict[str, Int32]:
    """Distinct items of each user's target actions after the cut, ascending, by user id."""
    columns = [c.USER_ID, c.ITEM_ID, c.EVENT_TYPE]
    test = dataset.test_events(columns)
    test = test[test[c.EVENT_TYPE] == history.target.value]
    users = test[c.USER_ID].astype(str).to_numpy()
    items = history.catalogue.indices_of(test[c.ITEM_ID].astype(str))
    # An item that nobody knew before the cut has no index; it counts as relevant all the same, so
    # each gets a negative index of its own that no list can hold.
    unknown = items < 0
    _, places = np.unique(test[c.ITEM_ID].astype(str).to_numpy()[unknown], return_inverse=True)
    items[unknown] = -1 - places
    names, codes = np.unique(users, return_inverse=True)
    grouped = items_by_user(Actions(codes.astype(np.int32), items, np.zeros(len(items))))
    return {str(names[code]): kept for code, kept in grouped.items()}
