"""The seal of tokens: HMAC-SHA-256 with a key of the ring, named in the token.

A sealed text is base64url of the key's id (4 bytes), the first 16 bytes of the HMAC, and the
payload. The purpose goes into the HMAC, so that a token of one sort never passes for another.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from qianmian.errors import QianmianError
from qianmian.events.event import EXPIRED, FOREIGN, FORGED
from serving.feed.keys import ID_BYTES, Key, KeyRing

log = logging.getLogger(__name__)

_MAC: Final = 16


class BadTokenError(QianmianError):
    """A token that must not be believed; `kind` is forged, expired or foreign."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind = kind


class Seal:
    """Signs payloads with the ring's active key and opens what any of its keys signed."""

    def __init__(
        self, ring: KeyRing, *, reread: Callable[[], KeyRing | None] | None = None
    ) -> None:
        """`reread` gives the ring where it changed: another replica may have rotated first."""
        self._reread = reread
        self.take(ring)

    @classmethod
    def of_secret(cls, secret: bytes) -> Seal:
        """Return a seal with one key of its own."""
        key = Key(id="00" * ID_BYTES, secret=secret.hex(), created=datetime(2000, 1, 1, tzinfo=UTC))
        return cls(KeyRing(keys=(key,)))

    def take(self, ring: KeyRing) -> None:
        """Use another ring from now on."""
        secrets = {
            bytes.fromhex(key.id): bytes.fromhex(key.secret) if key.secret else None
            for key in ring.keys
        }
        active = bytes.fromhex(ring.active.id)
        signing = secrets[active]
        if signing is None:  # a ring whose last key is retired cannot be made by `KeyFile`
            raise BadTokenError(EXPIRED, f"key {ring.active.id} signs and is retired")
        self._secrets, self._signing = secrets, (active, signing)

    def close(self, purpose: bytes, payload: bytes) -> str:
        """Return the sealed payload."""
        key_id, secret = self._signing
        mac = _mac(secret, purpose, payload)
        return base64.urlsafe_b64encode(key_id + mac + payload).decode()

    def open(self, purpose: bytes, text: str) -> bytes:
        """Return the payload of a sealed text.

        Raises:
            BadTokenError: it was not sealed for this purpose by a key of the ring.
        """
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise BadTokenError(FORGED, "not base64url") from error
        key_id, mac = raw[:ID_BYTES], raw[ID_BYTES : ID_BYTES + _MAC]
        payload = raw[ID_BYTES + _MAC :]
        if len(mac) < _MAC:
            raise BadTokenError(FORGED, "too short to be signed")
        if key_id not in self._secrets:
            self._look_again()
        if key_id not in self._secrets:
            raise BadTokenError(FOREIGN, "signed by a key that is not in the ring")
        secret = self._secrets[key_id]
        if secret is None:
            raise BadTokenError(EXPIRED, "signed by a key that is retired")
        if not hmac.compare_digest(mac, _mac(secret, purpose, payload)):
            raise BadTokenError(FORGED, "the signature does not hold")
        return payload

    def _look_again(self) -> None:
        ring = self._reread() if self._reread else None
        if ring is not None:
            self.take(ring)


def _mac(secret: bytes, purpose: bytes, payload: bytes) -> bytes:
    return hmac.digest(secret, purpose + b"\x00" + payload, "sha256")[:_MAC]
