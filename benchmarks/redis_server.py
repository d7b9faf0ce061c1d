"""A Redis of one's own: on a socket in a folder of one's own, gone when it is killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep
from typing import Final

BINARY: Final = shutil.which("redis-server")
DURABLE: Final = ("--appendonly", "yes", "--appendfsync", "always")
_PATIENCE: Final = 20.0


class RedisServer:
    """A server process with its files in one folder, whose path must be short."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Start it; `options` replace those that make it durable."""
        self.folder = folder
        self._options = options or DURABLE
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"unix://{self.folder / 's'}"

    def start(self) -> None:
        """Start it (again) on the files that are there; returns when it answers."""
        if BINARY is None:
            message = "redis-server is not installed (Debian: apt-get install redis-server)"
            raise RuntimeError(message)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(BINARY, "--port", "0", "--unixsocket", str(self.folder / "s")),
                    *("--dir", str(self.folder), "--save", "", *self._options),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or monotonic() > deadline:
                raise RuntimeError((self.folder / "log").read_text())
            sleep(0.01)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def suspend(self) -> None:
        """Have it hang: it takes connections and commands, and stays silent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it answer again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        import redis

        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
