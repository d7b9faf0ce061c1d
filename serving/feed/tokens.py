"""Signed tokens: the page token that continues a block, and the attribution token of an answer.

A token is base64url of a keyed BLAKE2b-128 of the payload and the payload itself: a small JSON head
and an array of item hashes (CRC-32 of the item id, four bytes each). Hashes instead of positions
in the catalogue keep a token usable when another release takes over between two pages; two items
of one hash at worst hide one another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import numpy as np
import numpy.typing as npt
import orjson

from qianmian.contracts.api import MAX_PAGE_TOKEN, MAX_SHOWN
from qianmian.errors import FieldError

UInt32 = npt.NDArray[np.uint32]

_PAGE: Final = b"page"
_ATTRIBUTION: Final = b"attribution"
_MAC: Final = 16
_LENGTH: Final = 2
_QUOTED: Final = 24  # characters of a bad token that a fault repeats
_REMEDY: Final = "send next_page_token of the answer before unchanged, or leave it out"


def item_hashes(item_ids: Iterable[str]) -> UInt32:
    """Return the hash of each item id, uint32 [n]."""
    return np.fromiter((crc32(item_id.encode()) for item_id in item_ids), dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class PageToken:
    """Where a block goes on: items shown so far on the page (sorted hashes) and in the block."""

    venue_id: str
    block_id: str
    offset: int
    origin: int
    shown: UInt32


@dataclass(frozen=True, slots=True)
class Attribution:
    """What an answer showed, for the events that come of it.

    `blocks` holds block id, position of the first item and number of items; `items` the hashes of
    all items in order.
    """

    recommendation_id: str
    venue_id: str
    phase: str
    release: str
    arms: tuple[tuple[str, str, str], ...]
    at: float
    propensity: float
    page_view_id: str | None
    blocks: tuple[tuple[str, int, int], ...]
    items: UInt32

    def place_of(self, item_id: str) -> tuple[str, int] | None:
        """Return block and position where the item was shown, None if it was not."""
        found = np.flatnonzero(self.items == crc32(item_id.encode()))
        if not len(found):
            return None
        row = int(found[0])
        for block_id, first, count in self.blocks:
            if row < count:
                return block_id, first + row
            row -= count
        return None


class Signer:
    """Makes and opens tokens with one secret key."""

    def __init__(self, key: bytes) -> None:
        if not _MAC <= len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
            expected = f"{_MAC} to {hashlib.blake2b.MAX_KEY_SIZE} bytes"
            raise FieldError("signing key", f"{len(key)} bytes", expected)
        self._key = key

    def page(self, token: PageToken) -> str | None:
        """Return the token, or None when too many items were shown to go on."""
        if len(token.shown) > MAX_SHOWN:
            return None
        head = [token.venue_id, token.block_id, token.offset, token.origin]
        sealed = self._seal(_PAGE, head, token.shown)
        return sealed if len(sealed) <= MAX_PAGE_TOKEN else None

    def open_page(self, text: str, *, field: str) -> PageToken:
        """Read a page token.

        Raises:
            FieldError: the text is not a page token of this service.
        """
        try:
            (venue_id, block_id, offset, origin), shown = self._open(_PAGE, text)
        except ValueError as error:
            raise FieldError(
                field, _short(text), "a page token of this service", _REMEDY
            ) from error
        return PageToken(venue_id, block_id, offset, origin, shown)

    def attribution(self, what: Attribution) -> str:
        """Return the token of an answer."""
        head = [
            what.recommendation_id,
            what.venue_id,
            what.phase,
            what.release,
            what.arms,
            what.at,
            what.propensity,
            what.page_view_id,
            what.blocks,
        ]
        return self._seal(_ATTRIBUTION, head, what.items)

    def open_attribution(self, text: str, *, field: str = "attribution_token") -> Attribution:
        """Read an attribution token.

        Raises:
            FieldError: the text is not an attribution token of this service.
        """
        try:
            head, items = self._open(_ATTRIBUTION, text)
        except ValueError as error:
            raise FieldError(
                field,
                _short(text),
                "an attribution token of this service",
                "send attribution_token of the answer unchanged",
            ) from error
        recommendation, venue, phase, release, arms, at, propensity, page_view, blocks = head
        return Attribution(
            recommendation_id=recommendation,
            venue_id=venue,
            phase=phase,
            release=release,
            arms=tuple((layer, experiment, arm) for layer, experiment, arm in arms),
            at=at,
            propensity=propensity,
            page_view_id=page_view,
            blocks=tuple((block, first, count) for block, first, count in blocks),
            items=items,
        )

    def _seal(self, purpose: bytes, head: list[Any], tail: UInt32) -> str:
        text = orjson.dumps(head)
        payload = len(text).to_bytes(_LENGTH, "big") + text + tail.astype("<u4").tobytes()
        return base64.urlsafe_b64encode(self._mac(purpose, payload) + payload).decode()

    def _open(self, purpose: bytes, text: str) -> tuple[Any, UInt32]:
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise ValueError("not base64url") from error
        mac, payload = raw[:_MAC], raw[_MAC:]
        if not hmac.compare_digest(mac, self._mac(purpose, payload)):
            raise ValueError("signature does not hold")
        end = _LENGTH + int.from_bytes(payload[:_LENGTH], "big")
        shown = np.frombuffer(payload[end:], dtype="<u4").astype(np.uint32)
        return orjson.loads(payload[_LENGTH:end]), shown

    def _mac(self, purpose: bytes, payload: bytes) -> bytes:
        return hashlib.blake2b(payload, key=self._key, digest_size=_MAC, person=purpose).digest()


def _short(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
