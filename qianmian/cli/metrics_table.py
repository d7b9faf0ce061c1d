"""Prints metric rows as a table: systems down, slices across, recall and NDCG at one K."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.table import Table

from qianmian.cli.wide import console
from qianmian.releases.manifest import CalibrationRow, MetricRow

SHOWN_K = 20


#: Slices of the table; the others (cold users and items, segments) are in the JSON.
SHOWN_SLICES = ("all", "repeat", "new")


def print_metrics(rows: Sequence[MetricRow]) -> None:
    """Print Recall@20 and NDCG@20 with the interval of the latter, by system and slice.

    The last column is how far `two_stage` is ahead of each system over all, paired over users.
    """
    rows = [row for row in rows if row.k == SHOWN_K and row.slice in SHOWN_SLICES]
    slices = list(dict.fromkeys(row.slice for row in rows))
    table = Table(title=f"Recall@{SHOWN_K} / NDCG@{SHOWN_K} (95 % interval of NDCG)")
    table.add_column("system")
    users = {row.slice: row.users for row in rows}
    for label in slices:
        table.add_column(f"{label} ({users[label]:,} users)", justify="right")
    table.add_column("two_stage is", justify="right")
    for system in dict.fromkeys(row.system for row in rows):
        of_system = {row.slice: row for row in rows if row.system == system}
        cells = {
            label: f"{row.recall:.3f} / {row.ndcg:.3f} ({_shown(row.ci_low)}-{_shown(row.ci_high)})"
            for label, row in of_system.items()
        }
        table.add_row(
            system, *(cells.get(label, "-") for label in slices), _ahead(of_system.get("all"))
        )
    console().print(table)


def print_segments(rows: Sequence[MetricRow], tags: Sequence[str]) -> None:
    """Print how `two_stage` does for the users of each value of these tags, and the best other."""
    rows = [row for row in rows if row.k == SHOWN_K and row.slice.partition("=")[0] in tags]
    if not rows:
        return
    table = Table(title=f"NDCG@{SHOWN_K} by segment")
    for name in ("users", "how many", "two_stage", "best of the others", "two_stage is"):
        table.add_column(name, justify="left" if name == "users" else "right")
    for segment in dict.fromkeys(row.slice for row in rows):
        of_segment = {row.system: row for row in rows if row.slice == segment}
        ours = of_segment.pop(_OURS)
        best = max(of_segment.values(), key=lambda row: row.ndcg)
        table.add_row(
            segment,
            f"{ours.users:,}",
            f"{ours.ndcg:.3f} ({_shown(ours.ci_low)}-{_shown(ours.ci_high)})",
            f"{best.ndcg:.3f} {best.system}",
            _ahead(best),
        )
    console().print(table)


_OURS: Final = "two_stage"


def print_calibration(rows: Sequence[CalibrationRow]) -> None:
    """Print what was predicted against what followed, by action and segment of users."""
    if not rows:
        return
    table = Table(title=_HELD_OUT[rows[0].period])
    for name in ("action", "users", "candidates", "predicted", "actual", "ratio", "ECE"):
        table.add_column(name, justify="left" if name in {"action", "users"} else "right")
    for row in rows:
        table.add_row(
            row.action,
            row.segment,
            f"{row.candidates:,}",
            f"{row.predicted:.5f}",
            f"{row.actual:.5f}",
            "-" if row.ratio is None else f"{row.ratio:.3f}",
            f"{row.ece:.5f}",
        )
    console().print(table)


_HELD_OUT: Final = {
    "test": "Probabilities after the split",
    "rehearsal": "Probabilities in the rehearsal, on the last time before the split",
}


def _ahead(row: MetricRow | None) -> str:
    if row is None or row.ratio is None:
        return "-"
    return f"{row.ratio:.3f} times ({_shown(row.ratio_low)}-{_shown(row.ratio_high)})"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
