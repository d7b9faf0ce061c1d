"""What must stand before Ray is imported: the config file, Serve's environment, a free port.

    file = ServeFile.read(SERVE_FILE)
    prepare(file.port)
    from serving import cluster

Serve reads its environment when it is imported, so nothing here imports Ray.
"""

from __future__ import annotations

import copy
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from qianmian.errors import ConfigError, FieldError
from qianmian.workspace import CONFIGS
from serving.clock import ClockSettings
from serving.settings import LiveSettings, ServeSettings, live_settings, serve_settings

SERVE_FILE: Final = CONFIGS / "serving" / "serve.yaml"
RAY_ENV: Final = CONFIGS / "serving" / "ray.env"


@dataclass(frozen=True, slots=True)
class ServeFile:
    """A Serve config file with one application of one deployment: ours."""

    raw: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> ServeFile:
        """Read the file and check what is ours in it; Serve checks the rest.

        Raises:
            ConfigError: it is missing, not YAML, or does not hold one application of one
                deployment whose settings fit.
        """
        try:
            raw = yaml.safe_load(path.read_text())
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; {SERVE_FILE} is one") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
        file = cls(raw)
        try:
            _ = file.settings, file.live, file.port
        except (KeyError, TypeError, ValueError, IndexError):
            raise ConfigError(
                f"{path}: expected http_options and one application of one deployment, "
                f"as in {SERVE_FILE}"
            ) from None
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        return file

    @property
    def settings(self) -> ServeSettings:
        """What replicas are built with."""
        return serve_settings(self._application.get("args", {}))

    @property
    def live(self) -> LiveSettings:
        """What may change while they run."""
        return live_settings(self._deployment.get("user_config", {}))

    @property
    def host(self) -> str:
        """Address to listen on."""
        return str(self.raw["http_options"].get("host", "127.0.0.1"))

    @property
    def port(self) -> int:
        """Port to listen on."""
        return int(self.raw["http_options"].get("port", 8000))

    def changed(
        self,
        *,
        args: dict[str, Any] | None = None,
        http: dict[str, Any] | None = None,
        clock: ClockSettings | None = None,
    ) -> ServeFile:
        """Return the file with some values replaced."""
        file = ServeFile(copy.deepcopy(self.raw))
        file._application["args"] = {**file._application.get("args", {}), **(args or {})}
        file.raw["http_options"].update(http or {})
        if clock is not None:
            config = file._deployment.setdefault("user_config", {})
            config["clock"] = clock.model_dump(mode="json")
        return file

    @property
    def _application(self) -> dict[str, Any]:
        (application,) = self.raw["applications"]
        found: dict[str, Any] = application
        return found

    @property
    def _deployment(self) -> dict[str, Any]:
        (deployment,) = self._application["deployments"]
        found: dict[str, Any] = deployment
        return found


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
        FieldError: somebody listens there, or this user may not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise FieldError(
                "port", port, f"one that is free on {host} ({error.strerror})", "choose --port"
            ) from error
