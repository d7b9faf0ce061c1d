"""A Redis of the tests' own: on a socket in their own folder, gone when they end."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep

import pytest

BINARY = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(
    BINARY is None, reason="redis-server is not installed (Debian: apt-get install redis-server)"
)
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class RedisServer:
    """A server process with its files in one folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._options = options or DURABLE
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = folder / "s"
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self) -> None:
        assert BINARY
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(BINARY, "--port", "0", "--unixsocket", self._socket),
                    *("--dir", self.folder, "--save", "", *self._options),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or monotonic() > deadline:
                raise RuntimeError((self.folder / "log").read_text())
            sleep(0.01)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        import redis

        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
