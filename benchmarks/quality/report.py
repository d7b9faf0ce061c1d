"""Joins the seeds of a case: rows, and how far `two_stage` is ahead of each rival and part.

Intervals are of a paired bootstrap that draws users and, where there are several, seeds.

Shapes: `M` seeds, `S` users of a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.quality.peers import TREES
from benchmarks.quality.seeds import Result
from training.metrics import divided, interval_of
from training.slices import ALL, COLD_ITEM, COLD_USER, KNOWN_USER, NEW, REPEAT
from training.systems import TWO_STAGE, TWO_TOWER

PARTS: Final = (TWO_TOWER, TREES)  # of ours: set beside the rivals, and none of them
K: Final = 20
SAMPLES: Final = 2000
FEW: Final = 10  # a slice of less than one user in so many tells nothing of its own


def report_of(results: Sequence[Result]) -> Any:
    """What a case gave: rows (means over seeds), ratios, calibration, seconds.

    Ratios are of what all users did, whole and in parts, and, where enough of them are strangers,
    of those and of the others.
    """
    rng = np.random.default_rng(0)
    labels = _labels(results[0])
    each = {label: _ratios(results, label, rng) for label in labels}
    return {
        "seeds": [result.seed for result in results],
        "rows": _rows(results, rng),
        "ratio_to_best": {label: _best(ratios) for label, ratios in each.items()},
        "ratio_to_each": each,
        "by_seed": [
            {label: round(float(r.ndcg[TWO_STAGE, label, K].mean()), 5) for label in labels}
            for r in results
        ],
        "calibration": [row for result in results for row in _calibration(result)],
        "seconds": [result.seconds for result in results],
    }


def _labels(result: Result) -> list[str]:
    users = {label: len(a) for (s, label, k), a in result.ndcg.items() if (s, k) == (TWO_STAGE, K)}
    told = {label for label, n in users.items() if FEW * n >= users[ALL]}
    strangers = (KNOWN_USER, COLD_USER) if COLD_USER in told else ()
    wanted = (ALL, REPEAT, NEW, *((COLD_ITEM,) if COLD_ITEM in told else ()), *strangers)
    return [label for label in wanted if label in users]


def _rows(results: Sequence[Result], rng: np.random.Generator) -> list[dict[str, Any]]:
    """One row a system, slice and K: means over the seeds, intervals over users and seeds."""
    rows = []
    for i, first in enumerate(results[0].rows):
        same = [result.rows[i] for result in results]
        row = dict(first)
        for name, value in first.items():
            if isinstance(value, float) and name not in _INTERVALS:
                row[name] = float(np.mean([other[name] for other in same]))
        key = first["system"], first["slice"], first["k"]
        values_MS = np.stack([result.ndcg[key] for result in results])
        row["ci_low"], row["ci_high"] = interval_of(_drawn(values_MS, rng).mean(axis=1))
        if first["ratio"] is not None:
            ours_MS = np.stack([result.ndcg[TWO_STAGE, *key[1:]] for result in results])
            found = _ratio(ours_MS, values_MS, rng)
            row |= {name: found[key] for name, key in _RATIO.items()}
        rows.append(row)
    return rows


_RATIO: Final = {"ratio": "ratio", "ratio_low": "ci_low", "ratio_high": "ci_high"}
_INTERVALS: Final = ("ci_low", "ci_high", "ratio", "ratio_low", "ratio_high")


def _ratios(
    results: Sequence[Result], label: str, rng: np.random.Generator
) -> dict[str, dict[str, Any]]:
    """For each rival and each part of ours: its NDCG and ours over it."""
    systems = [s for s, slice_, k in results[0].ndcg if (slice_, k) == (label, K)]
    ours_MS = np.stack([result.ndcg[TWO_STAGE, label, K] for result in results])
    return {
        system: {
            "ndcg": float(np.mean([result.ndcg[system, label, K] for result in results])),
            "two_stage": float(ours_MS.mean()),
            **_ratio(ours_MS, np.stack([r.ndcg[system, label, K] for r in results]), rng),
        }
        for system in systems
        if system != TWO_STAGE
    }


def _best(ratios: dict[str, dict[str, Any]]) -> dict[str, Any]:
    rivals = [system for system in ratios if system not in PARTS]
    name = max(rivals, key=lambda system: ratios[system]["ndcg"])
    return {"baseline": name, **ratios[name]}


def _ratio(
    ours_MS: npt.NDArray[np.float64], theirs_MS: npt.NDArray[np.float64], rng: np.random.Generator
) -> dict[str, float | None]:
    """How far ours is ahead, with its interval; None where there is nothing to divide by."""
    seeds, users = _draws(ours_MS.shape, rng)
    over = np.einsum("bm,ms,bs->b", seeds, ours_MS, users, optimize=True)
    under = np.einsum("bm,ms,bs->b", seeds, theirs_MS, users, optimize=True)
    low, high = interval_of(divided(over, under))
    ratio = float(divided(ours_MS.mean(), theirs_MS.mean()))
    found = {"ratio": ratio, "ci_low": low, "ci_high": high}
    return {name: value if np.isfinite(value) else None for name, value in found.items()}


def _drawn(values_MS: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Means of resamplings, [SAMPLES, 1]."""
    seeds, users = _draws(values_MS.shape, rng)
    sums = np.einsum("bm,ms,bs->b", seeds, values_MS, users, optimize=True)
    means: npt.NDArray[np.float64] = (sums / values_MS.size)[:, None]
    return means


def _draws(
    shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """How often each seed and each user is drawn, [SAMPLES, M] and [SAMPLES, S]."""
    m, s = shape
    return (
        rng.multinomial(m, np.full(m, 1 / m), size=SAMPLES),
        rng.multinomial(s, np.full(s, 1 / s), size=SAMPLES),
    )


def _calibration(result: Result) -> list[dict[str, Any]]:
    return [{"seed": result.seed, **row} for row in result.calibration]
