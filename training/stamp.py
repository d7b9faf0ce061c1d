"""Knows whether a training run with the same inputs already gave a release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from qianmian.contracts import columns as c
from qianmian.data.store import Dataset
from qianmian.features import snapshots
from qianmian.releases.durable import describe
from qianmian.releases.store import ReleaseStore
from qianmian.workspace import Workspace
from training.profile import TrainingProfile
from training.revision import source_hash

_LIBRARIES: Final = ("implicit", "lightgbm", "numpy", "scipy", "torch", "torchrec")


def fingerprint(
    workspace: Workspace, profile: TrainingProfile, schema: dict[str, str], data: str
) -> str:
    """Hash of all that decides what training gives: features, profile, code, libraries, data.

    The data by the hash that `of_data` gives. The features by what they were built from: events
    that were archived since are in the data, and not yet in them.
    """
    return _hash(
        data,
        json.dumps(schema, sort_keys=True),
        snapshots.built_from(workspace),
        profile.model_dump_json(),
        source_hash(),
        *(f"{name} {_version(name)}" for name in _LIBRARIES),
    )


def of_data(workspace: Workspace) -> str:
    """Hash of the data, by their content: an erasure takes rows out of what was imported."""
    tables = sorted(workspace.data.glob("*.parquet"))
    return _hash(
        (workspace.data / c.IMPORT_FILE).read_text(encoding="utf-8"),
        (workspace.data / c.DATASET_FILE).read_text(encoding="utf-8"),
        Dataset.open(workspace).since_import(),
        *(f"{table.name} {describe(table).sha256}" for table in tables),
    )


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def short(names: Iterable[str]) -> str:
    """A few letters for a choice of names, in any order."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:8]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # a profile may do without it
        return "none"


def trained(workspace: Workspace, mark: str) -> str | None:
    """Id of the release that a run with this fingerprint published, if it is still there."""
    release = _read(workspace).get(mark)
    return release if release in ReleaseStore(workspace.releases).ids() else None


def remember(workspace: Workspace, mark: str, release: str) -> None:
    """Note that a run with this fingerprint published `release`."""
    runs = {**_read(workspace), mark: release}
    path = _path(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(runs, indent=2), encoding="utf-8")
    fresh.replace(path)


def _path(workspace: Workspace) -> Path:
    return workspace.training / "runs.json"


def _read(workspace: Workspace) -> dict[str, str]:
    path = _path(workspace)
    runs: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return runs
