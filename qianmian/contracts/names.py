"""What things may be called; for the command line too, so it imports nothing heavy."""

from __future__ import annotations

from typing import Final

DATASET_NAME_PATTERN: Final = r"[a-z0-9][a-z0-9_-]{0,62}"
DATASET_NAME_RULE: Final = (
    "lower-case letters, digits, - and _, a letter or digit first, at most 63"
)
