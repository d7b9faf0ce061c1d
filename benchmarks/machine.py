"""Where a benchmark ran, as its report tells it."""

from __future__ import annotations

import os
import platform


def machine() -> str:
    """Cores, architecture and Python."""
    cores, kind = os.cpu_count(), platform.machine()
    return f"{cores} cores, {kind}, Python {platform.python_version()}"
