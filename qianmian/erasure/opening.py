"""Opens the erasures of a data set, for a replica or for the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import time

from qianmian.campaigns.purse import open_purse
from qianmian.erasure.job import Erasures
from qianmian.erasure.people import People
from qianmian.erasure.receipts import Receipts
from qianmian.erasure.stores import Store, Stores, Tell
from qianmian.events.engine import Engine, EngineSettings
from qianmian.identity.gate import Gate, PrivacySettings
from qianmian.workspace import Workspace


def open_erasures(
    workspace: Workspace,
    engine: Engine,
    gate: Gate,
    *,
    privacy: PrivacySettings,
    engine_settings: EngineSettings,
    online: Callable[[Sequence[str]], int],
    decision_folder: Path | None = None,
    clock: Callable[[], float] = time,
) -> Erasures:
    """Return the erasures of a data set.

    Args:
        workspace: the data set.
        engine: its event log and topics.
        gate: knows pseudonyms and tombstones.
        privacy: settings.
        engine_settings: what the engine was opened with.
        online: removes subjects from the online features; returns how many rows went.
        decision_folder: where the decision log lies; None: in the workspace.
        clock: seconds since the epoch by the machine's clock.

    Raises:
        ConfigError: the secret cannot be used.
        EventStoreError: the receipts cannot be read.
    """

    def showings(people: People, tell: Tell) -> None:
        purse = open_purse(engine_settings, workspace)
        try:
            tell(max(purse.showings.forget(people.subjects), 0))
        finally:
            purse.shut()

    stores = Stores(
        workspace,
        engine,
        online=online,
        mac=gate.tombstones.hash_of,
        further=[Store("showings", showings)],
        decision_folder=decision_folder,
    )
    return Erasures(
        folder=workspace.identity,
        receipts=Receipts(workspace.identity, privacy.secret(workspace)),
        gate=gate,
        changes=engine.changes,
        stores=stores.all,
        clock=clock,
        settle_seconds=privacy.settle_seconds,
    )
