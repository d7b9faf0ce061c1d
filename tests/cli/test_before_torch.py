import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["train", "tune"])
@pytest.mark.parametrize(
    ("given", "wanted"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")]
)
def test_threads_that_wait_leave_their_core_to_others(
    tmp_path: Path, command: str, given: dict[str, str], wanted: str
) -> None:
    env = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    ended = subprocess.run(
        [sys.executable, "-m", "qianmian.cli.main", "--home", str(tmp_path), command],
        env={**env, **given, "OMP_DISPLAY_ENV": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"OMP_WAIT_POLICY = '{wanted}'" in ended.stderr
    assert ended.returncode == 2  # there is no data
