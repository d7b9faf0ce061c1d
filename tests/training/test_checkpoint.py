"""What a killed run leaves behind, and what becomes of it when people or data are gone."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from qianmian.errors import TrainingError
from qianmian.folder_lock import hold
from tests.training.made_ranker import proposed
from training import checkpoint as checkpoint_module
from training.checkpoint import Checkpoint
from training.two_tower import TwoTowerTrainer


class Towers:
    """Weights that can be written and taken back."""

    def __init__(self) -> None:
        self.weights = torch.zeros(3)

    def checkpoint(self) -> dict[str, torch.Tensor]:
        return {"weights": self.weights}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        self.weights = state["weights"]


@pytest.fixture
def towers() -> Towers:
    return Towers()


def saved(folder: Path, towers: Towers, moments: tuple[float, ...]) -> None:
    checkpoint, rng = Checkpoint(folder), np.random.default_rng(1)
    for moment in moments:
        checkpoint.keep_examples(moment, proposed(np.random.default_rng(2), groups=3))
        checkpoint.save(moment, cast("TwoTowerTrainer", towers), rng)


def restored(checkpoint: Checkpoint, towers: Towers) -> float | None:
    return checkpoint.restore(cast("TwoTowerTrainer", towers), np.random.default_rng(3))


def test_a_run_goes_on_with_the_examples_it_had_made(tmp_path: Path, towers: Towers) -> None:
    saved(tmp_path / "run", towers, (7.0, 14.0))
    towers.weights = torch.ones(3)
    checkpoint = Checkpoint(tmp_path / "run")
    assert restored(checkpoint, towers) == 14.0
    assert towers.weights.tolist() == [0.0, 0.0, 0.0]
    assert [len(checkpoint.examples(at)) for at in (7.0, 10.0, 14.0)] == [1, 0, 1]
    checkpoint.clear()
    assert not (tmp_path / "run").exists()


def test_without_some_of_them_it_starts_anew(tmp_path: Path, towers: Towers) -> None:
    """As after an erasure from under the run, which then wrote its next state."""
    saved(tmp_path / "run", towers, (7.0, 14.0))
    (tmp_path / "run" / "examples-7.npz").unlink()
    assert restored(Checkpoint(tmp_path / "run"), towers) is None


def test_an_erasure_does_not_disturb_a_run_that_goes_on(tmp_path: Path, towers: Towers) -> None:
    saved(tmp_path / "run", towers, (7.0, 14.0))
    checkpoint = Checkpoint(tmp_path / "run")
    restored(checkpoint, towers)
    for path in (tmp_path / "run").iterdir():
        path.unlink()
    assert [len(checkpoint.examples(at)) for at in (7.0, 14.0)] == [1, 1]


def test_a_file_that_is_taken_away_while_it_is_written_is_written_again(
    tmp_path: Path, towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def take_away_once(path: Path, target: Path) -> Path:
        if not taken:
            taken.append(path)
            path.unlink()
        return replace(path, target)

    replace = Path.replace
    monkeypatch.setattr(Path, "replace", take_away_once)
    saved(tmp_path / "run", towers, (7.0,))
    assert taken
    assert restored(Checkpoint(tmp_path / "run"), towers) == 7.0


@pytest.fixture
def root(tmp_path: Path, towers: Towers) -> Path:
    root = tmp_path / "checkpoints"
    for data, name in (("before", "quick"), ("now", "quick"), ("now", "full")):
        saved(root / data / name, towers, (7.0,))
    return root


def runs(root: Path) -> list[str]:
    return sorted(f"{path.parent.parent.name}/{path.parent.name}" for path in root.rglob("*.pt"))


def test_what_lies_there_of_other_data_goes(root: Path, towers: Towers) -> None:
    (root / "former-layout").mkdir()
    (root / "former-layout" / "state.pt").touch()
    (root / "a-file-of-somebody").touch()
    with Checkpoint.on("now", "quick", root=root) as checkpoint:
        assert restored(checkpoint, towers) == 7.0
    assert runs(root) == ["now/full", "now/quick"]
    assert sorted(path.name for path in root.iterdir()) == ["a-file-of-somebody", "now"]


def test_what_another_run_works_in_stays(root: Path) -> None:
    with Checkpoint.on("before", "quick", root=root) as mine:  # clears `now`, which nobody holds
        with Checkpoint.on("now", "quick", root=root) as yours:
            assert mine.folder.is_dir()
            assert yours.folder.is_dir()
        assert runs(root) == ["before/quick"]


def test_two_processes_are_not_at_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "_PATIENCE", 0.0)
    with Checkpoint.on("now", "quick", root=root):
        again = Checkpoint.on("now", "quick", root=root)
        with pytest.raises(TrainingError, match="another process"), again:
            pass
        with Checkpoint.on("now", "full", root=root):
            pass
    with Checkpoint.on("now", "quick", root=root):
        pass


def test_a_run_that_is_to_start_anew_finds_nothing(root: Path, towers: Towers) -> None:
    with Checkpoint.on("now", "quick", root=root, anew=True) as checkpoint:
        assert restored(checkpoint, towers) is None
        with pytest.raises(BlockingIOError):  # still held
            hold(checkpoint.folder, wait=False)
    assert runs(root) == ["now/full"]
