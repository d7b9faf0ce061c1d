"""Re-ranking: what all rules cost against a plain top-k and one matrix product.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python -m benchmarks.rerank > rerank.json

Progress goes to stderr, one JSON object to stdout. Of 500 scored candidates 60 are laid out, as the
third page of a block: diversity, three windows, six quotas (by value, source and condition, of the
block and of the page), two pins and exploration, all through `lay_out` as a request calls it. The
baseline in the same process takes the 60 best by score and multiplies the candidates' vectors,
[500, 64] x [64, 500], on one thread. The two alternate, round by round; medians are reported.

`ratio` is the slowest of two methods of diversity over two shapes of scores: `steep` (a few good
ones, as a ranker gives) and `even` (spread evenly, so that more candidates must be looked at).
`by_case` tells all of them, `by_rule` what one rule alone costs at `even` scores. All in ms, p50.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from benchmarks import command

if TYPE_CHECKING:
    from qianmian.features.item_table import Int32

#: Settings that slow numpy down; dropped before numpy is imported.
SLOWING: Final = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
CATALOGUE: Final = 10_000
CANDIDATES: Final = 500
SLOTS: Final = 60
WIDTH: Final = 64
SEED: Final = 7

Report = dict[str, Any]
Run = Callable[[], object]


def main() -> None:
    """Measure and print."""
    options = _options()
    for name in SLOWING:
        os.environ.pop(name, None)
    import numpy as np  # noqa: F401  before its threads are limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        command.say("compiling, or reading what was compiled before")
        began = perf_counter()
        shop = Shop()
        shop.warm()
        warm_seconds = perf_counter() - began
        cases: dict[str, Run] = {
            f"{method}, {shape}": shop.page(shape, shop.all_rules(method))
            for method in ("mmr", "dpp")
            for shape in ("steep", "even")
        }
        rules: dict[str, Run] = {
            name: shop.page("even", rules) for name, rules in shop.single_rules().items()
        }
        baseline = shop.baseline()
        times: dict[str, list[float]] = {}
        baselines: list[float] = []
        for number in range(options.rounds):
            for name, run in {**cases, **rules}.items():
                baselines += _times(baseline, options.repeats)
                times.setdefault(name, []).extend(_times(run, options.repeats))
            command.say(f"round {number + 1} of {options.rounds}")
    p50 = {name: median(values) for name, values in times.items()}
    worst = max(cases, key=lambda name: p50[name])
    report = {
        "ratio": round(p50[worst] / median(baselines), 3),
        "p50_ms": round(p50[worst], 4),
        "p99_ms": round(quantiles(times[worst], n=100)[-1], 4),
        "baseline_ms": round(median(baselines), 4),
        "slowest": worst,
        "by_case": {
            name: {"ms": round(p50[name], 4), "ratio": round(p50[name] / median(baselines), 3)}
            for name in cases
        },
        "by_rule": {name: round(p50[name], 4) for name in rules},
        "warm_seconds": round(warm_seconds, 2),
        "candidates": CANDIDATES,
        "slots": SLOTS,
        "width": WIDTH,
        "rounds": options.rounds,
        "repeats": options.repeats,
    }
    command.report(report)


class Shop:
    """A made-up shop, bound for re-ranking."""

    def __init__(self) -> None:
        import numpy as np
        import pandas as pd

        from qianmian.features.item_table import ItemTable
        from serving.feed.rerank.rulebook import RuleBook

        self.rng = np.random.default_rng(SEED)
        ids = [f"i{n:05d}" for n in range(CATALOGUE)]
        frame = pd.DataFrame({"item_id": ids})
        for name, values in (("brand", 300), ("category", 40), ("shop", 1000)):
            share = 1 / np.arange(1, values + 1)  # a few large ones, many small ones
            owned = self.rng.choice(values, CATALOGUE, p=share / share.sum())
            frame[name] = [f"{name} {n}" for n in owned]
        centres = self.rng.normal(size=(100, WIDTH))
        vectors = centres[self.rng.integers(0, 100, CATALOGUE)]
        vectors = vectors + self.rng.normal(size=vectors.shape)
        self.table = ItemTable.from_profile(frame, ["brand", "category", "shop"])
        hashes = np.arange(CATALOGUE, dtype=np.uint32)
        self.book = RuleBook(self.table, vectors.astype(np.float32), hashes)
        drawn: Int32 = self.rng.permutation(CATALOGUE).astype(np.int32)
        self.items, self.before = drawn[:CANDIDATES], drawn[600:660]
        self.pinned = drawn[700:702].tolist()
        self.source = self.rng.integers(0, 6, CANDIDATES).astype(np.int8)
        self.fresh = self.rng.random(CATALOGUE) < 0.2  # noqa: PLR2004
        self.cheap = self.rng.random(CATALOGUE) < 0.3  # noqa: PLR2004

    def warm(self) -> None:
        """Compile."""
        from serving.feed.rerank.warm import warm

        warm(self.book)

    def all_rules(self, method: str) -> Report:
        """Return every kind of rule at once."""
        single = self.single_rules()
        return {
            **single["windows"],
            **single["quotas"],
            **single["exploration"],
            **single["pins"],
            "diversity": {"method": method},
        }

    def single_rules(self) -> dict[str, Report]:
        """Return rules by what one wants to know the cost of."""
        quotas = [
            {"source": "new", "at_least": 6},
            {"source": "repeat", "at_most": 20},
            {"attribute": "category", "values": ["category 3", "category 7"], "at_least": 4},
            {"attribute": "brand", "values": ["brand 0"], "at_most": 5},
            {"items": "price < 5", "at_least": 10, "at_most": 30},
        ]
        return {
            "none": {},
            "mmr": {"diversity": {"method": "mmr"}},
            "dpp": {"diversity": {"method": "dpp"}},
            "windows": {
                "windows": [
                    {"attribute": "brand", "at_most": 2, "within": 6, "across_blocks": True},
                    {"attribute": "category", "at_most": 3, "within": 10},
                    {"attribute": "shop", "at_most": 1, "within": 5},
                ]
            },
            "quotas": {"quotas": quotas, "page": [{"source": "trending", "at_most": 12}]},
            "exploration": {"exploration": {"share": 0.1, "first_position": 4}},
            "pins": {"pins": [3, 30]},
        }

    def page(self, shape: str, rules: Report) -> Run:
        """Return what lays out the third page of a block."""
        import numpy as np

        from qianmian.venues.rules import BlockRules, Rules
        from serving.feed.rerank.layout import Vacancy, lay_out

        drawn = np.sort(self.rng.random(CANDIDATES))[::-1]
        scores = {"steep": drawn**6, "even": drawn}[shape]
        block = {name: value for name, value in rules.items() if name not in {"page", "pins"}}
        bound = self.book.bound(
            Rules.model_validate({"quotas": rules.get("page", ())}),
            BlockRules.model_validate(block),
        )
        vacancy = Vacancy(
            rules=bound,
            slots=SLOTS,
            offset=2 * SLOTS,
            items=self.items,
            scores=scores.astype(np.float32),
            source=self.source,
            rest=lambda: self.items[:0],
            fixed=dict(zip(rules.get("pins", ()), self.pinned, strict=False)),
            before=self.before,
            seed=SEED,
        )

        def run() -> object:
            return lay_out(
                [vacancy],
                self.book,
                lambda _: self.cheap,
                lambda items, _: self.fresh[items],
            )

        return run

    def baseline(self) -> Run:
        """Return a plain top-k and one matrix product of the candidates' vectors."""
        import numpy as np

        from qianmian.retrieval.sources import top_k

        scores = self.rng.random(CANDIDATES).astype(np.float32)
        vectors = np.ascontiguousarray(self.book.vectors[self.items])

        def run() -> object:
            return top_k(scores, SLOTS), vectors @ vectors.T

        return run


def _times(run: Run, repeats: int) -> list[float]:
    """Return how long each run took, in ms."""
    taken = []
    for _ in range(repeats):
        began = perf_counter()
        run()
        taken.append((perf_counter() - began) * 1e3)
    return taken


def _options() -> argparse.Namespace:
    parser = command.parser("rerank", __doc__)
    parser.add_argument("--rounds", type=command.count, default=10)
    parser.add_argument(
        "--repeats", type=command.at_least(2), default=20, help="runs of each case in a round"
    )
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
