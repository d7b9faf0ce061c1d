"""`qianmian tune` on a small shop, from the profile to a better one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from qianmian.cli.main import app
from qianmian.workspace import Workspace
from tests.conftest import SMALL
from training import profile as profiles
from training.profile import load_profile


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of profiles that holds one that hardly learns."""
    ranker = {**SMALL["ranker"], "lr": 1e-7, "horizon_days": 7, "teacher": {"trees": 0}}
    for name, changed in (("slow", {}), ("short", {"horizon_days": 28})):
        said = {**SMALL, "name": name, "ranker": {**ranker, **changed}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(said))
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    return tmp_path


def tune(shop: Workspace, *arguments: str) -> Result:
    command = ["--home", str(shop.root), "--dataset", shop.dataset, "tune", *arguments]
    return CliRunner().invoke(app, command)


def test_a_better_profile_is_written(small_shop: Workspace, home: Path) -> None:
    asked = ("--minutes", "0", "--trials", "6", "--knob", "lr")
    done = tune(small_shop, "--profile", "slow", *asked, "--write", "tuned")
    assert done.exit_code == 0, done.output
    assert "trial 0: the profile as it is has an NDCG@20 of" in done.output
    assert "for the users who did not choose" in done.output
    assert "a trial learns from 1 of the ranker's 2 moments" in done.output
    assert "times its NDCG@20" in load_profile("tuned").description
    tuned, slow = load_profile("tuned"), load_profile("slow")
    assert tuned.ranker.lr > slow.ranker.lr
    assert tuned.two_tower == slow.two_tower
    assert not [*small_shop.checkpoints.rglob("tune-*")], "it is finished"


def test_mistakes_are_told_before_anything_is_learned(small_shop: Workspace, home: Path) -> None:
    for arguments, said in (
        (("--profile", "slwo"), "did you mean 'slow'"),
        (("--profile", "slow", "--knob", "learning_rate"), "knob"),
        (("--profile", "slow", "--write", "slow"), "a profile that is not there yet"),
        (("--profile", "slow", "--write", "My Profile"), "small letters"),
        (("--profile", "slow", "--write", ""), "small letters"),
    ):
        done = tune(small_shop, *arguments)
        assert done.exit_code == 2
        assert said in done.output.replace("\n", " "), done.output
        assert "loading" not in done.output


def test_where_no_moment_can_be_held_out_nothing_is_learned(
    small_shop: Workspace, home: Path
) -> None:
    done = tune(small_shop, "--profile", "short")
    assert done.exit_code == 2
    assert "no moment can be held out" in done.output
    assert "epoch" not in done.output
