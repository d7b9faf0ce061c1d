"""The secret of a data set's privacy: it makes pseudonyms, hashes of erased ids, signed receipts.

The file holds 32 random bytes and is for its owner's eyes only. The data set remembers which secret
its ids were made with (`identity/key-id`): with another one every shopper would be a stranger, so
that is refused. Changing the secret is not supported.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qianmian.errors import ConfigError

SECRET_BYTES: Final = 32
KEY_FILE: Final = "privacy.key"
KEY_ID_FILE: Final = "key-id"
_ID_CHARACTERS: Final = 8


@dataclass(frozen=True, slots=True)
class Secret:
    """Keyed hashes for different purposes, none of which can be had from another."""

    _value: bytes

    @classmethod
    def read(cls, path: Path) -> Secret:
        """Read the secret, made with its file where that is missing.

        Raises:
            ConfigError: the file cannot be read or written, or does not hold a secret.
        """
        try:
            value = path.read_bytes() if path.exists() else _made(path)
        except OSError as error:
            raise ConfigError(
                f"privacy.key_file={str(path)!r}: expected a file that this user may read; "
                f"{error.strerror}"
            ) from error
        if len(value) < SECRET_BYTES:
            raise ConfigError(
                f"privacy.key_file={str(path)!r}: expected {SECRET_BYTES} random bytes or more, "
                f"found {len(value)}; make it with `head -c {SECRET_BYTES} /dev/urandom`"
            )
        return cls(value)

    @property
    def key_id(self) -> str:
        """Name of the secret, which tells nothing of it."""
        return self.mac("key id", "")[:_ID_CHARACTERS]

    def mac(self, purpose: str, text: str) -> str:
        """Return the keyed hash of a text, 32 hexadecimal characters."""
        return self.seal(purpose, text.encode("utf-8", "surrogatepass")).hex()

    def seal(self, purpose: str, content: bytes) -> bytes:
        """Return the keyed hash of a content, 16 bytes."""
        message = purpose.encode() + b"\0" + content
        return hmac.new(self._value, message, hashlib.sha256).digest()[:16]


def keep_to(secret: Secret, folder: Path) -> None:
    """Hold a data set to the secret that its ids were made with first.

    Raises:
        ConfigError: it was another one.
    """
    path = folder / KEY_ID_FILE
    folder.mkdir(parents=True, exist_ok=True)
    _create(path, secret.key_id.encode())
    found = path.read_text(encoding="utf-8")
    if found != secret.key_id:
        raise ConfigError(
            f"privacy.key_file: this is key {secret.key_id}, ids of this data set were made with "
            f"key {found}; give that one back, for with another every shopper is a stranger"
        )


def _made(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    _create(path, secrets.token_bytes(SECRET_BYTES))
    return path.read_bytes()


def _create(path: Path, content: bytes) -> None:
    """Make a file with its content in one step, unless somebody was faster."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
