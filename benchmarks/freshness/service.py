"""The service under test: the real one, or its app under uvicorn beside a stream process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import yaml

from benchmarks.freshness.shop import Json
from qianmian.releases.store import ReleaseStore
from qianmian.workspace import Workspace
from serving.launch import SERVE_FILE, ServeFile


@contextlib.contextmanager
def started(
    config: Path, workspace: Workspace, kind: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes of the service; ended with the context."""
    qianmian = [sys.executable, "-m", "qianmian.cli.main", "--home", str(workspace.root)]
    qianmian += ["--dataset", workspace.dataset]
    if kind == "ray":
        commands = [[*qianmian, "serve", "--config", str(config)]]
    else:
        commands = [
            [sys.executable, "-m", "benchmarks.freshness.asgi", str(config)],
            [*qianmian, "stream", "--config", str(config)],
        ]
    environment = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("OPENBLAS_CORETYPE", None)
    children = [
        subprocess.Popen(command, stdout=sys.stderr, env=environment) for command in commands
    ]
    try:
        yield children
    finally:
        for child in children:
            child.send_signal(signal.SIGTERM)
        for child in children:
            try:
                child.wait(60)
            except subprocess.TimeoutExpired:
                child.kill()


def config_file(
    folder: Path, workspace: Workspace, engine: Json, port: int, replicas: int | None
) -> Path:
    """Write a config file: the shipped one, with this folder, engine and port."""
    live = ReleaseStore(workspace.releases).get("live")
    at = live.data_end + timedelta(days=1)
    file = ServeFile.read(SERVE_FILE).changed(
        args={"home": str(workspace.root), "dataset": workspace.dataset, "engine": engine},
        http={"host": "127.0.0.1", "port": port},
        replicas=replicas,
    )
    deployment = file.raw["applications"][0]["deployments"][0]
    deployment["user_config"]["clock"] = {"mode": "replay", "at": at.isoformat()}
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(file.raw), encoding="utf-8")
    return path


def copied(source: Workspace, folder: Path) -> Workspace:
    """A workspace that shares what is only read, with an online store of its own."""
    own = Workspace(folder / "home", source.dataset)
    own.features.mkdir(parents=True)
    for path in source.features.glob("*.json"):
        shutil.copy(path, own.features)
    shutil.copytree(source.feast, own.feast)
    for name in ("data", "releases"):
        (own.path / name).symlink_to((source.path / name).resolve())
    return own
