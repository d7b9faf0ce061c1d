"""What must stand before numpy and Ray are imported: their environment, and a free port.

Both read the environment when they are imported, so this module imports neither.
"""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Final

from qianmian.errors import FieldError
from qianmian.workspace import CONFIGS

MAX_PORT: Final = 65_535
#: The threads of a replica give way to one another within this time, not Python's 5 ms: no page
#: waits long for the thread that writes events, nor that thread for the pages.
SWITCH_SECONDS: Final = 0.001
RAY_ENV: Final = CONFIGS / "serving" / "ray.env"


def read_environment(path: Path = RAY_ENV) -> dict[str, str]:
    """Return the variables of an env file: `NAME=value` lines."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def prepare(port: int) -> None:
    """Set what Ray Serve reads from the environment; what is set already stays.

    HAProxy's files and admin ports are this port's own, so two services on one machine do not
    meet.
    """
    folder = Path(tempfile.gettempdir()) / f"qianmian-{os.getuid()}-{port}"
    folder.mkdir(mode=0o700, exist_ok=True)
    own = {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        # Nobody else's requests are in flight when a service on one machine is stopped by hand.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    }
    for name, value in {**read_environment(), **own}.items():
        os.environ.setdefault(name, value)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_port(host: str, port: int) -> None:
    """Refuse a port that is taken.

    Raises:
        FieldError: there is no such port, somebody listens there, or this user may not.
    """
    if not 1 <= port <= MAX_PORT:
        raise FieldError("port", port, f"1..{MAX_PORT}", "choose --port")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise FieldError(
                "port", port, f"one that is free on {host} ({error.strerror})", "choose --port"
            ) from error
