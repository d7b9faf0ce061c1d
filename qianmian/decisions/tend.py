"""Tending the decision log: seal what was let go, remove what is too old.

    python -m qianmian.decisions.tend FOLDER --keep-seconds 7776000 --keep-bytes 20000000000

A replica starts this as a process of low priority after each rotation, so that turning frames into
Parquet takes no time of the interpreter that answers pages.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import time

from qianmian.decisions.segments import expire, seal_left, turn

_NICE = 10


@dataclass(frozen=True, slots=True)
class Retention:
    """How long sealed segments are kept, and how large all of them may be."""

    seconds: float
    bytes: int


def start(folder: Path, retention: Retention) -> subprocess.Popen[bytes]:
    """Tend a folder in a process of its own.

    Raises:
        OSError: no process can be started.
    """
    command = [sys.executable, "-m", "qianmian.decisions.tend", str(folder)]
    limits = ["--keep-seconds", str(retention.seconds), "--keep-bytes", str(retention.bytes)]
    return subprocess.Popen([*command, *limits], stdin=subprocess.DEVNULL)  # noqa: S603


def tend(folder: Path, retention: Retention, *, now: float) -> None:
    """Seal and remove; `now` is seconds since the epoch by the machine's clock.

    Raises:
        OSError: a file cannot be read or written.
    """
    with turn(folder):
        seal_left(folder)
        expire(folder, now=now, keep_seconds=retention.seconds, keep_bytes=retention.bytes)


def main() -> None:
    """Tend the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep-seconds", type=float, required=True)
    parser.add_argument("--keep-bytes", type=int, required=True)
    options = parser.parse_args()
    os.nice(_NICE)
    retention = Retention(seconds=options.keep_seconds, bytes=options.keep_bytes)
    tend(options.folder, retention, now=time())


if __name__ == "__main__":
    main()
