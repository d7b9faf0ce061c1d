"""Checkpoints of a training run: a killed run goes on where it was, and gives the same release.

    <root>/<data>/<run>/    held by a lock as long as the run works in it

After each moment the two-tower trainer (weights and optimizer states), the generators and the
examples made so far are on disk. Everything else is read again from the feature store.

They tell of people, so they go when somebody is erased, also from under a run; and checkpoints on
data that have changed since, which nobody can go on from, go with the next run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, Self

import numpy as np
import torch

from qianmian.errors import TrainingError
from qianmian.folder_lock import hold, holding
from training.proposals import Examples
from training.two_tower import TwoTowerTrainer

_STATE_FILE: Final = "state.pt"


class Checkpoint:
    """The checkpoint folder of one run, known by the fingerprint of its inputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[float] = []  # moments at which examples were made
        self._restored: dict[float, Examples] = {}

    @classmethod
    @contextmanager
    def on(cls, data: str, name: str, *, root: Path, anew: bool = False) -> Iterator[Self]:
        """The checkpoint of a run on these data, held; what nobody can go on from is removed.

        Args:
            data: hash of the data.
            name: of the run.
            root: the checkpoints of all runs.
            anew: whether what a killed run left is removed, too.

        Raises:
            TrainingError: another process is at the same run.
        """
        folder = root / data / name
        root.mkdir(parents=True, exist_ok=True)
        with holding(root):
            _clear_others(root, data)
            folder.mkdir(parents=True, exist_ok=True)
        handle = _held(folder)
        try:
            if anew:
                for path in folder.iterdir():
                    path.unlink()
            yield cls(folder)
        finally:
            os.close(handle)

    def save(self, moment: float, trainer: TwoTowerTrainer, rng: np.random.Generator) -> None:
        """Write the state after a moment was learned; a kill meanwhile leaves the one before."""
        state = {
            "moment": moment,
            "made": self._made,
            "trainer": trainer.checkpoint(),
            "numpy": rng.bit_generator.state,
            "torch": torch.get_rng_state(),
        }
        self._put(_STATE_FILE, lambda path: torch.save(state, path))

    def restore(self, trainer: TwoTowerTrainer, rng: np.random.Generator) -> float | None:
        """Bring trainer and generators to the saved state; the last moment that was learned.

        None where nothing was saved, or where some of it has gone since.
        """
        try:
            state = torch.load(self.folder / _STATE_FILE, weights_only=True)
            self._restored = {moment: self._read(moment) for moment in state["made"]}
        except FileNotFoundError:
            return None
        self._made = state["made"]
        trainer.restore(state["trainer"])
        rng.bit_generator.state = state["numpy"]
        torch.set_rng_state(state["torch"])
        return float(state["moment"])

    def keep_examples(self, moment: float, examples: Examples) -> None:
        """Write the examples that were made at a moment."""
        arrays: dict[str, Any] = examples.as_arrays()
        self._put(self._examples(moment).name, lambda path: np.savez(path, **arrays))
        self._made.append(moment)

    def examples(self, moment: float) -> list[Examples]:
        """Hand over the restored examples of a moment, if any were made there."""
        return [self._restored.pop(moment)] if moment in self._restored else []

    def clear(self) -> None:
        """Remove everything: the run is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _put(self, name: str, write: Callable[[Path], None]) -> None:
        """Write a file in one step, again where it is taken away before that."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / f".{name}"
        while True:
            write(fresh)
            with suppress(FileNotFoundError):
                fresh.replace(self.folder / name)
                return

    def _read(self, moment: float) -> Examples:
        with np.load(self._examples(moment)) as arrays:
            return Examples.of_arrays(arrays)

    def _examples(self, moment: float) -> Path:
        return self.folder / f"examples-{moment:.0f}.npz"


def _held(folder: Path) -> int:
    deadline = monotonic() + _PATIENCE
    while True:
        try:
            return hold(folder, wait=False)
        except BlockingIOError as error:
            if monotonic() > deadline:
                raise TrainingError(
                    "another process is at the same, on the same data: wait for it, or end it and "
                    "give the command again to go on where it was"
                ) from error
        sleep(_POLL)


_PATIENCE: Final = 12.0  # seconds; the workers of a killed run notice within five
_POLL: Final = 0.25


def _clear_others(root: Path, data: str) -> None:
    """Remove what lies there of other data and is not held."""
    for other in root.iterdir():
        if other.name == data or not other.is_dir():
            continue
        for run in (path for path in other.iterdir() if path.is_dir()):
            with suppress(BlockingIOError), holding(run, wait=False):
                shutil.rmtree(run, ignore_errors=True)
        if not any(path.is_dir() for path in other.iterdir()):
            shutil.rmtree(other, ignore_errors=True)
