"""What makes a training run another one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from qianmian.features import snapshots
from qianmian.workspace import Workspace
from tests.conftest import SMALL
from training import revision, stamp
from training.profile import TrainingProfile

PROFILE = TrainingProfile.model_validate(SMALL)


@pytest.fixture
def shop(small_shop: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(small_shop.root, tmp_path / "home")
    return Workspace(tmp_path / "home", small_shop.dataset)


def test_an_erasure_makes_it_another_run(shop: Workspace) -> None:
    before = stamp.fingerprint(shop, PROFILE, {}, stamp.of_data(shop))
    assert stamp.fingerprint(shop, PROFILE, {}, stamp.of_data(shop)) == before
    path = shop.data / "events.parquet"
    events = pd.read_parquet(path)
    events[events["user_id"] != events["user_id"].iloc[0]].to_parquet(path)
    assert stamp.fingerprint(shop, PROFILE, {}, stamp.of_data(shop)) != before


def test_features_built_from_other_events_make_it_another_run(shop: Workspace) -> None:
    before = stamp.fingerprint(shop, PROFILE, {}, stamp.of_data(shop))
    path = shop.features / snapshots.STAMP_FILE
    built = json.loads(path.read_text())
    path.write_text(json.dumps({**built, "fingerprint": "of events that were archived since"}))
    assert stamp.fingerprint(shop, PROFILE, {}, stamp.of_data(shop)) != before


def test_other_libraries_make_it_another_run(shop: Workspace, monkeypatch) -> None:
    before = stamp.fingerprint(shop, PROFILE, {}, stamp.of_data(shop))
    monkeypatch.setattr(stamp, "version", lambda library: f"{library} of tomorrow")
    assert stamp.fingerprint(shop, PROFILE, {}, stamp.of_data(shop)) != before


@pytest.mark.parametrize("folder", ["models", "training", "qianmian/contracts", "qianmian/data"])
def test_other_code_makes_it_another_run(folder: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(revision, "PROJECT_ROOT", tmp_path)
    (tmp_path / folder).mkdir(parents=True)
    file = tmp_path / folder / "code.py"
    file.write_text("LENGTH = 50\n")
    before = revision.source_hash()
    file.write_text("LENGTH = 60\n")
    assert revision.source_hash() != before
