"""A report of `python -m benchmarks.quality` as the Markdown tables of `benchmarks/RESULTS.md`.

`python -m benchmarks.quality.table quality.json` imports nothing but what reads and prints.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import command
from qianmian.errors import FieldError

K: Final = 20
OURS: Final = "two_stage"
NAMES: Final = {
    "popularity_all_time": "popularity (all time)",
    "popularity": "popularity (28 days, distinct users)",
    "personal_frequency": "personal frequency (half-life 84 days)",
    "item_knn": "item-kNN",
    "ease": "EASE",
    "ease_new": "EASE, tuned for what is new",
    "ials": "iALS",
    "sasrec": "SASRec",
    "lambdarank": "LightGBM lambdarank",
    "two_tower": "two-tower",
    OURS: "**two-stage**",
}
_SLICES: Final = ("all", "repeat", "new", "known_user", "cold_user")

Json = dict[str, Any]


def main() -> None:
    """Print the tables of every case."""
    path = _options().report
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
        told = {
            f"{name}, {len(case['seeds'])} seeds": [*lines(case)] for name, case in cases.items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        expected = "a file with what python -m benchmarks.quality printed"
        raise FieldError("report", str(path), expected) from error
    for title, table in told.items():
        print(f"## {title}\n")
        print("\n".join(table), end="\n\n")


def lines(case: Json) -> Iterator[str]:
    """The table of a case, how far ahead of the best it is, each seed, and chances of orders."""
    slices = [label for label in _SLICES if label in case["ratio_to_best"]]
    rows = {(row["system"], row["slice"]): row for row in case["rows"] if row["k"] == K}
    heads = [f"{label} ({rows[OURS, label]['users']:,} users)" for label in slices]
    over = [label for label in slices if label != "repeat"]
    yield f"| system | {' | '.join(heads)} | `two_stage` over it, {' / '.join(over)} |"
    yield "| --- " * (len(slices) + 2) + "|"
    present = dict.fromkeys(system for system, _ in rows)
    for system in sorted(present, key=[*NAMES].index):
        cells = [_measured(rows[system, label]) for label in slices]
        if system == OURS:
            cells = [f"**{cell}**" for cell in cells]
        ratios = [case["ratio_to_each"][label].get(system) for label in over]
        told = " / ".join(f"{ratio['ratio']:.3f}" for ratio in ratios if ratio)
        yield f"| {NAMES[system]} | {' | '.join(cells)} | {told} |"
    yield ""
    for label in slices:
        best = case["ratio_to_best"][label]
        yield f"- {label}: {_ratio(best)} times {NAMES[best['baseline']]}"
    for label in slices:
        yield f"- {label} by seed: {_listed(case['by_seed'], label, 4)}"
    orders = [
        row for row in case["calibration"] if (row["action"], row["segment"]) == ("order", "all")
    ]
    if orders:
        yield f"- expected calibration error of orders: {_listed(orders, 'ece', 4)}"
        yield f"- orders predicted over actual: {_listed(orders, 'ratio', 3)}"


def _listed(rows: Sequence[Json], name: str, digits: int) -> str:
    values = (row[name] for row in rows)  # a ratio to nothing is none
    return ", ".join("-" if v is None else f"{v:.{digits}f}".removeprefix("0") for v in values)


def _measured(row: Json) -> str:
    return f"{_short(row['ndcg'])} ({_short(row['ci_low'])}-{_short(row['ci_high'])})"


def _ratio(found: Json) -> str:
    return f"{found['ratio']:.3f} ({found['ci_low']:.3f} to {found['ci_high']:.3f})"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _options() -> argparse.Namespace:
    parser = command.parser("quality.table", __doc__)
    parser.add_argument("report", type=Path, help="JSON of python -m benchmarks.quality")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
