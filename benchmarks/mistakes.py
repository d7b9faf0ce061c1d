"""A user's mistake in a benchmark's command line: told in a line, exit code 2, no traceback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from qianmian.errors import QianmianError


@contextlib.contextmanager
def told() -> Iterator[None]:
    """End the process with the message of a mistake that its maker can mend."""
    try:
        yield
    except QianmianError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
