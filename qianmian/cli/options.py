"""Options that several commands share, each with its one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None, typer.Option(help="A Serve config file; else configs/serving/serve.yaml.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ClockText = Annotated[
    str | None, typer.Option(help="What time it is: `system`, a moment, or `replay:MOMENT`.")
]
