"""The user as the request path sees it: one Feast row turned into arrays over item indices.

Training builds it from historical rows, serving from online rows; both through `UserState.read`,
so there is one reading of a user. An unknown user is the same object with nothing in it.

Shapes: `L` recent actions, `M` ledger entries, `K` affinity values, `H` half-lives, `E` exposed
items.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
import numpy.typing as npt

from qianmian.contracts import features as f
from qianmian.features.item_table import Attribute, Float32, Float64, Int32, ItemTable

SECONDS_PER_DAY = 86_400.0
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Affinity:
    """Preference for the values of one attribute, as features tell it strongest first."""

    codes: Int32  # [K] attribute codes, unknown values left out
    weights: Float32  # [K] decayed counts
    last_at: Float64  # [K]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every item with a target action of the user, summed up."""

    items: Int32  # [M] item indices
    counts: Float32  # [M]
    quantities: Float32  # [M]
    first_at: Float64  # [M]
    last_at: Float64  # [M]
    visits: npt.NDArray[np.int64]  # [M] bit k: the k-th last visit held the item
    decayed: Float32  # [M, H] as of `as_of`
    as_of: float

    def take(self, rows: npt.NDArray[np.generic]) -> Ledger:
        """Some of the entries (indices or a mask)."""
        return replace(
            self,
            items=self.items[rows],
            counts=self.counts[rows],
            quantities=self.quantities[rows],
            first_at=self.first_at[rows],
            last_at=self.last_at[rows],
            visits=self.visits[rows],
            decayed=self.decayed[rows],
        )

    def decayed_at(self, now: float, rows: npt.NDArray[np.intp]) -> Float32:
        """Decayed counts of some rows carried forward to `now`, float32 [rows, H]."""
        days = max(now - self.as_of, 0.0) / SECONDS_PER_DAY
        carried: Float32 = self.decayed[rows] * np.exp2(-days / _HALF_LIVES)
        return carried


@dataclass(frozen=True, slots=True)
class Exposure:
    """What was shown to the user lately, and what is disliked."""

    items: Int32  # [E] item indices, the last shown first
    counts: Int32  # [E] times shown since the last action on the item
    last_at: Float64  # [E]
    disliked: Int32  # item indices


@dataclass(frozen=True, slots=True)
class UserState:
    """All that ranking and the rules of a page know of a user."""

    user_id: str
    known: bool
    tags: Row
    activity: Float32  # columns as contracts.features.USER_ACTIVITY_NUMERIC
    first_action_at: float
    last_action_at: float
    last_target_at: float
    recent_items: Int32  # [L] newest first
    recent_codes: Int32  # [L]
    recent_at: Float64  # [L]
    ledger: Ledger
    affinity: dict[str, Affinity]
    exposure: Exposure

    @classmethod
    def read(
        cls, user_id: str, row: Row | None, items: ItemTable, tags: Sequence[str]
    ) -> UserState:
        """Turn a Feast row (feature name to value; None for an unknown user) into arrays.

        A user is known once there was an action; tags of a user without any are read all the same.

        Items and attribute values that `items` does not hold are left out. Views that the row
        lacks (the ledger, for the two-tower model's training rows) read as empty.
        """
        row = row or {}
        recent_all = items.indices_of(_array(row, f.RECENT_ITEM_IDS))
        held = recent_all >= 0
        return cls(
            user_id=user_id,
            known=_number(row, f.LAST_ACTION_AT) > 0,
            tags={name: row.get(name) for name in tags},
            activity=np.array(
                [_number(row, name) for name in f.USER_ACTIVITY_NUMERIC], dtype=np.float32
            ),
            first_action_at=_number(row, f.FIRST_ACTION_AT),
            last_action_at=_number(row, f.LAST_ACTION_AT),
            last_target_at=_number(row, f.LAST_TARGET_AT),
            recent_items=recent_all[held],
            recent_codes=_numbers(row, f.RECENT_EVENT_CODES).astype(np.int32)[held],
            recent_at=_numbers(row, f.RECENT_AT)[held],
            ledger=_ledger(row, items),
            affinity={
                name: _affinity(row, name, attribute)
                for name, attribute in items.attributes.items()
                if f.affinity_values(name) in row
            },
            exposure=_exposure(row, items),
        )

    def of_items(self, kept: npt.NDArray[np.bool_]) -> UserState:
        """The user without recent actions on, and without, the other items.

        `kept` is bool [n] over the catalogue. What sums up all items (activity, preferences, tags)
        stays as it is.
        """
        recent, ledger = kept[self.recent_items], kept[self.ledger.items]
        return replace(
            self,
            recent_items=self.recent_items[recent],
            recent_codes=self.recent_codes[recent],
            recent_at=self.recent_at[recent],
            ledger=self.ledger.take(ledger),
        )


def is_missing(value: object) -> bool:
    """Whether a feature has no value: None, NaN or the empty text."""
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value)


_HALF_LIVES = np.array(f.LEDGER_HALF_LIVES_DAYS, dtype=np.float32)


def _ledger(row: Row, items: ItemTable) -> Ledger:
    indices = items.indices_of(_array(row, f.LEDGER_ITEM_IDS))
    held = indices >= 0
    decayed = [
        _numbers(row, f.ledger_decayed(days))[held].astype(np.float32)
        for days in f.LEDGER_HALF_LIVES_DAYS
    ]
    return Ledger(
        items=indices[held],
        counts=_numbers(row, f.LEDGER_COUNTS)[held].astype(np.float32),
        quantities=_numbers(row, f.LEDGER_QUANTITIES)[held].astype(np.float32),
        first_at=_numbers(row, f.LEDGER_FIRST_AT)[held],
        last_at=_numbers(row, f.LEDGER_LAST_AT)[held],
        visits=_numbers(row, f.LEDGER_VISITS)[held].astype(np.int64),
        decayed=np.stack(decayed, axis=1),
        as_of=_number(row, f.LEDGER_AS_OF),
    )


def _exposure(row: Row, items: ItemTable) -> Exposure:
    indices = items.indices_of(_array(row, f.EXPOSED_ITEM_IDS))
    held = indices >= 0
    disliked = items.indices_of(_array(row, f.DISLIKED_ITEM_IDS))
    return Exposure(
        items=indices[held],
        counts=_numbers(row, f.EXPOSED_COUNTS)[held].astype(np.int32),
        last_at=_numbers(row, f.EXPOSED_AT)[held],
        disliked=disliked[disliked >= 0],
    )


def _affinity(row: Row, name: str, attribute: Attribute) -> Affinity:
    values = _array(row, f.affinity_values(name))
    codes = np.fromiter(map(attribute.code_of.get, values, repeat(0)), dtype=np.int32)
    held = codes > 0
    return Affinity(
        codes=codes[held],
        weights=_numbers(row, f.affinity_weights(name))[held].astype(np.float32),
        last_at=_numbers(row, f.affinity_last_at(name))[held],
    )


def _array(row: Row, name: str) -> Sequence[str]:
    value = row.get(name)
    return value if isinstance(value, list | np.ndarray) else ()  # type: ignore[return-value]


def _numbers(row: Row, name: str) -> Float64:
    value = row.get(name)
    return np.asarray(value if isinstance(value, list | np.ndarray) else (), dtype=np.float64)


def _number(row: Row, name: str) -> float:
    value = row.get(name)
    number = 0.0 if value is None else float(value)  # type: ignore[arg-type]  # Feast gives a number
    return 0.0 if math.isnan(number) else number
