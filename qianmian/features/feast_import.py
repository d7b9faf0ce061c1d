"""Importing Feast as lightly as it can be: every command and every serving replica does it.

Feast imports torch where that is installed, for an output format that qianmian does not use; a
replica must not carry torch. And it rewrites its classes to check the types of every call, which
takes half of the time of the import (4.6 of 9.2 seconds on two cores); `python -O` leaves that out
too. Both are kept from it while it is imported, and only then.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def import_feast() -> Any:
    """Import Feast without torch, without type checks at run time and without usage reports."""
    if "feast" in sys.modules:
        return sys.modules["feast"]
    os.environ.setdefault("FEAST_USAGE", "False")
    with _without_torch(), _without_call_checks():
        return importlib.import_module("feast")


@contextmanager
def _without_torch() -> Iterator[None]:
    """Let `import torch` fail, unless torch is there already."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # what makes an import fail
    try:
        yield
    finally:
        del sys.modules["torch"]


@contextmanager
def _without_call_checks() -> Iterator[None]:
    """Let `@typechecked` give back what it is given."""
    typeguard = importlib.import_module("typeguard")
    checked = typeguard.typechecked

    def unchecked(target: Any = None, **_options: object) -> Any:
        return unchecked if target is None else target

    typeguard.typechecked = unchecked  # type: ignore[attr-defined]
    try:
        yield
    finally:
        typeguard.typechecked = checked  # type: ignore[attr-defined]
