"""A venue page as a table on the terminal, for `recommend` and `demo`."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

Answer = dict[str, Any]


def page_table(block: Answer, heading: str, *, explain: bool = False) -> Table:
    """Return a block of an answer as a table; `explain` needs an answer that was explained."""
    table = Table(title=heading, title_justify="left", box=None, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("item", overflow="ellipsis", no_wrap=True, max_width=34)
    table.add_column("price", justify="right")
    table.add_column("off", justify="right")
    table.add_column("source")
    if explain:
        table.add_column("score", justify="right")
        table.add_column("retrieval", justify="right")
        table.add_column("chance of")
    for item in block["items"]:
        table.add_row(*_cells(item, explain=explain))
    return table


def _cells(item: Answer, *, explain: bool) -> list[str | Text]:
    details = item["item"]
    price, off = details["price"], details["discount"]
    cells: list[str | Text] = [
        str(item["position"]),
        Text(details["title"] or item["item_id"]),
        "" if price is None else f"{price:.2f}",
        f"{off:.0%}" if off >= 0.005 else "",  # noqa: PLR2004  less would print as 0%
        item["source"],
    ]
    if explain:
        how = item["explain"]
        retrieval = how["retrieval_score"]
        cells += [
            f"{item['score']:.4f}",
            "" if retrieval is None else f"{retrieval:.3f}",
            ", ".join(f"{action} {p:.4f}" for action, p in how["probabilities"].items()),
        ]
    return cells
