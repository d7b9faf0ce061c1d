"""Checkpoints of a training run: a killed run goes on where it was, and gives the same release.

After each moment the two-tower trainer (weights and optimizer states), the generators and the
examples made so far are on disk. Everything else is read again from the feature store.

They tell of people, so they go when somebody is erased, also from under a run; and checkpoints on
data that have changed since, which nobody can go on from, go with the next run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from qianmian.errors import TrainingError
from training.proposals import Examples
from training.two_tower import TwoTowerTrainer

_STATE_FILE = "state.pt"


class Checkpoint:
    """The checkpoint folder of one run, known by the fingerprint of its inputs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[float] = []  # moments at which examples were made

    @classmethod
    def on(cls, data: str, name: str, *, root: Path) -> Checkpoint:
        """The checkpoint of a run on these data; what lies below `root` of other data goes."""
        for other in root.iterdir() if root.exists() else ():
            if other.name != data:
                shutil.rmtree(other, ignore_errors=True)
        return cls(root / data / name)

    @property
    def folder(self) -> Path:
        """Where it lies, for what else the run keeps until it is finished."""
        return self._folder

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

        None where nothing was saved, or where examples have gone since.
        """
        path = self._folder / _STATE_FILE
        if not path.exists():
            return None
        state = torch.load(path, weights_only=True)
        made = state.get("made")  # checkpoints of former versions do not tell
        if made is None or not all(self._examples(at).exists() for at in made):
            return None
        self._made = made
        trainer.restore(state["trainer"])
        rng.bit_generator.state = state["numpy"]
        torch.set_rng_state(state["torch"])
        return float(state["moment"])

    def keep_examples(self, moment: float, examples: Examples) -> None:
        """Write the examples that were made at a moment."""
        arrays = {field.name: getattr(examples, field.name) for field in fields(Examples)}
        self._put(self._examples(moment).name, lambda path: np.savez(path, **arrays))
        self._made.append(moment)

    def examples(self, moment: float) -> list[Examples]:
        """Read the examples of a moment that was learned before, if any were made there.

        Raises:
            TrainingError: they went while the run was going on from them.
        """
        if moment not in self._made:
            return []
        try:
            with np.load(self._examples(moment)) as arrays:
                return [Examples(**arrays)]
        except FileNotFoundError as error:
            raise TrainingError(
                "what a killed run had left was removed meanwhile, as an erasure does: start again"
            ) from error

    def clear(self) -> None:
        """Remove everything: the run is finished."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _put(self, name: str, write: Callable[[Path], None]) -> None:
        """Write a file in one step, again where it is taken away before that."""
        fresh = self._folder / f".{name}"
        while True:
            self._folder.mkdir(parents=True, exist_ok=True)
            write(fresh)
            with suppress(FileNotFoundError):
                fresh.replace(self._folder / name)
                return

    def _examples(self, moment: float) -> Path:
        return self._folder / f"examples-{moment:.0f}.npz"
