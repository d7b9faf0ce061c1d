"""The item table: every item's attributes and statistics as resident columnar arrays.

The hot path must not fetch candidates' features one by one, so training and serving both hold the
catalogue as arrays indexed by *item index*: the position of the item's id in the sorted catalogue.
A release carries the table as `items.parquet`; the same rows give the same indices and codes.

Shapes: `n` items, `S` statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from qianmian.contracts import columns as c
from qianmian.contracts import features as f

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One categorical item attribute, coded; code 0 means unknown.

    `codes` is int32 [n]; `texts[code]` is the text of a code, `texts[0]` is "".
    """

    codes: Int32
    texts: tuple[str, ...]
    code_of: dict[str, int]

    @classmethod
    def fit(cls, column: pd.Series) -> Attribute:
        """Code a column by its sorted distinct values, so equal columns get equal codes."""
        text = column.astype("string")
        values = sorted(text.dropna().unique().tolist())
        code_of = {value: code for code, value in enumerate(values, start=1)}
        codes = text.map(code_of).fillna(0).to_numpy(dtype=np.int32)
        return cls(codes=codes, texts=("", *values), code_of=code_of)

    def __getitem__(self, index: int) -> str:
        return self.texts[int(self.codes[index])]

    def __len__(self) -> int:
        """Number of codes, the unknown one included."""
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class ItemTable:
    """The catalogue as arrays, all indexed by item index."""

    item_ids: npt.NDArray[np.object_]
    titles: npt.NDArray[np.object_]
    attributes: dict[str, Attribute]
    statistics: Float32  # [n, S], columns as contracts.features.ITEM_STATISTICS_NUMERIC
    first_seen_at: Float64  # [n]
    last_seen_at: Float64  # [n]
    _index: dict[str, int]

    @classmethod
    def from_profile(cls, profile: pd.DataFrame, attributes: Sequence[str]) -> ItemTable:
        """Make a table without statistics from one row an item.

        Args:
            profile: `item_id` and, where known, `title` and the columns named in `attributes`.
            attributes: categorical columns to code; a missing one becomes all-unknown.
        """
        frame = profile.drop_duplicates(c.ITEM_ID).sort_values(c.ITEM_ID, ignore_index=True)
        n = len(frame)
        blank = pd.Series([None] * n, dtype="string")
        ids = frame[c.ITEM_ID].astype(str).to_numpy(dtype=object)
        titles = frame[c.TITLE] if c.TITLE in frame else frame[c.ITEM_ID]
        return cls(
            item_ids=ids,
            titles=titles.astype("string").fillna("").to_numpy(dtype=object),
            attributes={name: Attribute.fit(frame.get(name, blank)) for name in attributes},
            statistics=np.zeros((n, len(f.ITEM_STATISTICS_NUMERIC)), dtype=np.float32),
            first_seen_at=np.zeros(n),
            last_seen_at=np.zeros(n),
            _index={item_id: i for i, item_id in enumerate(ids)},
        )

    def with_statistics(self, frame: pd.DataFrame) -> ItemTable:
        """The same catalogue with the statistics of `frame` (one row an item; others zero)."""
        rows = self.indices_of(frame[c.ITEM_ID])
        known = rows >= 0
        rows = rows[known]
        statistics = np.zeros_like(self.statistics)
        first, last = np.zeros(len(self)), np.zeros(len(self))
        values = frame[list(f.ITEM_STATISTICS_NUMERIC)].to_numpy(dtype=np.float32)[known]
        statistics[rows] = np.nan_to_num(values)
        first[rows] = frame[f.FIRST_SEEN_AT].to_numpy(dtype=float)[known]
        last[rows] = frame[f.LAST_SEEN_AT].to_numpy(dtype=float)[known]
        return replace(self, statistics=statistics, first_seen_at=first, last_seen_at=last)

    def unseen(self, rows: Int32) -> ItemTable:
        """The same catalogue before anybody acted on some items."""
        kept = np.ones(len(self), dtype=np.float32)
        kept[rows] = 0.0
        return replace(
            self,
            statistics=self.statistics * kept[:, None],
            first_seen_at=self.first_seen_at * kept,
            last_seen_at=self.last_seen_at * kept,
        )

    def update_statistics(
        self, rows: Int32, values: Float32, first: Float64, last: Float64
    ) -> None:
        """Replace the statistics of some items in place, for everyone who holds this table.

        `values` is float32 [rows, S]; `first` and `last` are when the items were seen.
        """
        self.statistics[rows] = np.nan_to_num(values)
        self.first_seen_at[rows] = first
        self.last_seen_at[rows] = last

    def __len__(self) -> int:
        return len(self.item_ids)

    def index_of(self, item_id: str) -> int:
        """Item index of an id, -1 if the catalogue does not hold it."""
        return self._index.get(item_id, -1)

    def indices_of(self, item_ids: Iterable[str]) -> Int32:
        """Item indices of ids, int32, -1 where unknown."""
        return np.fromiter(map(self._index.get, item_ids, repeat(-1)), dtype=np.int32)

    def statistic(self, name: str) -> Float32:
        """One statistic of every item, float32 [n], by its name in the contract."""
        return self.statistics[:, f.ITEM_STATISTICS_NUMERIC.index(name)]

    @property
    def popularity(self) -> Float32:
        """Distinct users with a target action in the middle window, float32 [n]."""
        return self.statistic(f.target_users(f.WINDOWS_DAYS[1]))

    @property
    def acted_on(self) -> npt.NDArray[np.bool_]:
        """Whether anybody did the target action on each item yet, bool [n]."""
        return self.statistic(f.TARGET_COUNT_TOTAL) > 0

    def save(self, path: Path) -> None:
        """Write the table as Parquet, one row an item in index order."""
        frame = pd.DataFrame({c.ITEM_ID: self.item_ids, c.TITLE: self.titles})
        for name, attribute in self.attributes.items():
            values = np.array([None, *attribute.texts[1:]], dtype=object)
            frame[_ATTRIBUTE + name] = pd.Series(values[attribute.codes], dtype="string")
        for i, name in enumerate(f.ITEM_STATISTICS_NUMERIC):
            frame[name] = self.statistics[:, i]
        frame[f.FIRST_SEEN_AT] = self.first_seen_at
        frame[f.LAST_SEEN_AT] = self.last_seen_at
        frame.to_parquet(path, index=False, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> ItemTable:
        """Read what `save` wrote; indices and codes come out the same."""
        frame = pd.read_parquet(path)
        names = [n.removeprefix(_ATTRIBUTE) for n in frame.columns if n.startswith(_ATTRIBUTE)]
        renamed = frame.rename(columns={_ATTRIBUTE + n: n for n in names})
        return cls.from_profile(renamed, names).with_statistics(renamed)


_ATTRIBUTE = "attribute:"
