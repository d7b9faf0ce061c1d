"""Signed tokens: the page token that continues a block, and the attribution token of an answer.

A token's payload is a small JSON head and an array of item hashes (CRC-32 of the item id, four
bytes each); `serving.feed.seal` signs it. Hashes instead of positions in the catalogue keep a token
usable when another release takes over between two pages; two items of one hash at worst hide one
another.

The attribution token also holds the propensity of each item, in two bytes of a logarithmic scale
(exact for 1, else within 0.03 %), and none of them where every item was placed with certainty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt
import orjson

from qianmian.contracts.api import MAX_PAGE_TOKEN, MAX_SHOWN
from qianmian.errors import FieldError
from qianmian.events.event import FOREIGN, FORGED, Sale
from serving.feed.seal import BadTokenError, Seal

UInt32 = npt.NDArray[np.uint32]
Float32 = npt.NDArray[np.float32]
NO_HASHES: Final[UInt32] = np.zeros(0, dtype=np.uint32)

ORGANIC: Final = "organic"
SPONSORED: Final = "sponsored"
_PAGE: Final = b"page"
_ATTRIBUTION: Final = b"attribution 2"  # to be raised with every change of the head
_LENGTH: Final = 2
_HASH: Final = 4
_QUOTED: Final = 24  # characters of a bad token that a fault repeats
_REMEDY: Final = "send next_page_token of the answer before unchanged, or leave it out"
#: Steps of the propensity's scale for each factor of e: 16 bits reach down to 1e-14.
_STEPS: Final = 2_048
_SMALLEST: Final = 65_535


def item_hashes(item_ids: Iterable[str]) -> UInt32:
    """Return the hash of each item id, uint32 [n]."""
    return np.fromiter((crc32(item_id.encode()) for item_id in item_ids), dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class PageToken:
    """Where a block goes on: items shown so far on the page (sorted hashes) and in the block.

    `before` holds hashes of the block's last items in their order: as many as its rules look back.
    """

    venue_id: str
    block_id: str
    offset: int
    origin: int
    shown: UInt32
    before: UInt32


class Placed(NamedTuple):
    """An item in its place."""

    block_id: str
    position: int
    propensity: float
    slot: str = ORGANIC
    campaign_id: str | None = None
    sale: Sale | None = None


class Special(NamedTuple):
    """What a slot is that is not organic: its kind, and whose it is and what is paid for it."""

    slot: str
    campaign_id: str | None = None
    sale: Sale | None = None


@dataclass(frozen=True, slots=True)
class Attribution:
    """What an answer showed, for the events that come of it.

    `blocks` holds block id, position of the first item and number of items; `items` the hashes of
    all items in order, `propensities` theirs. `special` tells of the slots that are not organic, by
    row of `items`. `races` holds for each race what came first.
    """

    recommendation_id: str
    venue_id: str
    phase: str
    release: str
    arms: tuple[tuple[str, str, str], ...]
    at: float
    page_view_id: str | None
    blocks: tuple[tuple[str, int, int], ...]
    items: UInt32
    propensities: Float32
    special: Mapping[int, Special] = field(default_factory=dict)
    races: tuple[tuple[str, str], ...] = ()

    def place_of(self, item_id: str) -> Placed | None:
        """Return where and how the item was shown, None if it was not."""
        found = np.flatnonzero(self.items == crc32(item_id.encode("utf-8", "surrogatepass")))
        if not len(found):
            return None
        row = at = int(found[0])
        for block_id, first, count in self.blocks:
            if at < count:
                special = self.special.get(row, _ORGANIC_SLOT)
                propensity = float(self.propensities[row])
                return Placed(block_id, first + at, propensity, *special)
            at -= count
        return None


_ORGANIC_SLOT: Final = Special(ORGANIC)


class Signer:
    """Makes and opens the tokens of one service: that of a data set, with a ring of keys."""

    def __init__(self, seal: Seal, *, dataset: str) -> None:
        self._seal = seal
        self._dataset = dataset

    def page(self, token: PageToken) -> str | None:
        """Return the token, or None when too many items were shown to go on."""
        if len(token.shown) > MAX_SHOWN:
            return None
        count = len(token.shown)
        head = [token.venue_id, token.block_id, token.offset, token.origin, count]
        hashes = np.concatenate([token.shown, token.before])
        sealed = self._seal.close(_PAGE, _payload(head, hashes))
        return sealed if len(sealed) <= MAX_PAGE_TOKEN else None

    def open_page(self, text: str, *, field: str) -> PageToken:
        """Read a page token.

        Raises:
            FieldError: the text is not a page token of this service.
        """
        try:
            head, rest = _parts(self._seal.open(_PAGE, text))
        except BadTokenError as error:
            raise FieldError(
                field, _short(text), "a page token of this service", _REMEDY
            ) from error
        venue_id, block_id, offset, origin, count = head
        hashes = _hashes(rest)
        return PageToken(venue_id, block_id, offset, origin, hashes[:count], hashes[count:])

    def attribution(self, what: Attribution) -> str:
        """Return the token of an answer."""
        head = [
            self._dataset,
            what.recommendation_id,
            what.venue_id,
            what.phase,
            what.release,
            what.arms,
            what.at,
            what.page_view_id,
            what.blocks,
            [[row, *special] for row, special in what.special.items()],
            what.races,
        ]
        payload = _payload(head, what.items) + _scaled(what.propensities)
        return self._seal.close(_ATTRIBUTION, payload)

    def open_attribution(self, text: str) -> Attribution:
        """Read an attribution token.

        Raises:
            BadTokenError: the text is not an attribution token of this service.
        """
        head, rest = _parts(self._seal.open(_ATTRIBUTION, text))
        dataset, recommendation, venue, phase, release, arms, at, view, blocks, *more = head
        special, races = more
        if dataset != self._dataset:
            raise BadTokenError(FOREIGN, f"of data set {dataset!r}, not {self._dataset!r}")
        count = sum(shown for _, _, shown in blocks)
        return Attribution(
            recommendation_id=recommendation,
            venue_id=venue,
            phase=phase,
            release=release,
            arms=tuple((layer, experiment, arm) for layer, experiment, arm in arms),
            at=at,
            page_view_id=view,
            blocks=tuple((block, first, shown) for block, first, shown in blocks),
            items=_hashes(rest[: _HASH * count]),
            propensities=_unscaled(rest[_HASH * count :], count),
            special={
                row: Special(slot, campaign, sale and tuple(sale))
                for row, slot, campaign, sale in special
            },
            races=tuple((race, first) for race, first in races),
        )


def _payload(head: list[Any], hashes: UInt32) -> bytes:
    text = orjson.dumps(head)
    if len(text) >= 1 << (8 * _LENGTH):
        raise BadTokenError(FORGED, f"a head of {len(text)} bytes cannot be signed")
    return len(text).to_bytes(_LENGTH, "big") + text + hashes.astype("<u4").tobytes()


def _parts(payload: bytes) -> tuple[Any, bytes]:
    end = _LENGTH + int.from_bytes(payload[:_LENGTH], "big")
    return orjson.loads(payload[_LENGTH:end]), payload[end:]


def _hashes(raw: bytes) -> UInt32:
    return np.frombuffer(raw, dtype="<u4").astype(np.uint32)


def _scaled(propensities: Float32) -> bytes:
    """Return propensities in two bytes each, nothing where all are 1."""
    if (propensities == 1.0).all():
        return b""
    steps = np.rint(-np.log(np.maximum(propensities, 1e-30)) * _STEPS)
    scaled: bytes = np.clip(steps, 0, _SMALLEST).astype("<u2").tobytes()
    return scaled


def _unscaled(raw: bytes, count: int) -> Float32:
    if not raw:
        return np.ones(count, dtype=np.float32)
    steps = np.frombuffer(raw, dtype="<u2").astype(np.float32)
    return np.exp(-steps / _STEPS).astype(np.float32)


def _short(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
