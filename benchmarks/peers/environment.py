"""How a peer's script is run: the peers' own packages stand before the project's.

They are installed when first needed (`benchmarks/peers/install.sh`), and anew for another list.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

from qianmian.errors import DataError
from qianmian.workspace import PROJECT_ROOT

PEERS: Final = PROJECT_ROOT / "var" / "peers"
_SCRIPTS: Final = PROJECT_ROOT / "benchmarks" / "peers"
LIST: Final = _SCRIPTS / "requirements.txt"


_INSTALL: Final = _SCRIPTS / "install.sh"


def have_peers() -> None:
    """Have the peers' packages be those of the list here; what is there already stays.

    Raises `DataError` where they cannot be installed.
    """
    made = PEERS / LIST.name
    if made.is_file() and made.read_bytes() == LIST.read_bytes():
        return
    print(f"{PEERS.name}: installing the packages of {LIST.name}", file=sys.stderr)
    done = subprocess.run(
        [_INSTALL], env={**os.environ, "VENV": sys.prefix}, stdout=sys.stderr, check=False
    )
    if done.returncode:
        where = _INSTALL.relative_to(PROJECT_ROOT)
        raise DataError(
            f"{PEERS}: `{where}` ended with {done.returncode}, as told above: expected `uv` in the "
            "environment (`make env`) and access to a package registry; without them leave the "
            "peers out"
        )


def peer_command(script: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a script of this folder.

    Raises `DataError` where their packages cannot be installed.
    """
    have_peers()
    env = {**os.environ, "PYTHONPATH": str(PEERS)}
    return [sys.executable, str(_SCRIPTS / script), *arguments], env
