"""Copies of sound files: what a process goes on with that starts while a file is broken."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path

log = logging.getLogger(__name__)


def keep_copy(text: str, copy: Path) -> None:
    """Copy a sound file aside; that it cannot be is no reason to refuse it."""
    draft = copy.with_name(f".{copy.name}.{os.getpid()}")
    try:
        if copy.exists() and copy.read_text(encoding="utf-8") == text:
            return
        copy.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(copy)
    except OSError as error:
        log.warning("no copy of a sound file was kept: %s", error)


def drop_copies(folder: Path, *, besides: Collection[str]) -> None:
    """Drop the copies of YAML files that are gone: what was removed must not come back."""
    for copy in folder.glob("*.yaml"):
        if copy.name not in besides:
            try:
                copy.unlink(missing_ok=True)
            except OSError as error:
                log.warning("the copy of a file that is gone was not dropped: %s", error)
