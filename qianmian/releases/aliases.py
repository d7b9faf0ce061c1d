"""Aliases: names that point at a release and change in one step, with their history.

    <releases>/aliases.json    {"live": {"release": id, "log": [{release, at, action}]}}
    <releases>/.aliases.lock   held while the file is changed

Serving watches the file; see `ReleaseStore` for who may change it and when.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from qianmian.errors import ReleaseError
from qianmian.releases.durable import replace_text

ALIASES_FILE = "aliases.json"
_LOCK_FILE = ".aliases.lock"
#: A name that always means the newest published release; it is not an alias and cannot be moved.
LATEST: Final = "latest"
ALIAS_PATTERN: Final = r"[a-z][a-z0-9_-]{0,63}"
_ALIAS_RULE: Final = (
    "expected a lower-case letter, then lower-case letters, digits, - and _, at most 64, "
    f"and not {LATEST!r}"
)


def checked_alias(name: str) -> str:
    """Return a name that an alias may have.

    >>> checked_alias("next-model")
    'next-model'

    Raises:
        ValueError: it may not.
    """
    if name == LATEST or not re.fullmatch(ALIAS_PATTERN, name):
        raise ValueError(_ALIAS_RULE)
    return name


#: The name of an alias, in settings.
AliasName = Annotated[str, AfterValidator(checked_alias)]


class AliasChange(BaseModel):
    """One line of an alias's history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    release: str
    at: AwareDatetime
    action: Literal["promote", "rollback"]


class Alias(BaseModel):
    """Where an alias points, and every change that led there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    release: str
    log: Annotated[tuple[AliasChange, ...], Field(min_length=1)]

    def earlier(self) -> tuple[str, ...]:
        """Return the releases that a rollback can go to, the nearest last."""
        stack: list[str] = []
        for change in self.log:
            if change.action == "promote":
                stack.append(change.release)
            else:
                stack.pop()
        return tuple(stack[:-1])

    def moved(self, change: AliasChange) -> Alias:
        """Return the alias after one more change."""
        return Alias(release=change.release, log=(*self.log, change))


_ALIASES = TypeAdapter(dict[str, Alias])


class AliasFile:
    """The aliases of one release store, in one JSON file of `folder`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ALIASES_FILE

    def read(self) -> dict[str, Alias]:
        """Return every alias by name.

        Raises:
            ReleaseError: the file is damaged.
        """
        try:
            return _ALIASES.validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValidationError as error:
            raise ReleaseError(
                f"{self.path} is damaged ({error.error_count()} faults): "
                "remove it and promote a release again"
            ) from error

    @contextmanager
    def changing(self) -> Iterator[dict[str, Alias]]:
        """Hold the lock and give the aliases; the file is replaced if they were changed."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with (self.path.parent / _LOCK_FILE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            aliases = self.read()
            before = dict(aliases)
            yield aliases
            if aliases != before:
                replace_text(self.path, _ALIASES.dump_json(aliases, indent=2).decode() + "\n")
