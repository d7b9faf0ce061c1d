"""The Serve config file of the service, read and changed without importing Ray.

prepare(port)
file = ServeFile.read(SERVE_FILE)
with cluster.running(file) as url: ...
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qianmian.config.document import read_document
from qianmian.errors import ConfigError
from qianmian.workspace import CONFIGS
from serving.clock import ClockSettings
from serving.environment import MAX_PORT
from serving.settings import LiveSettings, ServeSettings, live_settings, serve_settings

SERVE_FILE: Final = CONFIGS / "serving" / "serve.yaml"


@dataclass(frozen=True, slots=True)
class ServeFile:
    """A Serve config file with one application of one deployment: ours."""

    raw: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> ServeFile:
        """Read the file and check what is ours in it; Serve checks the rest.

        Raises:
            ConfigError: it is missing, not YAML, holds a key twice, or does not hold one
                application of one deployment whose settings fit.
        """
        try:
            document = read_document(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; {SERVE_FILE} is one") from None
        except IsADirectoryError:
            raise ConfigError(f"{path}: expected a file, this is a folder") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: expected UTF-8 text; byte {error.start} is not") from None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        if document.problems:
            faults = (f"{path}:{fault.line}: {fault.message}" for fault in document.problems)
            raise ConfigError("\n".join(faults))
        file = cls(document.values)
        try:
            _, _, port = file.settings, file.live, file.port
        except (AttributeError, KeyError, TypeError, ValueError, IndexError):
            raise ConfigError(
                f"{path}: expected http_options and one application of one deployment, "
                f"as in {SERVE_FILE}"
            ) from None
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        if not 1 <= port <= MAX_PORT:
            raise ConfigError(f"{path}: http_options.port={port}: expected 1..{MAX_PORT}")
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
        replicas: int | None = None,
        clock: ClockSettings | None = None,
    ) -> ServeFile:
        """Return the file with some values replaced."""
        file = ServeFile(copy.deepcopy(self.raw))
        file._application["args"] = {**file._application.get("args", {}), **(args or {})}
        file.raw["http_options"].update(http or {})
        if replicas is not None:
            file._deployment["num_replicas"] = replicas
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
