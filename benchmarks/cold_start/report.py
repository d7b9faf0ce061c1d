"""Joins seeds, each of which held out users and items of its own.

Intervals are of a bootstrap that draws users and, where there are several, seeds: what a seed holds
out is drawn with it. A user judged with several seeds is drawn for all of them.

Shapes: `M` seeds, `U` users judged with any of them, `B` resamplings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.cold_start.judged import PARTS, USERS
from benchmarks.remembered import Found
from training.metrics import divided, interval_of
from training.systems import TWO_STAGE

Floats = npt.NDArray[np.float64]

SAMPLES: Final = 2000


def joined(found: Sequence[Found]) -> dict[str, Any]:
    """Means over the seeds; of each row its NDCG with each seed, and intervals, besides."""
    report: dict[str, Any] = _mean([one.facts for one in found])
    for part in PARTS:
        judged = _Judged.of([_of_part(one, part) for one in found])
        report[part] = [row | judged.row(row["system"]) for row in report[part]]
    return report


def _of_part(found: Found, part: str) -> dict[str, npt.NDArray[Any]]:
    split = {tuple(name.split("|")): array for name, array in found.arrays.items()}
    return {name: array for (of, name), array in split.items() if of == part}


@dataclass(frozen=True, slots=True)
class _Judged:
    """NDCG by seed and user, and what was drawn of both."""

    ndcg: Mapping[str, Floats]  # system -> [M, U], 0 where a user was not judged
    there: npt.NDArray[np.bool_]  # [M, U] judged
    seeds: npt.NDArray[np.int64]  # [B, M] how often each is drawn
    users: npt.NDArray[np.int64]  # [B, U]

    @classmethod
    def of(cls, seeds: Sequence[Mapping[str, npt.NDArray[Any]]]) -> _Judged:
        ids = np.unique(np.concatenate([seed[USERS] for seed in seeds]))
        m, u = len(seeds), len(ids)
        at = [np.searchsorted(ids, seed[USERS]) for seed in seeds]

        def spread(values: Sequence[npt.ArrayLike]) -> Floats:
            spread_MU = np.zeros((m, u))
            for row, columns, those in zip(spread_MU, at, values, strict=True):
                row[columns] = those
            return spread_MU

        rng = np.random.default_rng(0)
        return cls(
            {name: spread([seed[name] for seed in seeds]) for name in seeds[0] if name != USERS},
            spread([1.0] * m) > 0,
            rng.multinomial(m, np.full(m, 1 / m), size=SAMPLES),
            rng.multinomial(u, np.full(u, 1 / u), size=SAMPLES),
        )

    def row(self, system: str) -> dict[str, Any]:
        """Mean, each seed's, and intervals of a system; and `two_stage` over it."""
        values, drawn = self._of_seeds(system), self._drawn(system)
        low, high = interval_of(drawn)
        said = {"ndcg": values.mean(), "ci_low": low, "ci_high": high}
        ours = self._of_seeds(TWO_STAGE)
        if system != TWO_STAGE and values.any():
            ratio = interval_of(divided(self._drawn(TWO_STAGE), drawn))
            said["ratio"] = divided(ours.mean(), values.mean())
            said["ratio_low"], said["ratio_high"] = ratio
        told = {name: float(value) for name, value in said.items() if np.isfinite(value)}
        return {**told, "ndcg_by_seed": values.tolist()}

    def _of_seeds(self, system: str) -> Floats:
        """Mean over the users of each seed, [M]."""
        return np.asarray(divided(self.ndcg[system].sum(axis=1), self.there.sum(axis=1)))

    def _drawn(self, system: str) -> Floats:
        """Mean over the drawn seeds of the means over the drawn users, [B]."""
        over, under = self.users @ self.ndcg[system].T, self.users @ self.there.T  # [B, M]
        means = np.divide(over, under, out=np.zeros(over.shape), where=under > 0)
        weight = self.seeds * (under > 0)  # a seed none of whose users is drawn says nothing
        return np.asarray((weight * means).sum(axis=1) / np.maximum(weight.sum(axis=1), 1))


def _mean(same: Sequence[Any]) -> Any:
    """The mean of values of the same form, leaf by leaf; text is what the first says."""
    first = same[0]
    if isinstance(first, Mapping):
        return {name: _mean([one[name] for one in same if name in one]) for name in first}
    if isinstance(first, list):
        return [_mean(each) for each in zip(*same, strict=True)]
    if isinstance(first, str):
        return first
    mean = float(np.mean(same))
    return round(mean) if isinstance(first, int) else mean
