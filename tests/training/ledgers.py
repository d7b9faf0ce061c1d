"""Ledgers of users who did the target action once on each of some items."""

from __future__ import annotations

import numpy as np

from qianmian.contracts import features as f
from qianmian.features.user_state import SECONDS_PER_DAY, Ledger

NOW = 100 * SECONDS_PER_DAY


def ledger(*items: int) -> Ledger:
    size = len(items)
    once = np.ones(size, dtype=np.float32)
    decayed = np.ones((size, len(f.LEDGER_HALF_LIVES_DAYS)), dtype=np.float32)
    times, visits = np.full(size, NOW), np.ones(size, dtype=np.int64)
    return Ledger(np.array(items, dtype=np.int32), once, once, times, times, visits, decayed, NOW)
