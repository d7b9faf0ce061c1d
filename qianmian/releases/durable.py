"""Writing that survives a crash, and the hash that tells whether a file is still the same."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from qianmian.releases.manifest import FileEntry


def describe(path: Path) -> FileEntry:
    """Return size and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(sha256=digest, bytes=path.stat().st_size)


def replace_text(path: Path, text: str, *, draft: Path | None = None) -> None:
    """Replace a file in one step: a reader sees the old or the new text, never a part.

    `draft` is what a crash may leave: beside the file unless it must be elsewhere on its disk.
    """
    draft = draft or path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    sync_file(draft)
    draft.replace(path)
    sync_folder(path.parent)


def sync_tree(folder: Path) -> None:
    """Bring every file of a folder, and the folder, to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            sync_file(path)
    sync_folder(folder)


def sync_file(path: Path) -> None:
    """Bring one file to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
