"""Every budget ledger, opened as another process would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qianmian.campaigns.ledger import BudgetLedger
from qianmian.campaigns.sqlite_ledger import SqliteLedger

OpenLedger = Callable[[Path], BudgetLedger]

#: By engine: what opens the ledger that belongs to a folder.
LEDGERS: dict[str, OpenLedger] = {"sqlite": lambda folder: SqliteLedger(folder / "ledger.db")}
