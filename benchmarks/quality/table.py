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
    "ials_new": "iALS, tuned for what is new",
    "sasrec": "SASRec",
    "lambdarank": "LightGBM lambdarank",
    "two_tower": "two-tower alone",
    "trees": "its trees alone",
    OURS: "**two-stage**",
}
_SLICES: Final = ("all", "repeat", "new", "cold_item", "known_user", "cold_user")
#: Beside NDCG, what a row holds, with the digits that tell systems apart.
_BESIDE: Final = {
    "recall": 3,
    "mrr": 3,
    "map": 3,
    "coverage": 3,
    "gini": 3,
    "novelty": 1,
    "diversity": 3,
}

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
    """The tables of a case, how far ahead of the best it is, each seed, and how chances hold."""
    slices = [label for label in _SLICES if label in case["ratio_to_best"]]
    rows = {(row["system"], row["slice"]): row for row in case["rows"] if row["k"] == K}
    systems = sorted(dict.fromkeys(system for system, _ in rows), key=[*NAMES].index)
    yield from _ahead(case, rows, systems, slices)
    yield ""
    for label in slices:
        best = case["ratio_to_best"][label]
        yield f"- {label}: {_ratio(best)} times {NAMES[best['baseline']]}"
    for label in slices:
        yield f"- {label} by seed: {_listed(case['by_seed'], label, 4)}"
    yield ""
    yield from _beside(rows, systems)
    if case["calibration"]:
        yield ""
        yield from _chances(case["calibration"])


def _ahead(
    case: Json, rows: dict[tuple[str, str], Json], systems: Sequence[str], slices: Sequence[str]
) -> Iterator[str]:
    """NDCG of each system with its interval, and how many times as much ours has."""
    heads = [f"{label} ({rows[OURS, label]['users']:,} users)" for label in slices]
    over = [label for label in slices if label != "repeat"]
    yield f"| system | {' | '.join(heads)} | `two_stage` over it, {' / '.join(over)} |"
    yield "| --- " * (len(slices) + 2) + "|"
    for system in systems:
        cells = [_measured(rows[system, label]) for label in slices]
        if system == OURS:
            cells = [f"**{cell}**" for cell in cells]
        ratios = [case["ratio_to_each"][label].get(system) for label in over]
        told = " / ".join(_number(ratio["ratio"], 3) for ratio in ratios if ratio)
        yield f"| {NAMES[system]} | {' | '.join(cells)} | {told} |"


def _beside(rows: dict[tuple[str, str], Json], systems: Sequence[str]) -> Iterator[str]:
    """What else there is of the slice `all`: other measures of hits, and what lists are like."""
    yield f"| all, at {K} | {' | '.join(_BESIDE)} |"
    yield "| --- " * (len(_BESIDE) + 1) + "|"
    for system in systems:
        row = rows[system, "all"]
        cells = [_number(row[name], digits) for name, digits in _BESIDE.items()]
        yield f"| {NAMES[system]} | {' | '.join(cells)} |"


def _chances(calibration: Sequence[Json]) -> Iterator[str]:
    """How each action's chance holds, by segment: the seeds in their order."""
    yield "| chance of | users | expected calibration error | predicted over actual |"
    yield "| --- | --- | --- | --- |"
    parts: dict[tuple[str, str], list[Json]] = {}
    for row in calibration:
        parts.setdefault((row["action"], row["segment"]), []).append(row)
    for (action, segment), found in parts.items():
        cells = _listed(found, "ece", 4), _listed(found, "ratio", 3)
        yield f"| {action} | {segment} | {' | '.join(cells)} |"


def _listed(rows: Sequence[Json], name: str, digits: int) -> str:
    return ", ".join(_number(row[name], digits) for row in rows)


def _number(value: float | None, digits: int) -> str:
    """A number without its leading zero; a ratio to nothing is none."""
    return "-" if value is None else f"{value:.{digits}f}".removeprefix("0")


def _measured(row: Json) -> str:
    low, high = (_number(row[name], 3) for name in ("ci_low", "ci_high"))
    return f"{_number(row['ndcg'], 3)} ({low}-{high})"


def _ratio(found: Json) -> str:
    ratio, low, high = (_number(found[name], 3) for name in ("ratio", "ci_low", "ci_high"))
    return f"{ratio} ({low} to {high})"


def _options() -> argparse.Namespace:
    parser = command.parser("quality.table", __doc__)
    parser.add_argument("report", type=Path, help="JSON of python -m benchmarks.quality")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
