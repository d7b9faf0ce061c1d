"""What is said and set before PyTorch is loaded."""

from __future__ import annotations

import os

import typer


def before_torch() -> None:
    """Say that it takes a while, and have threads that wait leave their core to others.

    OpenMP's threads spin while they wait for one another. Alone on a machine that gains nothing
    that was measured; beside a busy process two threads spin through the time of the third.
    OpenMP reads the setting when it is loaded; what the environment says already stays.
    """
    typer.echo("loading PyTorch and TorchRec ...", err=True)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
