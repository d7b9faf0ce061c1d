"""Feast, opened for one data set: its environment and its definitions.

Feast finds its paths by environment variables and its definitions by path; both happen here and
nowhere else.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qianmian.errors import ConfigError, FeatureStoreError
from qianmian.features.feast_import import import_feast
from qianmian.features.schema import SCHEMA_FILE, SCHEMA_VARIABLE, SERVICES, FeatureSchema
from qianmian.workspace import Workspace

if TYPE_CHECKING:
    from feast import FeatureStore

CONFIG_FILE: Final = "feature_store.yaml"
DEFINITIONS_FILE: Final = "definitions.py"
APPLIED_FILE: Final = "applied.sha256"
REGISTRY_FILE: Final = "registry.db"
#: What the connection string of a Redis must hold, in seconds.
TIMEOUTS: Final = ("socket_timeout", "socket_connect_timeout")
LONGEST_TIMEOUT: Final = 1.0

_environment_lock = threading.Lock()


def open_store(workspace: Workspace, repo: Path) -> FeatureStore:
    """Open Feast for a data set, with the definitions and configuration in the folder `repo`.

    Definitions are applied when they, the configuration, the feature schema or Feast itself
    changed since the last time; else that costs nothing.

    Raises:
        FeatureStoreError: the definitions or the configuration are not there.
        ConfigError: the online store could hold up pages for long, or drop what is written.
    """
    for name in (CONFIG_FILE, DEFINITIONS_FILE):
        if not (repo / name).is_file():
            raise FeatureStoreError(f"{repo / name}: missing; the feature repository lies there")
    workspace.feast.mkdir(parents=True, exist_ok=True)
    feast = import_feast()
    with _environment(workspace):
        store: FeatureStore = feast.FeatureStore(
            repo_path=str(repo), fs_yaml_file=repo / CONFIG_FILE
        )
        _refuse_long_waits(store, repo)
        _refuse_dropped_writes(store, repo)
        wanted = _fingerprint(workspace, repo)
        applied = workspace.feast / APPLIED_FILE
        registered = (workspace.feast / REGISTRY_FILE).is_file() and applied.is_file()
        if not registered or applied.read_text(encoding="utf-8") != wanted:
            apply(store, repo)
            applied.write_text(wanted, encoding="utf-8")
    return store


def apply(store: FeatureStore, repo: Path) -> None:
    """Register the definitions, and remove views and services that are no longer defined."""
    definitions = _load_definitions(repo / DEFINITIONS_FILE)
    names = {definition.name for definition in definitions}
    registered: list[Any] = [*store.list_feature_services(), *store.list_feature_views()]
    gone = [item for item in registered if item.name not in names]
    store.apply(definitions, objects_to_delete=gone, partial=False)


def project_name(dataset: str) -> str:
    """Feast's project of a data set: letters, digits and underscores.

    >>> project_name("complete-journey")
    'complete_journey'
    """
    return re.sub(r"\W", "_", dataset)


def _refuse_long_waits(store: FeatureStore, repo: Path) -> None:
    """Refuse a Redis whose client waits for long, or for ever, and pages with it."""
    online = store.config.online_store
    if online.type != "redis":
        return
    redis: Any = store.provider.online_store
    _, given = redis._parse_connection_string(online.connection_string)  # noqa: SLF001  # as it will
    for name in TIMEOUTS:
        value = given.get(name)
        if not isinstance(value, (int, float)) or not 0 < value <= LONGEST_TIMEOUT:
            raise ConfigError(
                f"{repo / CONFIG_FILE}: online_store.connection_string has {name}={value!r}, "
                f"expected seconds above 0, at most {LONGEST_TIMEOUT:g}, for pages wait for a "
                f"Redis that hangs; put in ,{name}=0.2 without spaces"
            )


def _refuse_dropped_writes(store: FeatureStore, repo: Path) -> None:
    """Refuse a Redis that keeps the row with the latest time: the newest write is to stand."""
    online = store.config.online_store
    if online.type == "redis" and not online.skip_dedup:
        raise ConfigError(
            f"{repo / CONFIG_FILE}: online_store.skip_dedup={online.skip_dedup!r}: expected true, "
            "for Feast else drops rows that are not later than those before, as after an event "
            "from a clock that is ahead; put in skip_dedup: true"
        )


@contextmanager
def _environment(workspace: Workspace) -> Iterator[None]:
    """Set what the configuration and the definitions read from the environment, for a while."""
    values = {
        SCHEMA_VARIABLE: str(workspace.features.resolve()),
        "QIANMIAN_FEAST": str(workspace.feast.resolve()),
        "QIANMIAN_FEAST_PROJECT": project_name(workspace.dataset),
    }
    with _environment_lock:
        before = {name: os.environ.get(name) for name in values}
        os.environ.update(values)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _load_definitions(path: Path) -> list[Any]:
    spec = importlib.util.spec_from_file_location("qianmian_feature_repo", path)
    if spec is None or spec.loader is None:
        raise FeatureStoreError(f"{path}: cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    definitions: list[Any] = module.DEFINITIONS
    return definitions


def _fingerprint(workspace: Workspace, repo: Path) -> str:
    """Hash of all that decides what Feast's registry and online tables look like."""
    views = FeatureSchema.load(workspace.features).views
    parts = (
        importlib.metadata.version("feast").encode(),
        str(workspace.path.resolve()).encode(),
        (repo / CONFIG_FILE).read_bytes(),
        (repo / DEFINITIONS_FILE).read_bytes(),
        (workspace.features / SCHEMA_FILE).read_bytes(),
        json.dumps([views, SERVICES]).encode(),
    )
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
