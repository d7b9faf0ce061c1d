"""What is said and set before PyTorch is loaded."""

from __future__ import annotations

import typer

from training.machine import let_waiting_threads_rest


def before_torch() -> None:
    """Say that it takes a while, and have threads that wait leave their core to others."""
    typer.echo("loading PyTorch and TorchRec ...", err=True)
    let_waiting_threads_rest()
