"""Prints metric rows as a table: systems down, slices across, recall and NDCG at one K."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from qianmian.cli.wide import console
from qianmian.releases.manifest import MetricRow

SHOWN_K = 20


def print_metrics(rows: Sequence[MetricRow]) -> None:
    """Print Recall@20 and NDCG@20 with the interval of the latter, by system and slice."""
    slices = list(dict.fromkeys(row.slice for row in rows))
    table = Table(title=f"Recall@{SHOWN_K} / NDCG@{SHOWN_K} (95 % interval of NDCG)")
    table.add_column("system")
    users = {row.slice: row.users for row in rows}
    for label in slices:
        table.add_column(f"{label} ({users[label]:,} users)", justify="right")
    for system in dict.fromkeys(row.system for row in rows):
        cells = {
            row.slice: f"{row.recall:.3f} / {row.ndcg:.3f} ({row.ci_low:.3f}-{row.ci_high:.3f})"
            for row in rows
            if row.system == system and row.k == SHOWN_K
        }
        table.add_row(system, *(cells.get(label, "-") for label in slices))
    console().print(table)
