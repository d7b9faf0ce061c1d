"""How a peer's script is run: the peers' own packages stand before the project's."""

from __future__ import annotations

import os
import sys
from typing import Final

from qianmian.errors import DataError
from qianmian.workspace import PROJECT_ROOT

PEERS: Final = PROJECT_ROOT / "var" / "peers"
_SCRIPTS: Final = PROJECT_ROOT / "benchmarks" / "peers"
LIST: Final = _SCRIPTS / "requirements.txt"


def peers_are_there() -> None:
    """Check that the peers' environment is the one of the list here.

    Raises `DataError` with the command that makes it.
    """
    made = PEERS / LIST.name
    if not made.is_file() or made.read_bytes() != LIST.read_bytes():
        found = "of another list" if made.is_file() else "missing"
        raise DataError(f"{PEERS}: {found}; run `benchmarks/peers/install.sh`")


def peer_command(script: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a script of this folder.

    Raises `DataError` when the peers' environment was not made.
    """
    peers_are_there()
    env = {**os.environ, "PYTHONPATH": str(PEERS)}
    return [sys.executable, str(_SCRIPTS / script), *arguments], env
