"""`qianmian users`, and an import after somebody was forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qianmian.cli.main import app
from qianmian.data.store import Dataset
from qianmian.features import snapshots
from qianmian.features.store import FeatureRepo
from qianmian.workspace import Workspace
from tests.features.conftest import DECLARATION, TRAIN_END, import_shop, shop_tables

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = import_shop(tmp_path_factory.mktemp("users"), shop_tables(), DECLARATION)
    snapshots.build(workspace, Dataset.open(workspace), [TRAIN_END])
    FeatureRepo.open(workspace).materialize(TRAIN_END)
    return workspace


def run(shop: Workspace, *arguments: str, code: int = 0) -> str:
    words = ["--home", str(shop.root), "--dataset", shop.dataset, *arguments]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code, result.output
    return result.output


def test_merge_and_take_apart(shop: Workspace) -> None:
    assert run(shop, "users", "merge", "d-1", "u1").startswith("merged; can be undone until")
    assert run(shop, "users", "merge", "d-1", "u1").startswith("merged before")
    assert "users:unmerge first" in run(shop, "users", "merge", "d-1", "u2", code=2)
    assert "taken apart" in run(shop, "users", "merge", "d-1", "u1", "--undo")


def test_forget_receipt_and_import_again(shop: Workspace) -> None:
    told = run(shop, "users", "forget", "u1", "--json")
    receipt = json.loads(told[told.index("{") :])
    assert (receipt["state"], receipt["holds"]) == ("done", True)
    assert FeatureRepo.open(shop).online_user("u1") is None
    shown = run(shop, "users", "receipt", receipt["receipt_id"])
    assert "signature holds" in shown
    assert "u1" not in shown.replace(receipt["receipt_id"], "")
    assert receipt["receipt_id"] in run(shop, "users", "receipt")
    assert "unknown receipt" in run(shop, "users", "receipt", "none", code=2)
    assert "0 pending; all done" in run(shop, "users", "resume")
    source = Path(shop.root).parent / "shop-source"
    run(shop, "data", "import", str(source), "--name", shop.dataset, "--force")
    assert "u1" not in set(Dataset.open(shop).events()["user_id"])
    assert run(shop, "users", "allow", "u1") == "allowed: new data is taken in\n"
    run(shop, "data", "import", str(source), "--name", shop.dataset, "--force")
    assert "u1" in set(Dataset.open(shop).events()["user_id"])
    assert run(shop, "users", "allow", "u1") == "was not forgotten\n"
