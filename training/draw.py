"""Draws by chance that a run which was stopped and goes on makes again."""

from __future__ import annotations

import zlib

import numpy as np


def draw(size: int, share: float, *, what: str, seed: int, moment: float) -> list[int]:
    """A share of so many, ascending, by chance; always the same ones for a moment.

    A generator of its own draws them: a run that was stopped and goes on meets the same.
    """
    rng = np.random.default_rng((seed, zlib.crc32(f"{what} {moment:.0f}".encode())))
    chosen: list[int] = np.sort(rng.choice(size, round(share * size), replace=False)).tolist()
    return chosen
