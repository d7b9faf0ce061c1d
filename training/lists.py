"""Writes ranked lists as Parquet, for judging them with other tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from qianmian.contracts import columns as c
from qianmian.distinct import distinct
from qianmian.features.item_table import Float64, Int32
from qianmian.retrieval.sources import top_k
from training.slices import Ranking

DEPTH: Final = 100  # ranks written for every user, whatever the slice
_BUFFERED: Final = 500  # lists held before they are written

_SCHEMA = pa.schema(
    [
        ("system", pa.string()),
        (c.USER_ID, pa.string()),
        (c.ITEM_ID, pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Listed:
    """What is written of one list, in the order of its ranks."""

    items: Int32  # [W] item indices
    ranks: Int32  # [W] from 1
    scores: Float64  # [W]

    @classmethod
    def of(cls, ranking: Ranking, places: dict[str, npt.NDArray[np.intp]]) -> Listed:
        """The first DEPTH ranks and, with their true ranks, what else the slices' places need."""
        scores = np.asarray(ranking.scores, dtype=np.float64)
        chosen = distinct(np.concatenate([top_k(scores, DEPTH), *places.values()]))
        ranks = np.empty(len(chosen), dtype=np.int32)
        ascending = np.sort(-scores)
        for i, place in enumerate(chosen):
            better = np.searchsorted(ascending, -scores[place], side="left")
            ranks[i] = better + 1 + np.count_nonzero(scores[:place] == scores[place])
        order = np.argsort(ranks)
        return cls(ranking.items[chosen[order]], ranks[order], scores[chosen[order]])


class ListWriter:
    """Writes (system, user_id, item_id, rank, score)."""

    def __init__(self, path: Path, item_ids: npt.NDArray[np.object_]) -> None:
        self._ids = item_ids
        self._writer = pq.ParquetWriter(path, _SCHEMA, compression="zstd")
        self._rows: list[pa.Table] = []

    def add(self, system: str, user_id: str, listed: Listed) -> None:
        """One list of a user."""
        size = len(listed.items)
        self._rows.append(
            pa.table(
                {
                    "system": [system] * size,
                    c.USER_ID: [user_id] * size,
                    c.ITEM_ID: self._ids[listed.items].tolist(),
                    "rank": listed.ranks,
                    "score": listed.scores,
                },
                schema=_SCHEMA,
            )
        )
        if len(self._rows) >= _BUFFERED:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.concat_tables(self._rows))
            self._rows.clear()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._flush()
        self._writer.close()
