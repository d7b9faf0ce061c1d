"""The question, understood: venue, phase, shopper and blocks with their page tokens opened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qianmian.contracts import columns as c
from qianmian.contracts.api import BlockFilter, RecommendRequest
from qianmian.contracts.subjects import is_visitor
from qianmian.distinct import distinct
from qianmian.errors import FieldError, VenueNotFoundError
from qianmian.identity.gate import Ask, plain_asker
from qianmian.venues import Block, Phase, Venue
from serving.feed.resident import World
from serving.feed.tokens import NO_HASHES, PageToken, Signer, UInt32


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """One block to fill."""

    block_id: str
    title: str
    page_size: int
    offset: int
    origin: int | None
    exclude_item_ids: tuple[str, ...]
    filter: BlockFilter | None  # what the request asks for; the venue's own is in `block`
    block: Block
    before: UInt32  # hashes of the block's last items on the pages before, in their order


@dataclass(frozen=True, slots=True)
class Query:
    """A request against one moment of one venue."""

    venue: Venue
    phase: Phase
    now: float
    subject_id: str | None  # whose page it is; a merged visitor's user
    members: tuple[str, ...]  # the subjects that count as that one, itself first
    user_id: str | None
    visitor_id: str | None
    session_id: str | None
    page_view_id: str | None
    explain: bool
    blocks: tuple[BlockPlan, ...]
    shown: UInt32  # hashes of all items that earlier pages showed, sorted
    region: str | None  # where the shopper is, if the page knows

    @property
    def account_id(self) -> str | None:
        """The account whose page it is, also where a merged device asks; None for a device's."""
        account = self.subject_id is not None and not is_visitor(self.subject_id)
        return self.subject_id if account else None


def understand(
    world: World, venue_id: str, request: RecommendRequest, signer: Signer, ask: Ask = plain_asker
) -> Query:
    """Read a validated request; `ask` says whose page it is.

    Raises:
        VenueNotFoundError: no such venue.
        FieldError: two blocks share an id, or a page token is not one of this block.
    """
    venue = world.venues.get(venue_id)
    if venue is None:
        raise VenueNotFoundError("venue", venue_id, world.venues, "see GET /v1/venues")
    seen: set[str] = set()
    plans: list[BlockPlan] = []
    shown: list[UInt32] = []
    for index, block in enumerate(request.blocks):
        if block.block_id in seen:
            raise FieldError(
                f"blocks[{index}].block_id",
                block.block_id,
                "a name that no other block of the request has",
                "give each block its own block_id",
            )
        seen.add(block.block_id)
        token = None
        if block.page_token is not None:
            token = _open(signer, block.page_token, venue_id, block.block_id, index)
            shown.append(token.shown)
        default = venue.block(block.block_id)
        plans.append(
            BlockPlan(
                block_id=block.block_id,
                title=default.title,
                page_size=block.page_size or default.page_size,
                offset=token.offset if token else 0,
                origin=token.origin if token else None,
                exclude_item_ids=block.exclude_item_ids,
                filter=block.filter,
                block=default,
                before=token.before if token else NO_HASHES,
            )
        )
    now = world.clock.now()
    asker = ask(request.user.id, request.user.visitor_id)
    return Query(
        venue=venue,
        phase=venue.phase_at(now),
        now=now,
        subject_id=asker.subject_id,
        members=asker.members,
        user_id=asker.user_id,
        visitor_id=asker.visitor_id,
        session_id=request.session_id,
        page_view_id=request.page_view_id,
        explain=request.params.explain,
        blocks=tuple(plans),
        shown=distinct(np.concatenate(shown)) if shown else NO_HASHES,
        region=None if (region := request.context.get(c.REGION)) is None else str(region),
    )


def _open(signer: Signer, text: str, venue_id: str, block_id: str, index: int) -> PageToken:
    field = f"blocks[{index}].page_token"
    token = signer.open_page(text, field=field)
    if (token.venue_id, token.block_id) != (venue_id, block_id):
        raise FieldError(
            field,
            f"a token of block {token.block_id!r} of venue {token.venue_id!r}",
            f"a token of block {block_id!r} of venue {venue_id!r}",
            "send a token only to the block that gave it",
        )
    return token
