"""Checkpoints of a training run: a killed run goes on where it was, and gives the same release.

After each moment the two-tower trainer (weights and optimizer states), the generators and the
examples made so far are on disk. Everything else is read again from the feature store.
"""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from training.proposals import Examples
from training.two_tower import TwoTowerTrainer

_STATE_FILE = "state.pt"


class Checkpoint:
    """The checkpoint folder of one run, known by the fingerprint of its inputs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, moment: float, trainer: TwoTowerTrainer, rng: np.random.Generator) -> None:
        """Write the state after a moment was learned; a kill meanwhile leaves the one before."""
        self._folder.mkdir(parents=True, exist_ok=True)
        state = {
            "moment": moment,
            "trainer": trainer.checkpoint(),
            "numpy": rng.bit_generator.state,
            "torch": torch.get_rng_state(),
        }
        fresh = self._folder / f".{_STATE_FILE}"
        torch.save(state, fresh)
        fresh.replace(self._folder / _STATE_FILE)

    def restore(self, trainer: TwoTowerTrainer, rng: np.random.Generator) -> float | None:
        """Bring trainer and generators to the saved state; the last moment that was learned.

        None where nothing was saved.
        """
        path = self._folder / _STATE_FILE
        if not path.exists():
            return None
        state = torch.load(path, weights_only=True)
        trainer.restore(state["trainer"])
        rng.bit_generator.state = state["numpy"]
        torch.set_rng_state(state["torch"])
        return float(state["moment"])

    def keep_examples(self, moment: float, examples: Examples) -> None:
        """Write the examples that were made at a moment."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / ".examples.npz"
        np.savez(fresh, **{field.name: getattr(examples, field.name) for field in fields(Examples)})
        fresh.replace(self._examples(moment))

    def examples(self, moment: float) -> list[Examples]:
        """Read the examples of a moment that was learned before, if any were made there."""
        if not self._examples(moment).exists():
            return []
        with np.load(self._examples(moment)) as arrays:
            return [Examples(**arrays)]

    def clear(self) -> None:
        """Remove everything: the run is finished."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _examples(self, moment: float) -> Path:
        return self._folder / f"examples-{moment:.0f}.npz"
