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

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from qianmian.features.item_table import Int32
from qianmian.releases.manifest import MetricRow
from training.actions import items_by_user
from training.beyond_accuracy import Catalogue, ListProfile
from training.history import History
from training.lists import Listed, ListWriter
from training.metrics import (
    Bools,
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
from training.workers import by_all_cores, in_parts

Key = tuple[str, str, int]  # system, slice, k
_RECALL, _NDCG, _MRR, _MAP = range(4)


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
    asked = _Asked.of(subjects, catalogue, listing=lists is not None)
    writer = ListWriter(lists, item_ids) if lists else None
    scores: dict[Key, Floats] = {}
    members: dict[str, list[int]] = {}
    profiles: dict[tuple[str, int], ListProfile] = {}
    for name, system in systems.items():
        progress(f"evaluating {name} on {len(subjects):,} users")
        gathered: dict[str, list[Floats]] = {}
        members.clear()  # the same for every system
        profiles |= {(name, k): ListProfile(catalogue, k) for k in KS}
        for i, judged in enumerate(_each(system, subjects, asked)):
            for label in slices_of(subjects[i], judged.scores):
                members.setdefault(label, []).append(i)
                gathered.setdefault(label, []).append(judged.scores.get(label, judged.scores[ALL]))
            for k in KS:
                profiles[name, k].add(judged.first)
            if writer and judged.listed:
                writer.add(name, subjects[i].user_id, judged.listed)
        for label in sorted(gathered, key=_order):
            of_users = np.stack(gathered[label])
            scores |= {(name, label, k): of_users[:, at] for at, k in enumerate(KS)}
    if writer:
        writer.close()
    return Evaluation(
        users=tuple(subject.user_id for subject in subjects),
        scores=scores,
        members={label: np.array(rows) for label, rows in members.items()},
        profiles=profiles,
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of every system alike."""

    relevant: list[dict[str, Int32]]  # of each subject, by slice of items
    cold: Bools  # [n]
    again: bool
    listing: bool

    @classmethod
    def of(cls, subjects: list[Subject], catalogue: Catalogue, *, listing: bool) -> _Asked:
        cold = catalogue.owners < COLD_ITEM_USERS
        relevant = [relevant_in(subject, cold) for subject in subjects]
        return cls(relevant, cold, catalogue.again, listing)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One system's list for one subject."""

    first: Int32  # items of its first places
    scores: dict[str, Floats]  # slice of items -> [K, 4]
    listed: Listed | None


def _each(system: System, subjects: list[Subject], asked: _Asked) -> Iterator[_Judged]:
    """The system's lists, judged by all cores, in the order of the subjects."""

    def judged(some: range) -> list[_Judged]:
        return [_judged(system, subjects[i], asked, asked.relevant[i]) for i in some]

    return chain.from_iterable(by_all_cores(judged, in_parts(len(subjects), _AT_ONCE)))


_AT_ONCE: Final = 32


def _judged(
    system: System, subject: Subject, asked: _Asked, relevant: Mapping[str, Int32]
) -> _Judged:
    ranking = system(subject)
    if not asked.again:
        ranking = ranking.without(subject.owned)
    places = places_of(subject, ranking, asked.cold)
    scores = {
        label: _scores(np.isin(ranking.items[places[label]], wanted), len(wanted))
        for label, wanted in relevant.items()
        if len(wanted)
    }
    listed = Listed.of(ranking, places) if asked.listing else None
    return _Judged(ranking.items[places[ALL]], scores, listed)


def _scores(hits: Bools, relevant: int) -> Floats:
    """Recall, NDCG, reciprocal rank and average precision at each K, [K, 4]."""
    return np.array(
        [
            (
                recall_at(hits, relevant, k),
                ndcg_at(hits, relevant, k),
                reciprocal_rank_at(hits, k),
                average_precision_at(hits, relevant, k),
            )
            for k in KS
        ]
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
        again=history.again,
    )


_FIRST: Final = {"all": 0, "repeat": 1, "new": 2}


def _order(label: str) -> tuple[int, str]:
    """The slices that everybody reads first, then the others by name."""
    return _FIRST.get(label, len(_FIRST)), label
