"""Results of long runs, kept under the fingerprint of all that decides them.

A benchmark that was stopped goes on where it was, and runs side by side can be joined. The code is
that of the moment it was loaded: a result of code that was changed meanwhile is told and not kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from qianmian.contracts import columns as c
from qianmian.data.store import Dataset
from qianmian.workspace import PROJECT_ROOT, Workspace
from training.profile import TrainingProfile
from training.revision import source_hash

_FACTS, _ARRAYS = "facts.json", "arrays.npz"


@dataclass(frozen=True, slots=True)
class Found:
    """What a run found."""

    facts: dict[str, Any]  # as JSON holds it
    arrays: Mapping[str, npt.NDArray[Any]]  # numbers and text


class Code:
    """The code that decides a result: what learns and judges, and a benchmark's own folders."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = (*_LEARNS, *folders)
        self.loaded: Final = self.now()

    def now(self) -> str:
        """Hash of the code on the disk."""
        files = b"".join((PROJECT_ROOT / path).read_bytes() for path in _FILES)
        return source_hash(self._folders) + hashlib.sha256(files).hexdigest()


_LEARNS: Final = ("models", "training", "qianmian", "benchmarks/quality", "benchmarks/peers")
_FILES: Final = ("benchmarks/trained.py", "benchmarks/remembered.py")
_LIBRARIES: Final = ("implicit", "lightgbm", "numpy", "onnxruntime", "scipy", "torch", "torchrec")


def remembered(
    name: str,
    workspace: Workspace,
    profile: TrainingProfile,
    code: Code,
    run: Callable[[], Found],
    progress: Callable[[str], None],
    *,
    also: str = "",
) -> Found:
    """What `run` finds with the data, the profile and its seed: from disk where it is there.

    `name` is the benchmark's case; `also` is what else decides the result.
    """
    mark = _fingerprint(name, workspace, profile, code, also)
    folder = workspace.root / "results" / f"{name}-{profile.seed}-{mark[:16]}"
    if (folder / _FACTS).is_file():
        progress(f"{name}, seed {profile.seed}: remembered")
        return _read(folder)
    found = run()
    if code.now() == code.loaded:
        _write(folder, found)
    else:
        progress("the code was changed meanwhile: the result is of the code before, and not kept")
    return found


def _write(folder: Path, found: Found) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / _ARRAYS, **dict[str, Any](found.arrays))
    fresh = folder / f".{_FACTS}"
    fresh.write_text(json.dumps(found.facts), encoding="utf-8")
    fresh.replace(folder / _FACTS)


def _read(folder: Path) -> Found:
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    with np.load(folder / _ARRAYS) as arrays:
        return Found(facts, {name: arrays[name] for name in arrays.files})


def _fingerprint(
    name: str, workspace: Workspace, profile: TrainingProfile, code: Code, also: str
) -> str:
    parts = [
        name,
        (workspace.data / c.IMPORT_FILE).read_text(encoding="utf-8"),
        (workspace.data / c.DATASET_FILE).read_text(encoding="utf-8"),
        Dataset.open(workspace).since_import(),
        profile.model_dump_json(),
        code.loaded,
        also,
        *(f"{name} {version(name)}" for name in _LIBRARIES),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
