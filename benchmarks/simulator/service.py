"""The service and its stream as two processes, for simulated shoppers to visit over loopback.

    with running(file, scratch) as service:
        httpx.get(f"{service.url}/readyz")

One replica of the real app behind uvicorn instead of Ray Serve's ingress: the request path, the
events' door and the stream are those of `qianmian serve`, without a cluster. Only processes that
were started here are ended.

    python -m benchmarks.simulator.service SERVE_FILE

is the replica alone.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import yaml

from serving.environment import free_port
from serving.launch import ServeFile

_READY_SECONDS: Final = 300.0
_STOP_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str
    file: Path
    home: Path
    dataset: str

    def drain(self) -> None:
        """Have a stream work in what the log holds now; none may be running."""
        _run(self, "stream", "--config", str(self.file), "--once")


@contextmanager
def running(file: ServeFile, scratch: Path, *, stream: bool = True) -> Iterator[Service]:
    """Start the service, and the stream beside it, on a free port of this machine; stop both."""
    port = free_port()
    changed = file.changed(http={"host": "127.0.0.1", "port": port})
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / "serve.yaml"
    path.write_text(yaml.safe_dump(changed.raw), encoding="utf-8")
    settings = changed.settings
    home = settings.workspace().root
    service = Service(f"http://127.0.0.1:{port}", path, home, settings.dataset)
    commands = [[sys.executable, "-W", "ignore", "-m", "benchmarks.simulator.service", str(path)]]
    if stream:
        commands.append(_command(service, "stream", "--config", str(path)))
    started: list[subprocess.Popen[bytes]] = []
    try:
        with (scratch / "service.log").open("ab") as log:
            started += [
                subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
                for command in commands
            ]
        _await(service, started, scratch / "service.log")
        yield service
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def qianmian(service: Service, *words: str) -> None:
    """Run a command of the command line on the service's data set."""
    _run(service, *words)


def _run(service: Service, *words: str) -> None:
    done = subprocess.run(_command(service, *words), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"qianmian {' '.join(words)} failed: {(done.stderr or done.stdout).strip()}")


def _command(service: Service, *words: str) -> list[str]:
    return [
        *(sys.executable, "-W", "ignore", "-m", "qianmian.cli.main"),
        *("--home", str(service.home), "--dataset", service.dataset),
        *words,
    ]


def _await(service: Service, started: list[subprocess.Popen[bytes]], log: Path) -> None:
    deadline, said = time.monotonic() + _READY_SECONDS, "no answer"
    while time.monotonic() < deadline:
        if any(process.poll() is not None for process in started):
            break
        try:
            answer = httpx.get(f"{service.url}/readyz", timeout=2.0)
            if answer.status_code == httpx.codes.OK:
                return
            said = answer.text
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    sys.exit(f"the service did not get ready: {said}\n{log.read_text(errors='replace')[-2000:]}")


def main() -> None:
    """Serve until terminated."""
    import uvicorn

    from serving.http import build_app
    from serving.service import VenueService

    file = ServeFile.read(Path(sys.argv[1]))
    service = VenueService.open(file.settings, file.live)
    uvicorn.run(build_app(service), host=file.host, port=file.port, log_level="warning")


if __name__ == "__main__":
    main()
