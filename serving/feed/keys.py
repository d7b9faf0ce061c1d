"""The key ring that signs tokens: one key signs, older ones still open, retired ones no more.

    ring = KeyFile(path).ring          # made with its first key where it is missing
    KeyFile(path).rotate(at=now)       # `qianmian keys rotate`

The file is JSON, for its owner's eyes only. A retired key stays in it by id, without its secret, so
that a token of it is told apart (expired) from one of another service (foreign).
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from qianmian.errors import ConfigError, NotFoundError
from qianmian.releases.durable import sync_folder

KEY_BYTES: Final = 32
ID_BYTES: Final = 4
_HEX = r"^(?:[0-9a-f]{2})+$"


class Key(BaseModel):
    """One key; `secret` is null once it is retired."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{2 * ID_BYTES}}}$")]
    secret: Annotated[str, Field(pattern=_HEX, min_length=2 * 16)] | None
    created: AwareDatetime

    @classmethod
    def new(cls, created: datetime) -> Key:
        """Return a key that nobody has."""
        return cls(
            id=secrets.token_hex(ID_BYTES), secret=secrets.token_hex(KEY_BYTES), created=created
        )


class KeyRing(BaseModel):
    """All keys, oldest first; the last one signs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: Annotated[tuple[Key, ...], Field(min_length=1)]

    @property
    def active(self) -> Key:
        """The key that signs."""
        return self.keys[-1]

    def find(self, key_id: str) -> Key | None:
        """Return a key, retired or not."""
        return next((key for key in self.keys if key.id == key_id), None)

    def retired(self, *key_ids: str) -> KeyRing:
        """Return the ring with some keys' secrets gone.

        Raises:
            NotFoundError: no such key.
            ConfigError: it is the one that signs.
        """
        for key_id in key_ids:
            if self.find(key_id) is None:
                raise NotFoundError("key", key_id, [key.id for key in self.keys])
            if key_id == self.active.id:
                raise ConfigError(f"key {key_id} signs; `qianmian keys rotate` makes another first")
        return KeyRing(
            keys=tuple(
                key.model_copy(update={"secret": None}) if key.id in key_ids else key
                for key in self.keys
            )
        )


class KeyFile:
    """A key ring on disk, shared by all replicas."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def ring(self) -> KeyRing:
        """The ring as it is now; made with a first key where the file is missing.

        Raises:
            ConfigError: the file does not hold a key ring.
        """
        if not self.path.exists():
            with self._locked():
                if not self.path.exists():
                    self._write(KeyRing(keys=(Key.new(datetime.now(UTC)),)))
        try:
            return KeyRing.model_validate_json(self.path.read_bytes())
        except (ValidationError, OSError) as error:
            raise ConfigError(
                f"{self.path}: expected a key ring ({error}); "
                "restore the file, or remove it: then tokens signed so far count as foreign"
            ) from error

    def stamp(self) -> tuple[int, int] | None:
        """Return what changes with the file."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino

    def rotate(self, *, at: datetime, retire_before: datetime) -> KeyRing:
        """Add a key that signs from now on; keys replaced before a moment are retired."""
        with self._locked():
            ring = KeyRing(keys=(*self._unlocked().keys, Key.new(at)))
            replaced = zip(ring.keys, ring.keys[1:], strict=False)
            old = [key.id for key, next_ in replaced if next_.created < retire_before]
            ring = ring.retired(*old)
            self._write(ring)
        return ring

    def retire(self, key_id: str) -> KeyRing:
        """Make a key open no token any more.

        Raises:
            NotFoundError: no such key.
            ConfigError: it is the one that signs.
        """
        with self._locked():
            ring = self._unlocked().retired(key_id)
            self._write(ring)
        return ring

    def _unlocked(self) -> KeyRing:
        """The ring while the lock is held."""
        if not self.path.exists():
            return KeyRing(keys=(Key.new(datetime.now(UTC)),))
        return self.ring

    def _write(self, ring: KeyRing) -> None:
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(ring.model_dump_json(indent=2))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        sync_folder(self.path.parent)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
