"""Leaving quietly: DuckDB's bindings report their own leaks when the interpreter ends.

The report is harmless, some sixty lines long, and comes after everything a command has to say.
"""

from __future__ import annotations

import atexit
import os
import sys


def leave_quietly() -> None:
    """From the end of all exit handlers on, let nothing more be written to stderr.

    Handlers run in the reverse order of their registration, so call this first of all.
    """
    atexit.register(_close_stderr)


def _close_stderr() -> None:
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.__stderr__.fileno() if sys.__stderr__ else 2)
    os.close(nowhere)
