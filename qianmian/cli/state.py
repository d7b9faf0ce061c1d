"""What the global options of `qianmian` say, handed to every command as the context object.

A command reads it with `CliState.of(ctx)`; no command looks at the environment itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import typer

from qianmian.contracts.names import DATASET_NAME_PATTERN, DATASET_NAME_RULE
from qianmian.errors import FieldError
from qianmian.workspace import DEFAULT_DATASET, Workspace


@dataclass(frozen=True, slots=True)
class CliState:
    """The folder that holds all data sets, and the data set the command is about.

    Raises FieldError where `dataset` cannot be the name of a folder.
    """

    root: Path
    dataset: str = DEFAULT_DATASET

    def __post_init__(self) -> None:
        if not re.fullmatch(DATASET_NAME_PATTERN, self.dataset):
            raise FieldError(
                "--dataset",
                self.dataset,
                DATASET_NAME_RULE,
                "`qianmian data list` names those imported",
            )

    @property
    def workspace(self) -> Workspace:
        """Paths of the chosen data set."""
        return Workspace(root=self.root, dataset=self.dataset)

    @staticmethod
    def of(ctx: typer.Context) -> CliState:
        """Return the state that the global options made."""
        state = ctx.find_object(CliState)
        if state is None:  # a command run without `qianmian` above it
            message = "no CliState above this command: run it through qianmian.cli.main"
            raise TypeError(message)
        return state
