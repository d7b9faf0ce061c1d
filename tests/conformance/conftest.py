"""Every engine, opened fresh: what stands in this folder is run against each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from qianmian.events.engine import Engine, SqliteEngine, open_engine
from qianmian.workspace import Workspace

ENGINES = ("sqlite",)


@pytest.fixture(params=ENGINES)
def open_again(request: pytest.FixtureRequest, tmp_path) -> Iterator[Callable[[], Engine]]:
    """Opens the engine of one data set, as another process would."""
    opened: list[Engine] = []

    def open_() -> Engine:
        opened.append(open_engine(SqliteEngine(), Workspace(tmp_path, "shop")))
        return opened[-1]

    yield open_
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(open_again: Callable[[], Engine]) -> Engine:
    return open_again()
