"""User tower inputs: one function turns user states into the arrays that the user tower takes.

Training and serving both call `UserEncoder.encode`, so a user is written in the same letters on
both sides. The encoder (vocabularies and bucket edges fitted at training) travels in the release
as `encoder.json`.

Shapes: `B` users, `L` recent actions, `T` tag tokens, `K` affinity values, `F` dense features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, PrivateAttr

from qianmian.contracts import features as f
from qianmian.features.item_table import Float32, Int32, ItemTable
from qianmian.features.user_state import SECONDS_PER_DAY, UserState, is_missing

Inputs = dict[str, npt.NDArray[np.generic]]

USER_ROW: Final = "user_row"  # int64 [B], 0 unknown
RECENT_ITEMS: Final = "recent_items"  # int64 [B, L], item index + 1, 0 padding
RECENT_CODES: Final = "recent_codes"  # int64 [B, L], event code, 0 padding
RECENT_DAYS: Final = "recent_days"  # float32 [B, L], log1p of days before now
TAGS: Final = "tags"  # int64 [B, T], tag token, 0 unknown
DENSE: Final = "user_dense"  # float32 [B, F]

AFFINITY_TOP: Final = 16
TAG_BUCKETS: Final = 8
MULTI_TAG_SLOTS: Final = 8

#: Names of the columns of `user_dense`.
DENSE_FEATURES: Final = (
    *f.USER_ACTIVITY_NUMERIC,
    "days_since_first_action",
    "days_since_last_action",
    "days_since_last_target",
    "known",
)


def affinity_codes(name: str) -> str:
    """Input name: attribute codes by preference, int64 [B, K], 0 padding."""
    return f"{name}_affinity_codes"


def affinity_shares(name: str) -> str:
    """Input name: share of each code, float32 [B, K], rows sum to 1 or 0."""
    return f"{name}_affinity_shares"


class TagColumn(BaseModel):
    """How one user tag becomes tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: str  # categorical | numeric | multi
    edges: tuple[float, ...] = ()  # bucket edges of a numeric tag

    @property
    def slots(self) -> int:
        return MULTI_TAG_SLOTS if self.kind == "multi" else 1

    def tokens(self, value: object) -> list[str]:
        """Texts of the tokens a value stands for; none for a missing value."""
        if is_missing(value):
            return []
        if self.kind == "multi":
            return [f"{self.name}={v}" for v in value][: self.slots]  # type: ignore[attr-defined]
        if self.kind == "numeric":
            bucket = int(np.searchsorted(self.edges, float(value)))  # type: ignore[arg-type]
            return [f"{self.name}~{bucket}"]
        return [f"{self.name}={value}"]


class UserEncoder(BaseModel):
    """Vocabularies that write a user in numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_ids: tuple[str, ...]
    tag_columns: tuple[TagColumn, ...]
    tag_tokens: tuple[str, ...]  # token code = position + 1
    affinity_columns: tuple[str, ...]

    _user_row: dict[str, int] = PrivateAttr(default_factory=dict)
    _token: dict[str, int] = PrivateAttr(default_factory=dict)

    def model_post_init(self, _context: object, /) -> None:
        self._user_row.update({u: i for i, u in enumerate(self.user_ids, start=1)})
        self._token.update({t: i for i, t in enumerate(self.tag_tokens, start=1)})

    @classmethod
    def fit(
        cls,
        states: Iterable[UserState],
        *,
        user_ids: Iterable[str],
        tag_kinds: dict[str, str],
        affinity_columns: Sequence[str],
    ) -> UserEncoder:
        """Collect tag tokens and bucket edges from training states.

        `user_ids` are those that get a row of their own: whoever a model learns from. A row that
        nothing teaches would be noise, where no row means unknown.
        """
        values: dict[str, list[object]] = {name: [] for name in tag_kinds}
        for state in states:
            for name in tag_kinds:
                values[name].append(state.tags.get(name))
        columns = tuple(
            TagColumn(name=name, kind=kind, edges=_edges(values[name]) if kind == "numeric" else ())
            for name, kind in tag_kinds.items()
        )
        tokens = {
            token for column in columns for v in values[column.name] for token in column.tokens(v)
        }
        return cls(
            user_ids=tuple(sorted(user_ids)),
            tag_columns=columns,
            tag_tokens=tuple(sorted(tokens)),
            affinity_columns=tuple(affinity_columns),
        )

    @property
    def tag_slots(self) -> int:
        """T, at least 1 so that the array has a column."""
        return max(1, sum(column.slots for column in self.tag_columns))

    def empty(self, size: int) -> Inputs:
        """Zeroed inputs for `size` users: what a user of whom nothing is known looks like."""
        length = f.SEQUENCE_LENGTH
        inputs: Inputs = {
            USER_ROW: np.zeros(size, dtype=np.int64),
            RECENT_ITEMS: np.zeros((size, length), dtype=np.int64),
            RECENT_CODES: np.zeros((size, length), dtype=np.int64),
            RECENT_DAYS: np.zeros((size, length), dtype=np.float32),
            TAGS: np.zeros((size, self.tag_slots), dtype=np.int64),
            DENSE: np.zeros((size, len(DENSE_FEATURES)), dtype=np.float32),
        }
        for name in self.affinity_columns:
            inputs[affinity_codes(name)] = np.zeros((size, AFFINITY_TOP), dtype=np.int64)
            inputs[affinity_shares(name)] = np.zeros((size, AFFINITY_TOP), dtype=np.float32)
        return inputs

    def encode(self, users: Iterable[tuple[UserState, float]], size: int) -> Inputs:
        """Encode `size` pairs of (user state, now in epoch seconds)."""
        inputs = self.empty(size)
        for b, (user, now) in enumerate(users):
            self._write(inputs, b, user, now)
        return inputs

    def _write(self, inputs: Inputs, b: int, user: UserState, now: float) -> None:
        inputs[USER_ROW][b] = self._user_row.get(user.user_id, 0)
        length = len(user.recent_items)
        inputs[RECENT_ITEMS][b, :length] = user.recent_items + 1
        inputs[RECENT_CODES][b, :length] = user.recent_codes
        inputs[RECENT_DAYS][b, :length] = log_days(now - user.recent_at)
        self._write_tags(inputs[TAGS][b], user)
        dense = inputs[DENSE][b]
        dense[: len(user.activity)] = np.log1p(np.maximum(user.activity, 0.0))
        moments = np.array([user.first_action_at, user.last_action_at, user.last_target_at])
        dense[len(user.activity) : -1] = np.where(moments > 0, log_days(now - moments), 0.0)
        dense[-1] = user.known
        for name in self.affinity_columns:
            affinity = user.affinity.get(name)
            if affinity is None or not len(affinity.codes):
                continue
            top = min(AFFINITY_TOP, len(affinity.codes))
            inputs[affinity_codes(name)][b, :top] = affinity.codes[:top]
            weights = affinity.weights[:top]
            inputs[affinity_shares(name)][b, :top] = weights / max(float(weights.sum()), 1e-9)

    def _write_tags(self, slots: npt.NDArray[np.generic], user: UserState) -> None:
        start = 0
        for column in self.tag_columns:
            for i, token in enumerate(column.tokens(user.tags.get(column.name))):
                slots[start + i] = self._token.get(token, 0)
            start += column.slots

    def save(self, path: Path) -> None:
        """Write the encoder as JSON."""
        path.write_text(self.model_dump_json())

    @classmethod
    def load(cls, path: Path) -> UserEncoder:
        """Read what `save` wrote."""
        return cls.model_validate_json(path.read_text())


def log_days(seconds: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """log1p of a span in days; negative spans count as zero.

    >>> log_days([0.0, -5.0]).tolist()
    [0.0, 0.0]
    """
    days = np.maximum(np.asarray(seconds, dtype=np.float64), 0.0) / SECONDS_PER_DAY
    return np.log1p(days).astype(np.float32)


#: Names of the columns that `item_dense` gives.
ITEM_DENSE_FEATURES: Final = (*f.ITEM_STATISTICS_NUMERIC, "age", "days_since_seen")

_NEVER_SECONDS: Final = 365 * SECONDS_PER_DAY


def item_dense(items: ItemTable, now: float, rows: Int32 | None = None) -> Float32:
    """Statistics of items in model-ready scale, float32 [n, len(ITEM_DENSE_FEATURES)].

    Of every item, or of those at `rows`. `now` (epoch seconds) dates ages; an item never seen has
    age 0 and was last seen a year ago.
    """
    chosen = slice(None) if rows is None else rows
    first, last = items.first_seen_at[chosen], items.last_seen_at[chosen]
    ages = np.where(first > 0, now - first, 0.0)
    seen = np.where(last > 0, now - last, _NEVER_SECONDS)
    columns = [squash(items.statistics[chosen]), log_days(ages), log_days(seen)]
    return np.column_stack(columns).astype(np.float32)


def unseen_dense() -> Float32:
    """What `item_dense` says of an item without any event, float32 [S]."""
    row = np.zeros(len(ITEM_DENSE_FEATURES), dtype=np.float32)
    row[-1] = log_days(_NEVER_SECONDS)
    return row


def squash(values: Float32) -> Float32:
    """Signed log1p: keeps shares and rates nearly as they are and tames counts and money."""
    return np.sign(values) * np.log1p(np.abs(values))


def _edges(values: Sequence[object]) -> tuple[float, ...]:
    numbers = np.array([float(v) for v in values if not is_missing(v)])  # type: ignore[arg-type]
    if not len(numbers):
        return ()
    quantiles = np.quantile(numbers, np.linspace(0, 1, TAG_BUCKETS + 1)[1:-1])
    return tuple(sorted(set(np.round(quantiles, 6).tolist())))
