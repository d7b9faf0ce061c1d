"""Evaluates a release against baselines: global split in time, the whole catalogue ranked.

Everything before the cut may be known; the target actions after it are what a list should hold.
Users with at least one such action count. Slices: `all`; `repeat` and `new` keep the items that the
user had, or had not, acted on before the cut, in the list and in what is relevant alike.
`ci_low` and `ci_high` bound the NDCG.

Shapes: `n` catalogue items, `R` ranked items of a user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.data.store import Dataset
from qianmian.features.item_table import Int32
from qianmian.features.user_state import UserState
from qianmian.releases.bundle import Bundle
from qianmian.releases.manifest import MetricRow
from qianmian.retrieval.sources import SourceQuotas, top_k
from training.actions import Actions, items_by_user
from training.baselines import PersonalFrequency, counts, popularity
from training.history import History
from training.metrics import bootstrap_interval, ndcg_at, recall_at

SYSTEMS: Final = ("popularity", "personal_frequency", "two_tower", "two_stage")
SLICES: Final = ("all", "repeat", "new")
KS: Final = (10, 20, 50)
DEPTH: Final = 100  # ranks written to the lists for every user, whatever their slice


@dataclass(frozen=True, slots=True)
class Ranking:
    """One system's scores for one user; what it leaves out is not ranked."""

    items: Int32  # [R] item indices
    scores: npt.NDArray[np.floating]  # [R]


@dataclass(frozen=True, slots=True)
class Subject:
    """A user to evaluate."""

    code: int  # into History.user_ids; -1 for a user first seen after the cut
    user_id: str
    relevant: Int32  # distinct items acted on after the cut, ascending
    owned: Int32  # distinct items acted on before the cut, ascending
    state: UserState


def evaluate(
    bundle: Bundle,
    history: History,
    dataset: Dataset,
    *,
    quotas: SourceQuotas,
    rng: np.random.Generator,
    lists: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[MetricRow]:
    """Metric rows of every system, slice and K; optionally write every list as Parquet.

    No rows where the data set has no target action after the split.
    """
    subjects = list(_subjects(history, dataset))
    if not subjects:
        return []
    systems = _systems(bundle, history, quotas)
    writer = _ListWriter(lists, history) if lists else None
    rows = []
    for name in SYSTEMS:
        progress(f"evaluating {name} on {len(subjects):,} users")
        results: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for subject in subjects:
            ranking = systems[name](subject)
            for label, hits, relevant in _hits(subject, ranking):
                for k in KS:
                    scores = recall_at(hits, relevant, k), ndcg_at(hits, relevant, k)
                    results.setdefault((label, k), []).append(scores)
            if writer:
                writer.add(name, subject, ranking)
        rows += [_row(name, label, k, pairs, rng) for (label, k), pairs in sorted(results.items())]
    if writer:
        writer.close()
    return rows


def _systems(
    bundle: Bundle, history: History, quotas: SourceQuotas
) -> dict[str, Callable[[Subject], Ranking]]:
    cut, n = history.cut, len(history.catalogue)
    trained = np.flatnonzero(counts(history.targets, n) > 0).astype(np.int32)
    popular = popularity(history.targets, n, cut)
    personal = PersonalFrequency(history.targets, n, cut)
    pool = bundle.pool(trained)
    target = bundle.actions.index(history.target)

    def two_stage(subject: Subject) -> Ranking:
        vector = bundle.user_vector(subject.state, cut)
        candidates = bundle.propose(subject.state, vector, pool, quotas)
        return Ranking(candidates.items, bundle.rank(subject.state, candidates, cut)[:, target])

    return {
        "popularity": lambda _: Ranking(trained, popular[trained]),
        "personal_frequency": lambda s: Ranking(trained, personal.scores(s.code)[trained]),
        "two_tower": lambda s: Ranking(trained, pool.vectors @ bundle.user_vector(s.state, cut)),
        "two_stage": two_stage,
    }


def _subjects(history: History, dataset: Dataset) -> Iterator[Subject]:
    relevant = _test_items(history, dataset)
    before = items_by_user(history.targets)
    code_of = {user_id: code for code, user_id in enumerate(history.user_ids)}
    known = np.array(sorted(code_of[u] for u in relevant if u in code_of), dtype=np.int32)
    nothing = np.zeros(0, dtype=np.int32)
    for code, state in zip(
        known.tolist(), history.states(f.RANKER_SERVICE, known, history.cut), strict=True
    ):
        items = relevant.pop(state.user_id)
        yield Subject(code, state.user_id, items, before.get(code, nothing), state)
    cold = np.array(sorted(relevant), dtype=object)
    for state in history.states_of(f.RANKER_SERVICE, cold, history.cut):
        yield Subject(-1, state.user_id, relevant[state.user_id], nothing, state)


def _test_items(history: History, dataset: Dataset) -> dict[str, Int32]:
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


def _hits(subject: Subject, ranking: Ranking) -> Iterator[tuple[str, npt.NDArray[np.bool_], int]]:
    """For each slice that the user takes part in: the hits of its first places and its relevant."""
    for label, places in _slices(subject, ranking).items():
        relevant = _kept(label, subject.relevant, subject.owned)
        if len(relevant):
            yield label, np.isin(ranking.items[places], relevant), len(relevant)


def _slices(subject: Subject, ranking: Ranking) -> dict[str, npt.NDArray[np.intp]]:
    """Positions in `ranking` of the first places of each slice, best first."""
    owned = _member(ranking.items, subject.owned)
    depth = max(KS)
    first = top_k(ranking.scores, depth + int(owned.sum()))  # holds `depth` new ones, if there are
    rows = np.flatnonzero(owned)
    return {
        "all": first[:depth],
        "repeat": rows[top_k(ranking.scores[rows], depth)],
        "new": first[~owned[first]][:depth],
    }


def _member(items: Int32, chosen: Int32) -> npt.NDArray[np.bool_]:
    """Which items are among the chosen ones (a mask is quicker than a sort)."""
    mask = np.zeros(int(items.max(initial=0)) + 1, dtype=np.bool_)
    mask[chosen[chosen < len(mask)]] = True
    return mask[items]


def _kept(label: str, items: Int32, owned: Int32) -> Int32:
    if label == "all":
        return items
    return items[np.isin(items, owned, invert=label == "new")]


def _row(
    system: str, label: str, k: int, pairs: list[tuple[float, float]], rng: np.random.Generator
) -> MetricRow:
    recall, ndcg = (np.array(values) for values in zip(*pairs, strict=True))
    low, high = bootstrap_interval(ndcg.tolist(), rng)
    return MetricRow(
        system=system,
        slice=label,
        k=k,
        recall=float(recall.mean()),
        ndcg=float(ndcg.mean()),
        ci_low=low,
        ci_high=high,
        users=len(pairs),
    )


_BUFFERED = 500  # lists held before they are written


class _ListWriter:
    """Writes (system, user_id, item_id, rank, score).

    For each user the first DEPTH ranks and, with their true ranks, whatever else the first 50 of
    the slices `repeat` and `new` need.
    """

    _SCHEMA = pa.schema(
        [
            ("system", pa.string()),
            (c.USER_ID, pa.string()),
            (c.ITEM_ID, pa.string()),
            ("rank", pa.int32()),
            ("score", pa.float64()),
        ]
    )

    def __init__(self, path: Path, history: History) -> None:
        self._ids = history.catalogue.item_ids
        self._writer = pq.ParquetWriter(path, self._SCHEMA, compression="zstd")
        self._rows: list[pa.Table] = []

    def add(self, system: str, subject: Subject, ranking: Ranking) -> None:
        scores = np.asarray(ranking.scores, dtype=np.float64)
        first = top_k(scores, DEPTH)
        more = _slices(subject, ranking)
        places = np.unique(np.concatenate([first, more["repeat"], more["new"]]))
        rank = np.empty(len(places), dtype=np.int32)
        ascending = np.sort(-scores)
        for i, place in enumerate(places):
            better = np.searchsorted(ascending, -scores[place], side="left")
            rank[i] = better + 1 + np.count_nonzero(scores[:place] == scores[place])
        order = np.argsort(rank)
        size = len(places)
        self._rows.append(
            pa.table(
                {
                    "system": [system] * size,
                    c.USER_ID: [subject.user_id] * size,
                    c.ITEM_ID: self._ids[ranking.items[places[order]]].tolist(),
                    "rank": rank[order],
                    "score": scores[places[order]],
                },
                schema=self._SCHEMA,
            )
        )
        if len(self._rows) >= _BUFFERED:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.concat_tables(self._rows))
            self._rows.clear()

    def close(self) -> None:
        self._flush()
        self._writer.close()
