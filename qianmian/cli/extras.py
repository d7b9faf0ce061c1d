"""Which optional part of an installation a missing module belongs to."""

from __future__ import annotations

import re
from importlib.metadata import requires
from typing import Final

_PACKAGE: Final = "qianmian"
_REQUIREMENT: Final = re.compile(r"(?P<name>[\w.-]+).*;.*extra == \"(?P<extra>[\w-]+)\"")


def extra_with(module: str | None) -> str | None:
    """Name of the extra that brings a module, by its dotted name; None where no extra does.

    Of builds for CPU and GPU, which bring one module, the first is named.
    """
    wanted = _normal((module or "").partition(".")[0])
    if wanted == _PACKAGE:  # an extra may name another one of its own
        return None
    for line in requires(_PACKAGE) or ():
        found = _REQUIREMENT.match(line)
        if found and _normal(found["name"]).removesuffix("-cpu") == wanted:
            return found["extra"]
    return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
