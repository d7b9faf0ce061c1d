"""A console wide enough for tables: a terminal's own width, but never narrower when there is none.

Piped output has no width, and the usual guess of 80 columns would cut numbers in two.
"""

from __future__ import annotations

from typing import Final

from rich.console import Console

_PIPED_COLUMNS: Final = 140


def console() -> Console:
    """Return a console for tables on stdout."""
    found = Console()
    return found if found.is_terminal else Console(width=_PIPED_COLUMNS)
