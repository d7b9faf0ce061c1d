"""The small shop's features online, in one store or another."""

from __future__ import annotations

import shutil

import yaml

from qianmian.features.feast_store import CONFIG_FILE
from qianmian.features.store import FeatureRepo
from qianmian.workspace import FEATURE_REPO, Workspace
from tests.features.conftest import TRAIN_END
from tests.redis_server import RedisServer


def opened(home: Workspace, online_store: dict[str, object] | None = None) -> FeatureRepo:
    """The features online, in the store that is chosen."""
    definitions = home.root / "feature_repo"
    shutil.copytree(FEATURE_REPO, definitions, dirs_exist_ok=True)
    config = definitions / CONFIG_FILE
    chosen = yaml.safe_load(config.read_text())
    chosen["online_store"] = online_store or chosen["online_store"]
    config.write_text(yaml.safe_dump(chosen))
    repo = FeatureRepo.open(home, definitions)
    repo.materialize(TRAIN_END)
    return repo


def redis_store(
    server: RedisServer, timeouts: str = "socket_timeout=0.2,socket_connect_timeout=0.2"
) -> dict[str, object]:
    """Feast's store on a Redis."""
    socket = server.url.removeprefix("unix://")
    return {
        "type": "redis",
        "connection_string": f"here:0,unix_socket_path={socket},{timeouts}",
        "skip_dedup": True,
    }
