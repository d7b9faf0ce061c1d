"""`qianmian train`: what it remembers as done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from qianmian.cli.main import app
from qianmian.errors import TrainingError
from qianmian.releases.store import ReleaseStore
from qianmian.workspace import Workspace
from tests.conftest import SMALL
from tests.training.made_ranker import proposed
from training import pipeline
from training import profile as profiles
from training.checkpoint import Checkpoint


@pytest.fixture
def shop(small_shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    shutil.copytree(small_shop.path, tmp_path / small_shop.dataset, symlinks=True)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({**SMALL, "name": "small"}))
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    return Workspace(tmp_path, small_shop.dataset)


def train(shop: Workspace) -> Result:
    command = ["--home", str(shop.root), "--dataset", shop.dataset, "train", "--profile", "small"]
    return CliRunner().invoke(app, command)


def test_a_release_without_proof_is_an_error_and_not_remembered(shop, monkeypatch) -> None:
    store, ran = ReleaseStore(shop.releases), []
    release = store.get("live").id
    path = store.path(release) / "manifest.json"
    proven = json.loads(path.read_text())

    def publish(*_: object) -> str:
        ran.append(release)
        parity = {**proven["parity"], "passed": len(ran) > 1}
        path.write_text(json.dumps({**proven, "parity": parity}))
        return release

    monkeypatch.setattr(pipeline, "train", publish)
    done = train(shop)
    assert done.exit_code == 2
    assert "cannot be promoted: its graphs do not compute what was trained" in done.output
    assert train(shop).exit_code == 0
    again = train(shop)
    assert "already there" in again.output
    assert len(ran) == 2


def test_a_killed_run_is_taken_up_on_the_same_data_alone(shop, monkeypatch) -> None:
    found = []

    def killed(*given: object) -> str:
        checkpoint = given[-1]
        assert isinstance(checkpoint, Checkpoint)
        found.append(sorted(path.name for path in shop.checkpoints.rglob("*.npz")))
        checkpoint.keep_examples(float(len(found)), proposed(np.random.default_rng(1), groups=2))
        raise TrainingError("killed")

    monkeypatch.setattr(pipeline, "train", killed)
    for _ in range(2):
        assert "killed" in train(shop).output
    note = shop.data / "dataset.yaml"
    note.write_text(note.read_text() + "# another split\n")
    train(shop)
    assert found == [[], ["examples-1.npz"], []]
    assert [path.name for path in shop.checkpoints.rglob("*.npz")] == ["examples-3.npz"]
