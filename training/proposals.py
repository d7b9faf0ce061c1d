"""What the ranker learns from: candidates as retrieval proposed them, and what followed.

`training.shown` adds what was really shown, once impressions are logged.

For each user of a moment the same sources and the same ranking features as in serving are run on
what was known then; an action within the horizon labels its candidate. Negatives are subsampled
and carry the number of candidates that they stand for, so probabilities stay unbiased.

Shapes: `R` kept candidates of all groups, `G` groups (a user at a moment, or a page), `F` features,
`A` actions, `M` remembered items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from qianmian.features.item_table import Float32, Int32
from qianmian.features.memory import Memory
from qianmian.features.ranking_features import RankingFeatures
from qianmian.features.user_state import SECONDS_PER_DAY, UserState
from qianmian.retrieval.sources import Pool, SourceQuotas, propose_scored
from training.actions import items_by_user
from training.history import History
from training.segments import segments_of
from training.workers import by_all_cores, in_parts


@dataclass(frozen=True, slots=True)
class Examples:
    """Kept candidates, group after group."""

    features: Float32  # [R, F]
    items: Int32  # [R] item numbers: index in the catalogue + 1
    labels: Float32  # [R, A]
    weights: Float32  # [R] candidates that each row stands for
    starts: npt.NDArray[np.int64]  # [G + 1] first row of each group, then R
    moments: npt.NDArray[np.float64]  # [G] epoch seconds at which each group was proposed
    positions: Int32  # [R] place on the page, from 1; 0 for what was proposed and not shown
    shown: npt.NDArray[np.bool_]  # [G] whether the group is a logged page
    launched: npt.NDArray[np.bool_]  # [G] whether its items were met without their past
    memory: Memory  # [G, M] what the user of each group remembered
    segments: npt.NDArray[np.str_]  # [G, T] that the user of each group belonged to; "" for none

    @classmethod
    def join(cls, parts: Iterable[Examples]) -> Examples:
        """All groups of several parts."""
        parts = list(parts)
        sizes = np.concatenate([np.diff(p.starts) for p in parts])
        return cls(
            features=np.concatenate([p.features for p in parts]),
            items=np.concatenate([p.items for p in parts]),
            labels=np.concatenate([p.labels for p in parts]),
            weights=np.concatenate([p.weights for p in parts]),
            starts=np.concatenate([[0], np.cumsum(sizes)]),
            moments=np.concatenate([p.moments for p in parts]),
            positions=np.concatenate([p.positions for p in parts]),
            shown=np.concatenate([p.shown for p in parts]),
            launched=np.concatenate([p.launched for p in parts]),
            memory=Memory.join(p.memory for p in parts),
            segments=np.concatenate([p.segments for p in parts]),
        )

    def as_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything by name, as a file of arrays holds it."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        memory: Memory = own.pop("memory")
        return own | {f"memory_{name}": side for name, side in memory._asdict().items()}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Examples:
        """What `as_arrays` gave."""
        memory = Memory(*(arrays[f"memory_{name}"] for name in Memory._fields))
        own = {field.name: arrays[field.name] for field in fields(cls) if field.name != "memory"}
        return cls(**own, memory=memory)

    def first(self, groups: int) -> Examples:
        """The first groups, at most so many."""
        return self.groups(np.arange(len(self.starts) - 1) < groups)

    def groups(self, chosen: npt.NDArray[np.bool_]) -> Examples:
        """The groups that a mask [G] chooses, with their rows."""
        sizes = np.diff(self.starts)
        rows = np.repeat(chosen, sizes)
        return Examples(
            features=self.features[rows],
            items=self.items[rows],
            labels=self.labels[rows],
            weights=self.weights[rows],
            starts=np.concatenate([[0], np.cumsum(sizes[chosen])]),
            moments=self.moments[chosen],
            positions=self.positions[rows],
            shown=self.shown[chosen],
            launched=self.launched[chosen],
            memory=self.memory.take(chosen),
            segments=self.segments[chosen],
        )


def labels_after(history: History, moment: float, horizon_days: float) -> list[dict[int, Int32]]:
    """For each predicted action, the distinct items of each user within the horizon."""
    end = moment + horizon_days * SECONDS_PER_DAY
    if end > history.cut + 1.0:
        raise ValueError(f"labels of moment {moment} would reach beyond the cut {history.cut}")
    return [
        items_by_user(history.actions[action].between(moment, end)) for action in history.predicted
    ]


def closed_to(states: Sequence[UserState], *, again: bool) -> list[Int32] | None:
    """What is closed to each user: what they had, where nobody acts on an item `again`."""
    return None if again else [state.ledger.items for state in states]


def examples_at(
    users: Iterable[tuple[int, UserState, Float32]],
    *,
    moment: float,
    pool: Pool,
    closed: Sequence[Int32] | None,
    features: RankingFeatures,
    labels: list[dict[int, Int32]],
    quotas: SourceQuotas,
    negatives: int | None,
    rng: np.random.Generator,
) -> Examples:
    """Propose, describe, label and subsample for every (user code, state, vector) of a moment.

    Of what is `closed` to a user, as `closed_to` tells, a few are proposed beside the others: a
    venue may show it, and the ranker must know that nobody wants it. So many `negatives` of each
    user are kept, all where that is None.
    """
    described = _groups(users, moment, pool, closed, features, labels, quotas)
    groups = [g if negatives is None else g.sampled(negatives, rng) for g in described]
    sizes = [len(group.weights) for group in groups]
    return Examples(
        features=np.concatenate([group.features for group in groups]),
        items=np.concatenate([group.items for group in groups]),
        labels=np.concatenate([group.labels for group in groups]),
        weights=np.concatenate([group.weights for group in groups]),
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        moments=np.full(len(groups), moment),
        positions=np.zeros(sum(sizes), dtype=np.int32),
        shown=np.zeros(len(groups), dtype=np.bool_),
        launched=np.zeros(len(groups), dtype=np.bool_),
        memory=Memory.stack(group.memory for group in groups),
        segments=np.array([group.segments for group in groups], dtype=np.str_),
    )


@dataclass(frozen=True, slots=True)
class _Group:
    """Candidates of one user at one moment."""

    features: Float32  # [N, F]
    items: Int32  # [N]
    labels: Float32  # [N, A]
    weights: Float32  # [N]
    memory: Memory
    segments: tuple[str, ...]  # one for each usual tag

    def sampled(self, negatives: int, rng: np.random.Generator) -> _Group:
        """All positives and some negatives."""
        kept, weights = _subsample(self.labels.max(axis=1) > 0, negatives, rng)
        return replace(
            self,
            features=self.features[kept],
            items=self.items[kept],
            labels=self.labels[kept],
            weights=weights,
        )


def _groups(
    users: Iterable[tuple[int, UserState, Float32]],
    moment: float,
    pool: Pool,
    closed: Sequence[Int32] | None,
    features: RankingFeatures,
    labels: list[dict[int, Int32]],
    quotas: SourceQuotas,
) -> Iterator[_Group]:
    """Every user's candidates, described by all cores, in the order of the users."""
    nothing = np.zeros(0, dtype=np.int32)

    everybody = list(users)

    def described(some: range) -> list[_Group]:
        batch = everybody[some.start : some.stop]
        scores_UP = pool.scores(np.stack([vector for _, _, vector in batch]))
        found = []
        for at, (code, state, _), scores_P in zip(some, batch, scores_UP, strict=True):
            allowed = None if closed is None else pool.without(closed[at])
            candidates = propose_scored(state, scores_P, pool, quotas, allowed)
            if closed is not None:
                candidates = candidates.then(propose_scored(state, scores_P, pool, _OF_CLOSED))
            marks = [np.isin(candidates.items, acted.get(code, nothing)) for acted in labels]
            group = _Group(
                features.compute(state, candidates, moment),
                candidates.items + 1,
                np.stack(marks, axis=1).astype(np.float32),
                np.ones(len(candidates), dtype=np.float32),
                Memory.of(state, moment),
                segments_of(state),
            )
            found.append(group)
        return found

    parts = in_parts(len(everybody), _USERS_AT_ONCE)
    return chain.from_iterable(by_all_cores(described, parts))


_OF_CLOSED: Final = SourceQuotas.only(repeat=8)
_USERS_AT_ONCE: Final = 32  # the item vectors are read once for all of them


def _subsample(
    positive: npt.NDArray[np.bool_], negatives: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], Float32]:
    """All positives and some negatives; each negative stands for its share of all."""
    positives, rest = np.flatnonzero(positive), np.flatnonzero(~positive)
    drawn = rng.choice(rest, negatives, replace=False) if len(rest) > negatives else rest
    stands_for = len(rest) / max(len(drawn), 1)
    weights = np.concatenate([np.ones(len(positives)), np.full(len(drawn), stands_for)])
    return np.concatenate([positives, drawn]), weights.astype(np.float32)
