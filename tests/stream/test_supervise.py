"""The stream process beside the service: started again when it dies, stopped in order."""

import os
import signal
import sys
import time
from itertools import pairwise

import pytest

from qianmian.stream.supervise import Supervisor, supervised

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def supervisor():
    one = Supervisor(lambda: SLEEPER, waits=(0.01, 0.05))
    one.start()
    yield one
    one.stop()


def test_a_killed_process_is_started_again(supervisor):
    wait_for(lambda: supervisor.pid is not None)
    first = supervisor.pid
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: supervisor.pid not in {None, first})
    assert supervisor.starts == 2


def test_waits_grow_while_it_keeps_dying():
    commands = []

    def command():
        commands.append(time.monotonic())
        return [sys.executable, "-S", "-c", "raise SystemExit(3)"]

    one = Supervisor(command, waits=(0.1, 0.4))
    one.start()
    wait_for(lambda: one.starts >= 4)
    one.stop()
    gaps = [b - a for a, b in pairwise(commands)]
    assert gaps[0] >= 0.1
    assert gaps[2] >= 0.4


def test_it_ends_with_the_block(tmp_path):
    mark = tmp_path / "ended in order"
    script = (
        "import signal, sys, time\n"
        f"def end(*_):\n    open({str(mark)!r}, 'w').close()\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"open({str(mark) + '.up'!r}, 'w').close()\n"
        "time.sleep(60)\n"
    )
    with supervised(lambda: [sys.executable, "-S", "-c", script]) as supervisor:
        wait_for((tmp_path / "ended in order.up").exists)
        pid = supervisor.pid
    assert mark.exists()
    assert supervisor.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
