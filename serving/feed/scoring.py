"""Scoring: probabilities of each action, blended once into one number, then ordered.

    score = sum over actions a of w_a * p_a  +  p_order * (w_price * price + w_margin * margin)

The second part is what an order is expected to bring; an item whose price or margin is not known
brings nothing by it. It needs a release that predicts orders.

Shapes: `N` candidates, `A` actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from qianmian.contracts.objective import VALUE_TERMS, Term
from qianmian.experiments import FeedParams
from qianmian.features.item_table import Float32, Int32
from qianmian.retrieval.sources import Candidates, Int8
from serving.feed.shelf import Shelf

_Asked = tuple[int, int, int]
_KEPT: Final = 512  # weightings; more come only from files and settings that change meanwhile


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates in their final order, best first."""

    items: Int32  # [N]
    source: Int8  # [N]
    retrieval: Float32  # [N]
    probabilities: Float32  # [N, A]; no columns where no ranker scored
    score: Float32  # [N], finite, never rising

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight of each term of the score; `actions` float32 [A] as the release predicts them."""

    names: tuple[str, ...]
    actions: Float32
    values: Mapping[Term, float]  # of price and margin, those above 0 only
    order: int  # column of the chance of an order, -1 if the release does not predict it

    @classmethod
    def of(cls, names: tuple[str, ...], *objectives: Mapping[str, float]) -> Self:
        """Return the weights for a release's actions; later objectives replace earlier ones."""
        merged: dict[str, float] = {}
        for objective in objectives:
            merged.update(objective)
        order = names.index(Term.ORDER) if Term.ORDER in names else -1
        values = {term: merged[term] for term in VALUE_TERMS if merged.get(term)}
        return cls(
            names=names,
            actions=np.array([merged.get(name, 0.0) for name in names], dtype=np.float32),
            values=values if order >= 0 else {},
            order=order,
        )

    @classmethod
    def even(cls, names: tuple[str, ...]) -> Self:
        """Return weights under which all actions count alike."""
        return cls(names, np.ones(len(names), dtype=np.float32), {}, -1)

    def any(self) -> bool:
        """Return whether anything has a weight above 0."""
        return bool(self.actions.any()) or bool(self.values)

    def by_name(self) -> dict[str, float]:
        """Return the weights by the name of their term."""
        actions = dict(zip(self.names, self.actions.tolist(), strict=True))
        return {**actions, **{str(term): weight for term, weight in self.values.items()}}

    def score(self, probabilities: Float32, items: Int32, shelf: Shelf) -> Float32:
        """Return the score of each candidate, float32 [N]."""
        score = blend(probabilities, self.actions)
        for term, weight in self.values.items():
            worth = np.nan_to_num(value_of(term, shelf)[items])
            score = score + probabilities[:, self.order] * worth * np.float32(weight)
        return score


class Weightings:
    """Weights made once for each objective and arm, for they are looked up in every request."""

    def __init__(self) -> None:
        self._made: dict[_Asked, tuple[tuple[object, ...], Weights | None]] = {}

    def of(
        self, actions: Sequence[str], objective: Mapping[str, float], params: FeedParams
    ) -> Weights | None:
        """Return the weights of a release's actions, None where the objective weighs none of them.

        The arm's own objective goes before that of the venue.
        """
        parts = actions, objective, params
        asked = id(actions), id(objective), id(params)  # kept here, so no other can have their ids
        found = self._made.get(asked)
        if found is None:
            if len(self._made) >= _KEPT:
                self._made.clear()
            own = {str(action): weight for action, weight in params.objective.items()}
            weights = Weights.of(tuple(map(str, actions)), objective, own)
            found = self._made[asked] = parts, weights if weights.any() else None
        return found[1]


def value_of(term: Term, shelf: Shelf) -> Float32:
    """Return what an order of each item is worth by a term, NaN where unknown, float32 [n]."""
    if term is Term.PRICE:
        return shelf.price
    return np.full(len(shelf), np.nan, np.float32) if shelf.margin is None else shelf.margin


def blend(probabilities: Float32, weights: Float32) -> Float32:
    """Return the score of each candidate: its action probabilities, weighted and summed, [N].

    >>> import numpy as np
    >>> blend(np.array([[0.5, 0.25]], np.float32), np.array([1.0, 2.0], np.float32)).tolist()
    [1.0]
    """
    score: Float32 = probabilities @ weights
    return score


def order(candidates: Candidates, probabilities: Float32, score: Float32) -> Ranking:
    """Order candidates by score, ties by item index; what has no finite score is left out."""
    rows = np.argsort(-score, kind="stable")
    falling = score[rows]
    if not (falling[1:] < falling[:-1]).all() or not np.isfinite(falling).all():
        rows = np.lexsort((candidates.items, -score))
        rows = rows[np.isfinite(score[rows])]
    return Ranking(
        items=candidates.items[rows],
        source=candidates.source[rows],
        retrieval=candidates.retrieval[rows],
        probabilities=probabilities[rows],
        score=score[rows],
    )


def as_proposed(candidates: Candidates) -> Ranking:
    """Leave candidates in the order in which they were proposed, by a score that never rises."""
    return Ranking(
        items=candidates.items,
        source=candidates.source,
        retrieval=candidates.retrieval,
        probabilities=unscored(candidates),
        score=candidates.retrieval,
    )


def unscored(candidates: Candidates) -> Float32:
    """Probabilities of no action at all, float32 [N, 0]."""
    return np.zeros((len(candidates), 0), dtype=np.float32)
