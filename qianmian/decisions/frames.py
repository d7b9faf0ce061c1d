"""Frames: how one decision lies in an open segment.

A frame is the answer's own JSON, as the page got it, behind a small head with what the answer does
not say. Making one costs the replica next to nothing; `qianmian.decisions.rows` turns frames into
Arrow where that is in nobody's way. A frame that a crash tore off is recognised by its length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, NamedTuple

import orjson

_LENGTHS: Final = struct.Struct("<III")  # of facts, chances and answer


class Facts(NamedTuple):
    """What an answer does not say of itself."""

    decided_at: float  # seconds since the epoch, by the service's clock
    subject_id: str | None
    page_view_id: str | None
    candidates: int  # how many were ranked
    actions: Sequence[str]  # of which the ranker gave chances


class Frame(NamedTuple):
    """One decision, read back; `chances` holds float32 [items shown, actions], NaN for none."""

    facts: Facts
    chances: bytes
    answer: bytes  # JSON


def frame(facts: Facts, chances: bytes, answer: bytes) -> bytes:
    """Return a decision as it lies in an open segment."""
    head = orjson.dumps(tuple(facts))
    return b"".join((_LENGTHS.pack(len(head), len(chances), len(answer)), head, chances, answer))


def frames(source: BinaryIO) -> Iterator[Frame]:
    """Read frames up to the end, or to where a crash tore the last one off."""
    while len(lengths := source.read(_LENGTHS.size)) == _LENGTHS.size:
        sizes = _LENGTHS.unpack(lengths)
        if not sizes[0]:  # a crash of the machine may leave zeros behind what was written
            return
        parts = [source.read(size) for size in sizes]
        if any(len(part) < size for part, size in zip(parts, sizes, strict=True)):
            return
        head, chances, answer = parts
        yield Frame(Facts(*orjson.loads(head)), chances, answer)
