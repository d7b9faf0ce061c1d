"""Opens what campaigns keep on the engine: the ledger of budgets and the store of showings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qianmian.campaigns.frequency import FrequencyStore, RedisFrequency, SqliteFrequency
from qianmian.campaigns.ledger import BudgetLedger
from qianmian.campaigns.sqlite_ledger import SqliteLedger
from qianmian.events.engine import EngineSettings, RedisEngine
from qianmian.workspace import Workspace

LEDGER_FILE: Final = "budgets.db"
SHOWINGS_FILE: Final = "showings.db"
#: Seconds until a read of showings fails; pages wait for less, but a thread is held so long.
READ_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Purse:
    """Both stores of one data set."""

    ledger: BudgetLedger
    showings: FrequencyStore

    def shut(self) -> None:
        """Let go of both connections."""
        self.ledger.shut()
        self.showings.shut()


def open_purse(settings: EngineSettings, workspace: Workspace) -> Purse:
    """Open the stores of a data set on its engine.

    Raises:
        EventStoreError: it cannot be used.
    """
    if isinstance(settings, RedisEngine):
        # an optional extra: only who chose Redis needs its client
        from qianmian.campaigns.redis_ledger import RedisLedger  # noqa: PLC0415
        from qianmian.events.redis_link import RedisLink  # noqa: PLC0415

        link = RedisLink(settings.url, workspace.dataset)
        reading = RedisLink(settings.url, workspace.dataset, timeout=READ_SECONDS)
        return Purse(RedisLedger(link), RedisFrequency(link, reading))
    folder = settings.folder or workspace.events
    return Purse(SqliteLedger(folder / LEDGER_FILE), SqliteFrequency(folder / SHOWINGS_FILE))
