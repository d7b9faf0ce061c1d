"""A small shop with features online, and an engine of its own for each test."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qianmian.cli.main import app
from qianmian.data.store import Dataset
from qianmian.events.accepting import AcceptanceSettings
from qianmian.events.engine import Engine, SqliteEngine, open_engine
from qianmian.events.event import StoredEvent
from qianmian.features import snapshots
from qianmian.features.store import FeatureRepo
from qianmian.stream.assembly import Streaming, assemble
from qianmian.stream.part import Part
from qianmian.stream.settings import StreamSettings
from qianmian.workspace import Workspace
from tests.features.conftest import DECLARATION, TRAIN_END, import_shop, shop_tables
from tests.features.small import at

#: After everything that was imported.
NOW = at(80)
REMEMBER_SECONDS = AcceptanceSettings().remember_seconds
SKEW_SECONDS = AcceptanceSettings().skew_seconds


@pytest.fixture(scope="session")
def built_shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = import_shop(tmp_path_factory.mktemp("stream"), shop_tables(), DECLARATION)
    snapshots.build(workspace, Dataset.open(workspace), [TRAIN_END])
    FeatureRepo.open(workspace).materialize(TRAIN_END)
    return workspace


@pytest.fixture
def home(built_shop: Workspace, tmp_path: Path) -> Workspace:
    """The shop, for writing."""
    shutil.copytree(built_shop.root, tmp_path / "home")
    return Workspace(tmp_path / "home", built_shop.dataset)


@dataclass
class Shop:
    """The shop with its engine; `start` makes the stream anew, as a new process would."""

    workspace: Workspace
    engine: Engine
    now: float = NOW

    def start(self, others: Sequence[Part] = (), **settings: Any) -> Streaming:
        quick = StreamSettings(**{"statistics_seconds": 1e-9, **settings})
        return assemble(
            self.workspace,
            self.engine,
            quick,
            remember_seconds=REMEMBER_SECONDS,
            skew_seconds=SKEW_SECONDS,
            now=lambda: self.now,
            others=others,
        )

    def send(self, *events: StoredEvent) -> None:
        self.engine.events.append(events)

    def user(self, user_id: str) -> dict[str, object]:
        return FeatureRepo.open(self.workspace).online_user(user_id) or {}


@pytest.fixture
def shop(home: Workspace):
    engine = open_engine(SqliteEngine(), home)
    yield Shop(home, engine)
    engine.close()


def sent(number: int, subject: str, item: str, kind: str = "order", **fields: Any) -> StoredEvent:
    """An event a second after the one with the number before."""
    given: dict[str, Any] = {
        "event_id": f"e{number}",
        "event_type": kind,
        "timestamp": NOW + number,
        "received_at": NOW + number,
        "subject_id": subject,
        "item_id": item,
    }
    return StoredEvent(**{**given, **fields})


@pytest.fixture
def run_cli():
    """Run `qianmian` on a workspace."""

    def run(workspace: Workspace, *arguments: str) -> Any:
        home = ["--home", str(workspace.root), "--dataset", workspace.dataset]
        done = CliRunner().invoke(app, [*home, *arguments])
        assert done.exit_code == 0, done.output
        return done

    return run
