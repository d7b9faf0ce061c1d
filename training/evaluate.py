"""Judges ranked lists: global split in time, all trained items (or those of a venue's pool) ranked.

Everything before the cut may be known; the target actions after it are what a list should hold.
`training.systems` makes the lists, `training.slices` cuts them, `training.metrics` scores each;
here the scores of users become rows. Where users do not act on an item again, what a user had is
left out of every system's list and of what is relevant (a venue says `bought_within_days`).
`ci_low` and `ci_high` bound the NDCG; `ratio` is the NDCG of `two_stage` over the row's, with a
paired bootstrap over users.

Shapes: `S` users of a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from qianmian.features.item_table import Int32
from qianmian.releases.manifest import MetricRow
from training.actions import act_again, items_by_user
from training.beyond_accuracy import Catalogue, ListProfile
from training.history import History
from training.lists import ListWriter
from training.metrics import (
    Floats,
    Resampled,
    average_precision_at,
    ndcg_at,
    recall_at,
    reciprocal_rank_at,
)
from training.slices import ALL, COLD_ITEM_USERS, KS, places_of, relevant_in, slices_of
from training.subjects import Subject
from training.systems import TWO_STAGE, System

Key = tuple[str, str, int]  # system, slice, k
_RECALL, _NDCG, _MRR, _MAP = range(4)
_MEASURES: Final = 4


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of every user, by system, slice and K."""

    users: tuple[str, ...]
    scores: Mapping[Key, Floats]  # [S, 4] recall, NDCG, reciprocal rank, average precision
    members: Mapping[str, npt.NDArray[np.int64]]  # slice -> [S] positions in `users`
    profiles: Mapping[tuple[str, int], ListProfile]  # (system, k), lists of slice `all`

    def ndcg(self, system: str, label: str, k: int) -> Floats:
        """NDCG of each user of a slice, float64 [S]."""
        return self.scores[system, label, k][:, _NDCG]

    def rows(self, rng: np.random.Generator) -> list[MetricRow]:
        """Means with intervals, in the order of the systems.

        Users are drawn once for a slice: all systems are judged by the same draws.
        """
        rows: dict[Key, MetricRow] = {}
        for label, members in self.members.items():
            drawn = Resampled.draw(len(members), rng)
            rows |= {key: self._row(key, drawn) for key in self.scores if key[1] == label}
        return [rows[key] for key in self.scores]

    def _row(self, key: Key, drawn: Resampled) -> MetricRow:
        system, label, k = key
        values = self.scores[key]
        means = values.mean(axis=0)
        low, high = drawn.interval(values[:, _NDCG])
        extra: dict[str, float | None] = {}
        if label == ALL:
            extra |= self.profiles[system, k].summary()
        ours = self.scores.get((TWO_STAGE, label, k))
        if system != TWO_STAGE and ours is not None and means[_NDCG] > 0:
            ratio = drawn.ratio(ours[:, _NDCG], values[:, _NDCG])
            extra |= {"ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high}
            extra = {name: v if v is None or np.isfinite(v) else None for name, v in extra.items()}
        return MetricRow(
            system=system,
            slice=label,
            k=k,
            recall=float(means[_RECALL]),
            ndcg=float(means[_NDCG]),
            mrr=float(means[_MRR]),
            map=float(means[_MAP]),
            ci_low=low,
            ci_high=high,
            users=len(values),
            **extra,
        )


def evaluate(
    subjects: Iterable[Subject],
    systems: Mapping[str, System],
    catalogue: Catalogue,
    *,
    item_ids: npt.NDArray[np.object_],
    lists: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Score every system's list for every subject; optionally write every list as Parquet."""
    subjects = list(subjects) if catalogue.again else list(map(_without_owned, subjects))
    subjects = [subject for subject in subjects if len(subject.relevant)]
    cold = catalogue.owners < COLD_ITEM_USERS
    wanted = [relevant_in(subject, cold) for subject in subjects]
    writer = ListWriter(lists, item_ids) if lists else None
    scores: dict[Key, Floats] = {}
    members: dict[str, list[int]] = {}
    profiles: dict[tuple[str, int], ListProfile] = {}
    for name, system in systems.items():
        progress(f"evaluating {name} on {len(subjects):,} users")
        gathered: dict[tuple[str, int], list[tuple[float, float, float, float]]] = {}
        members.clear()  # the same for every system
        profiles |= {(name, k): ListProfile(catalogue, k) for k in KS}
        for i, (subject, relevant) in enumerate(zip(subjects, wanted, strict=True)):
            ranking = system(subject)
            if not catalogue.again:
                ranking = ranking.without(subject.owned)
            places = places_of(subject, ranking, cold)
            for label, kept, held in slices_of(subject, places, relevant):
                hits = np.isin(ranking.items[kept], held)
                members.setdefault(label, []).append(i)
                for k in KS:
                    gathered.setdefault((label, k), []).append(
                        (
                            recall_at(hits, len(held), k),
                            ndcg_at(hits, len(held), k),
                            reciprocal_rank_at(hits, k),
                            average_precision_at(hits, len(held), k),
                        )
                    )
            for k in KS:
                profiles[name, k].add(ranking.items[places[ALL]])
            if writer:
                writer.add(name, subject, ranking, places)
        for (label, k), values in sorted(gathered.items(), key=_order):
            scores[name, label, k] = np.array(values).reshape(-1, _MEASURES)
    if writer:
        writer.close()
    return Evaluation(
        users=tuple(subject.user_id for subject in subjects),
        scores=scores,
        members={label: np.array(rows) for label, rows in members.items()},
        profiles=profiles,
    )


def _without_owned(subject: Subject) -> Subject:
    return replace(subject, relevant=np.setdiff1d(subject.relevant, subject.owned))


def catalogue_of(history: History, ranked: Int32) -> Catalogue:
    """What the measures beyond accuracy need to know of the items."""
    n = len(history.catalogue)
    owned = items_by_user(history.targets)
    pairs = np.concatenate([np.zeros(0, np.int32), *owned.values()])
    codes = [a.codes for a in history.catalogue.attributes.values()]
    empty = np.zeros((n, 0), dtype=np.int32)
    return Catalogue(
        ranked=ranked,
        owners=np.bincount(pairs, minlength=n),
        users=len(owned),
        attributes=np.stack(codes, axis=1) if codes else empty,
        again=act_again(history.targets),
    )


_FIRST: Final = {"all": 0, "repeat": 1, "new": 2}


def _order(entry: tuple[tuple[str, int], object]) -> tuple[int, str, int]:
    """The slices that everybody reads first, then the others by name."""
    (label, k), _ = entry
    return _FIRST.get(label, len(_FIRST)), label, k
