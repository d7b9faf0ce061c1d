"""Keeps the stream process running beside the service: starts it, and again when it died.

    with supervised(command):
        ...

The waits between restarts double while the process keeps dying, and begin anew once it stood a
minute. At the end it is asked to stop, and given time to finish its step.
"""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Final

log = logging.getLogger(__name__)

_WAITS: Final = (1.0, 60.0)  # seconds, the first and the longest
_STOOD: Final = 60.0  # seconds after which a process counts as healthy
_GRACE: Final = 20.0  # seconds to end in order


class Supervisor:
    """One child process, started again whenever it ends."""

    def __init__(
        self, command: Callable[[], Sequence[str]], *, waits: tuple[float, float] = _WAITS
    ) -> None:
        """`command` is asked at each start: the clock it carries has gone on since."""
        self._command = command
        self._first_wait, self._longest_wait = waits
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream supervisor", daemon=True)
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def start(self) -> None:
        """Start the child and watch it from a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the child to stop and wait for it; kill it if it does not listen."""
        self._stopping.set()
        with self._lock:
            child = self._child
        if child is not None and child.poll() is None:
            child.terminate()
            try:
                child.wait(_GRACE)
            except subprocess.TimeoutExpired:
                log.warning("the stream process %d did not stop in time: killed", child.pid)
                child.kill()
        self._thread.join()

    def _run(self) -> None:
        wait = self._first_wait
        while not self._stopping.is_set():
            began = monotonic()
            with self._lock:
                if self._stopping.is_set():
                    return
                self._child = subprocess.Popen(list(self._command()))  # noqa: S603 - our own
                self.starts += 1
            status = self._child.wait()
            if self._stopping.is_set():
                return
            if monotonic() - began >= _STOOD:
                wait = self._first_wait
            log.warning("the stream process ended (status %d): again in %.0f s", status, wait)
            self._stopping.wait(wait)
            wait = min(2 * wait, self._longest_wait)


@contextmanager
def supervised(command: Callable[[], Sequence[str]]) -> Iterator[Supervisor]:
    """Run a process as long as the block runs."""
    supervisor = Supervisor(command)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
