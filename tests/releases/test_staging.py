"""Folders of releases in the making, while somebody works there and when nobody does any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from qianmian.releases.staging import clear_abandoned, staging

WORKER = """
import os, signal, sys
from pathlib import Path
from qianmian.releases.staging import staging

with staging(Path(sys.argv[1])) as folder:
    (folder / "encoder.json").write_text("somebody")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def left_by_a_killed_run(root: Path) -> Path:
    killed = subprocess.run(
        [sys.executable, "-c", WORKER, str(root)],
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert killed.returncode == -signal.SIGKILL
    (folder,) = root.glob(".staging-*")
    assert (folder / "encoder.json").exists()
    return folder


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path) -> None:
    left = left_by_a_killed_run(tmp_path)
    with staging(tmp_path) as folder:
        assert folder.is_dir()
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_cleared_without_another_run(tmp_path: Path) -> None:
    left = left_by_a_killed_run(tmp_path)
    clear_abandoned(tmp_path)
    assert not left.exists()
    clear_abandoned(tmp_path / "never made")


def test_a_run_at_work_keeps_its_folder(tmp_path: Path) -> None:
    with staging(tmp_path) as first:
        (first / "weights").write_bytes(b"1")
        clear_abandoned(tmp_path)
        with staging(tmp_path) as second:
            assert second != first
        assert (first / "weights").read_bytes() == b"1"
