"""Batches of the two-tower model: encoded users and item indices become id and dense tensors.

Shapes: `U` users, `I` items, `n` catalogue items, `L` recent actions.
"""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models import two_tower as m
from qianmian.features import encoding as e
from qianmian.features.encoding import Inputs
from qianmian.features.item_table import ItemTable


class ItemCodes:
    """Every item's id row and attribute codes, with an all-unknown row in front for padding.

    An item with too few target actions so far has id row 0: it is known by its attributes alone.
    """

    def __init__(self, items: ItemTable, *, min_count: int) -> None:
        self._min_count = min_count
        self.rows = torch.zeros(len(items) + 1, dtype=torch.int64)
        self.attributes = {name: _padded(a.codes) for name, a in items.attributes.items()}

    def as_of(self, counts: np.ndarray) -> ItemCodes:
        """The codes when the items had these numbers of target actions, [n]."""
        known = copy.copy(self)
        known.rows = _padded(np.where(counts >= self._min_count, np.arange(1, len(counts) + 1), 0))
        return known

    def of(self, shifted: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Id rows and attribute codes of item indices + 1 (0 is padding)."""
        return self.rows[shifted], {name: codes[shifted] for name, codes in self.attributes.items()}


def user_batch(inputs: Inputs, rows: np.ndarray | slice, codes: ItemCodes) -> dict[str, Tensor]:
    """The user part of a batch: encoder outputs at `rows`, ids resolved to table rows."""
    take = {name: torch.from_numpy(np.ascontiguousarray(a[rows])) for name, a in inputs.items()}
    recent = take[e.RECENT_ITEMS]
    history_rows, history = codes.of(recent)
    batch = {
        m.USER_ROWS: take[e.USER_ROW],
        m.HISTORY_ROWS: history_rows,
        m.TAG_TOKENS: take[e.TAGS],
        "mask": recent > 0,
        "codes": take[e.RECENT_CODES],
        "days": take[e.RECENT_DAYS],
        "user_dense": take[e.DENSE],
    }
    for name, values in history.items():
        batch[m.history_codes(name)] = values
        if e.affinity_codes(name) in take:
            batch[m.preference_codes(name)] = take[e.affinity_codes(name)]
            batch[m.preference_shares(name)] = take[e.affinity_shares(name)]
    return batch


def item_batch(
    items: npt.NDArray[np.integer], dense: Tensor, codes: ItemCodes
) -> dict[str, Tensor]:
    """The item part of a batch; `dense` is the catalogue's statistics at the moment, [n, S]."""
    index = torch.as_tensor(items.astype(np.int64))
    rows, attributes = codes.of(index + 1)
    batch = {m.ITEM_ROWS: rows, "item_dense": dense[index]}
    batch.update({m.item_codes(name): values for name, values in attributes.items()})
    return batch


def _padded(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.concatenate([[0], values]).astype(np.int64))
