"""`qianmian campaigns` and `qianmian venue racing` on a tiny imported shop."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qianmian.campaigns.ledger import Activity, LeaseRequest, SponsoredEvent
from qianmian.campaigns.purse import open_purse
from qianmian.cli.main import app
from qianmian.contracts import topics
from qianmian.events.engine import SqliteEngine, open_engine
from qianmian.racing.state import ArmSums, RaceState
from qianmian.workspace import Workspace

CAMPAIGN = """
campaign: bread
advertiser: Bakery
items: [i1]
starts_at: 2026-11-01T00:00:00Z
ends_at: 2026-11-11T00:00:00Z
budget: 100
billing: cpc
bid: 0.5
"""
RACE = "racing: {page_order: {blocks: [main, more], goal: click}}\nblocks: {main: {}, more: {}}\n"


def run(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Where a tiny shop was imported."""
    import pandas as pd

    source = tmp_path_factory.mktemp("source")
    (source / "dataset.yaml").write_text("name: shop\nsource: a test\nlicence: CC0-1.0\n")
    times = pd.date_range("2026-09-01", periods=30, tz="UTC")
    pd.DataFrame(
        {"user_id": "u1", "item_id": "i1", "event_type": "order", "timestamp": times}
    ).to_parquet(source / "events.parquet")
    run("--home", source / "home", "data", "import", source)
    return source / "home"


@pytest.fixture
def shop(tmp_path: Path, home: Path):
    """Home and Serve config of the shop with one campaign and one race."""
    configs = tmp_path / "configs"
    shutil.copytree(home, tmp_path / "home")
    for folder in ("venues/shop", "campaigns", "experiments"):
        (configs / folder).mkdir(parents=True)
    (configs / "venues" / "default.yaml").write_text("objective: {order: 1.0}\n")
    (configs / "venues" / "shop" / "all.yaml").write_text(RACE)
    (configs / "campaigns" / "bread.yaml").write_text(CAMPAIGN)
    import yaml

    from serving.launch import SERVE_FILE

    serve = yaml.safe_load(SERVE_FILE.read_text())
    serve["applications"][0]["args"] |= {"dataset": "shop", "configs": str(configs)}
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(serve))
    return tmp_path


def shop_run(shop: Path, *args: str, code: int = 0) -> str:
    config = ("--config", str(shop / "serve.yaml"))
    return run("--home", shop / "home", "--dataset", "shop", *args, *config, code=code)


def test_list_and_show_tell_what_is_in_force(shop: Path) -> None:
    (listed,) = json.loads(shop_run(shop, "campaigns", "list", "--json"))
    assert (listed["campaign"], listed["bid"], listed["reserve"]) == ("bread", 0.5, "expected")
    assert "Bakery" in shop_run(shop, "campaigns", "list")
    assert "window_minutes  60" in shop_run(shop, "campaigns", "show", "bread")
    told = shop_run(shop, "campaigns", "show", "bred", code=2)
    assert "did you mean 'bread'" in told


def test_faults_are_told_with_file_and_line(shop: Path) -> None:
    path = shop / "configs" / "campaigns" / "bread.yaml"
    path.write_text(CAMPAIGN.replace("bid: 0.5", "bidd: 0.5") + 'venues: ["al"]\n')
    told = shop_run(shop, "campaigns", "list", code=2)
    assert f"{path}:9: bidd=0.5: unknown key" in told
    path.write_text(CAMPAIGN + 'venues: ["al"]\n')
    told = shop_run(shop, "campaigns", "list", code=2)
    assert f"{path}:10: venues[0]='al': expected a venue of 'shop', did you mean 'all'?" in told


def test_report_tells_spend_and_what_it_brought(shop: Path) -> None:
    purse = open_purse(SqliteEngine(), Workspace(shop / "home", "shop"))
    purse.ledger.fund({"bread": 100_000_000})
    asked = LeaseRequest("bread", 5_000_000, 1, seconds=60.0, window=3600.0)
    (lease,) = purse.ledger.lease("r", [asked], 1_793_900_000.0)
    purse.ledger.book(
        [
            SponsoredEvent(
                event_id=f"e{n}",
                campaign="bread",
                activity=activity,
                at=1_793_900_000.0,
                value=2_000_000,
                exposure=f"x{n}",
                lease_id=lease.lease_id,
                price=400_000 if activity is Activity.CLICK else None,
            )
            for n, activity in enumerate(
                [*[Activity.IMPRESSION] * 10, Activity.CLICK, Activity.SALE]
            )
        ],
        after="",
        cursor="1",
    )
    purse.shut()
    at = "--clock=2026-11-06T00:00:00Z"
    (row,) = json.loads(shop_run(shop, "campaigns", "report", "--json", at))
    assert (row["spent"], row["impressions"], row["clicks"], row["sales"]) == (0.4, 10, 1, 1)
    assert (row["ecpm"], row["return_on_spend"], row["planned"]) == (40.0, 5.0, 50.0)
    assert row["pacing"] == pytest.approx(0.4 / 50)
    assert "running" in shop_run(shop, "campaigns", "report", at)


def test_racing_tells_where_the_arms_stand(shop: Path) -> None:
    engine = open_engine(SqliteEngine(), Workspace(shop / "home", "shop"))
    arms = {"main": ArmSums(trials=100, click=5), "more": ArmSums(trials=100, click=30)}
    state = RaceState(7, 1_793_900_000.0, arms)
    engine.changes.put(topics.RACING, {"all|page_order": state.to_bytes()})
    engine.close()
    first, second = json.loads(shop_run(shop, "venue", "racing", "all", "--json"))
    assert (first["arm"], second["arm"], first["version"]) == ("more", "main", 7)
    assert first["share"] == pytest.approx(0.95, abs=1e-3)
    assert "95.0%" in shop_run(shop, "venue", "racing", "all")
