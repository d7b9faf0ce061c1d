"""A small shop imported, its features built and in Feast: once a session, for reading only."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from qianmian.cli.main import app
from qianmian.contracts import columns as c
from qianmian.data.store import Dataset
from qianmian.features import snapshots
from qianmian.features.feast_store import CONFIG_FILE
from qianmian.features.store import FeatureRepo
from qianmian.workspace import FEATURE_REPO, Workspace
from tests.features.small import at, event, frame
from tests.redis_server import RedisServer

#: Snapshots of the shop are taken on these days, the last at the end of training.
SNAPSHOT_DAYS = (40, 50, 60)
TRAIN_END = at(60)

#: A user whose every event is planted around the snapshots.
PLANTED = "planted"

DECLARATION = """\
time_zone: UTC
target: order
items:
  categorical: [category, brand]
  affinity: [category, brand]
split:
  train_end: 2024-08-02T12:00:00Z
"""


def shop_events() -> pd.DataFrame:
    """Events of thirty users on twenty items over seventy days, and those of the planted user."""
    rng = random.Random(7)
    rows = [
        event(
            f"u{rng.randrange(30)}",
            f"i{rng.randrange(20):02d}",
            rng.randrange(70 * 24) / 24 + 0.01,
            rng.choices(["order", "click", "impression", "coupon"], [6, 4, 2, 1])[0],
            order_id=f"o{n // 3}",
            quantity=float(rng.randrange(1, 4)),
            value=round(rng.uniform(1, 9), 2),
            list_value=10.0,
        )
        for n in range(900)
    ]
    planted = [("i00", 39.0), ("i01", 40.0), ("i02", 45.0), ("i03", 50.0), ("i04", 61.0)]
    rows += [event(PLANTED, item, days, order_id=f"p{days}") for item, days in planted]
    return frame(*rows)


def shop_tables() -> dict[str, pd.DataFrame]:
    """All five tables of the shop by file name."""
    items = [f"i{n:02d}" for n in range(20)]
    return {
        c.EVENTS_FILE: shop_events(),
        c.USERS_FILE: pd.DataFrame(
            {
                c.USER_ID: ["u0", "u1", "quiet"],
                "city": ["Lyon", "Nice", None],
                "age": [31.0, None, 50.0],
                "hobbies": [["tea", "go"], [], None],
            }
        ),
        c.ITEMS_FILE: pd.DataFrame(
            {
                c.ITEM_ID: [*items, "new"],
                c.TITLE: [f"Item {item}" for item in (*items, "new")],
                c.CATEGORY: [None, *("tea", "soap") * 10],
                c.BRAND: [f"b{n % 3}" for n in range(21)],
                c.PRICE: [float(n) for n in range(21)],
                c.CREATED_AT: pd.to_datetime([None] * 20 + ["2024-07-20T00:00:00Z"]),
            }
        ),
        c.VENUES_FILE: pd.DataFrame(
            {
                c.VENUE_ID: ["618", "all-year"],
                c.NAME: ["Mid-year", None],
                c.STARTS_AT: pd.to_datetime(["2024-06-01T00:00:00Z", None]),
                c.ENDS_AT: pd.to_datetime(["2024-06-19T00:00:00Z", None]),
            }
        ),
        c.VENUE_ITEMS_FILE: pd.DataFrame(
            {c.VENUE_ID: ["618", "618"], c.ITEM_ID: ["i00", "i01"], c.VENUE_PRICE: [1.0, None]}
        ),
    }


def import_shop(
    root: Path, tables: dict[str, pd.DataFrame], declaration: str, name: str = "shop"
) -> Workspace:
    """Import tables as a data set below `root`."""
    folder = root / f"{name}-source"
    folder.mkdir(parents=True, exist_ok=True)
    for file, table in tables.items():
        table.to_parquet(folder / file, index=False)
    (folder / c.DATASET_FILE).write_text(declaration, encoding="utf-8")
    arguments = ["--home", str(root / "home"), "data", "import", str(folder), "--name", name]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return Workspace(root / "home", name)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = import_shop(tmp_path_factory.mktemp("shop"), shop_tables(), DECLARATION)
    snapshots.build(workspace, Dataset.open(workspace), [at(day) for day in SNAPSHOT_DAYS])
    return workspace


#: The stores that the repository chooses, and Feast's own of the same engines.
ENGINES = {
    "chosen": {},
    "feast's own": {
        "qianmian.features.offline.SnapshotOfflineStore": "duckdb",
        "qianmian.features.packed_sqlite.PackedSqliteOnlineStore": "sqlite",
    },
}


@pytest.fixture(scope="session", params=list(ENGINES))
def repo(
    request: pytest.FixtureRequest, shop: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> FeatureRepo:
    """The shop's features through each pair of stores: all of them must answer alike."""
    folder = tmp_path_factory.mktemp("engine")
    shutil.copytree(shop.root, folder / "home")
    shutil.copytree(FEATURE_REPO, folder / "repo", ignore=shutil.ignore_patterns("__pycache__"))
    config = folder / "repo" / CONFIG_FILE
    text = config.read_text(encoding="utf-8")
    for ours, theirs in ENGINES[request.param].items():
        assert ours in text
        text = text.replace(ours, theirs)
    config.write_text(text, encoding="utf-8")
    repo = FeatureRepo.open(Workspace(folder / "home", shop.dataset), folder / "repo")
    repo.materialize(TRAIN_END)
    return repo


@pytest.fixture
def bare(tmp_path: Path) -> Callable[[], Workspace]:
    """Import a data set of four columns and nothing else."""

    def make() -> Workspace:
        events = shop_events()[[c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.TIMESTAMP]]
        return import_shop(tmp_path, {c.EVENTS_FILE: events}, "", name="bare")

    return make


@pytest.fixture
def home(shop: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the shop that a test may write to, without a feature store."""
    shutil.copytree(shop.root, tmp_path / "home")
    shutil.rmtree(tmp_path / "home" / shop.dataset / "feast", ignore_errors=True)
    return Workspace(tmp_path / "home", shop.dataset)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    with tempfile.TemporaryDirectory(prefix="qm") as folder:  # socket paths must be short
        server = RedisServer(Path(folder))
        yield server
        server.resume()
        server.kill()
