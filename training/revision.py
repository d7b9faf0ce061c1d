"""Which code trained a release: the version control revision, or a hash of the sources."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence

from qianmian.workspace import PROJECT_ROOT

_SOURCES = (
    *("models", "training", "qianmian/features", "qianmian/retrieval"),
    *("qianmian/contracts", "qianmian/data", "qianmian/releases", "qianmian/trust"),
)


def code_revision() -> str:
    """`git:<commit>` with `+` for uncommitted changes, else `src:<hash>` of the sources."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = "+" if _git("status", "--porcelain", "--untracked-files=no") else ""
    except (OSError, subprocess.CalledProcessError):
        return f"src:{source_hash()}"
    return f"git:{commit}{changed}"


def source_hash(folders: Sequence[str] = _SOURCES) -> str:
    """Hash of the code in folders of the project; by default what decides a training run."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((PROJECT_ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(PROJECT_ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _git(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603  # fixed arguments
        ["git", "-C", str(PROJECT_ROOT), *arguments],  # noqa: S607  # the one on the path
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
