"""The HTTP contract: what a venue page may ask for and what it gets.

Requests are validated by these models and nothing else. Responses are built as plain dicts on the
hot path (serializing pydantic models would cost more than ranking); the response models here
describe them for `/openapi.json`, and tests hold every answer against them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

MAX_PAGE_SIZE: Final = 100
MAX_BLOCKS: Final = 8
MAX_EXCLUDED: Final = 500
MAX_FILTER_VALUES: Final = 100
MAX_CONTEXT: Final = 50
MAX_PAGE_TOKEN: Final = 16_384
#: Items that a visitor can page through before a block ends: what fits into a page token.
MAX_SHOWN: Final = 2_400
MAX_ID: Final = 256
DEFAULT_BLOCK: Final = "main"

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]
Score = Annotated[float, Field(allow_inf_nan=False)]


class _Contract(BaseModel):
    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True
    )


# -- the question ---------------------------------------------------------------------------------


class Shopper(_Contract):
    """Who asks. Both ids may be missing: then the page is that of a visitor never seen before."""

    id: Id | None = None
    """A known account."""
    visitor_id: Id | None = None
    """A pseudonymous device."""


class BlockFilter(_Contract):
    """Narrows a block; an item must meet every condition that is given."""

    category: Annotated[tuple[str, ...], Field(max_length=MAX_FILTER_VALUES)] = ()
    """The item's category is one of these."""
    brand: Annotated[tuple[str, ...], Field(max_length=MAX_FILTER_VALUES)] = ()
    """The item's brand is one of these."""
    price_min: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Lowest price paid for one unit."""
    price_max: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Highest price paid for one unit."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low, high = self.price_min, self.price_max
        if low is not None and high is not None and low > high:
            raise ValueError("expected price_min <= price_max")
        return self


class BlockQuery(_Contract):
    """One ranked list of the page."""

    block_id: Id = DEFAULT_BLOCK
    """Name of the block; each block of a request needs its own."""
    page_size: Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)] | None = None
    """Items wanted; without it the venue's own page size."""
    page_token: Annotated[str, StringConstraints(max_length=MAX_PAGE_TOKEN)] | None = None
    """`next_page_token` of this block's page before; without it the first page."""
    exclude_item_ids: Annotated[tuple[Id, ...], Field(max_length=MAX_EXCLUDED)] = ()
    """Items that this block must not show."""
    filter: BlockFilter | None = None
    """Conditions on the items of this block."""


class Params(_Contract):
    """How to answer."""

    explain: bool = False
    """Say for each item what proposed it and how its score came about."""


class RecommendRequest(_Contract):
    """Body of `POST /v1/venues/{venue_id}:recommend`."""

    user: Shopper = Shopper()
    """Who asks."""
    session_id: Id | None = None
    """The visit this belongs to."""
    page_view_id: Id | None = None
    """The view of the page this belongs to; it returns inside the attribution token."""
    context: Annotated[
        dict[str, str | int | float | bool | None], Field(max_length=MAX_CONTEXT)
    ] = {}
    """Facts of the moment (device, region, ...) by name."""
    blocks: Annotated[tuple[BlockQuery, ...], Field(min_length=1, max_length=MAX_BLOCKS)] = (
        BlockQuery(),
    )
    """Ranked lists wanted; no item stands in two of them."""
    params: Params = Params()
    """How to answer."""


RECOMMEND_REQUEST: Final = TypeAdapter(RecommendRequest)


# -- the answer -----------------------------------------------------------------------------------


class ItemDetails(_Contract):
    """What a page shows of an item; money is in the data set's currency, null where unknown."""

    title: str
    category: str
    brand: str
    price: float | None
    base_price: float | None
    """Price before discount."""
    discount: Annotated[float, Field(ge=0, le=1)]
    """Share of the base price that is taken off."""
    coupon_id: str | None
    """Coupon that the venue has for the item."""


class ItemExplanation(_Contract):
    """How an item came to its place."""

    retrieval_score: Score | None
    """Two-tower score; null for an item that filled up a short page."""
    probabilities: dict[str, float]
    """Chance of each action."""
    weights: dict[str, float]
    """Weight of each term of `score`: actions, and price and margin where the venue weighs them."""
    values: dict[str, float | None]
    """What an order is worth by price and margin, where they have a weight; null if unknown."""
    rank: int | None
    """Place by score alone, before any rule, from 1; null for an item that was not ranked."""
    moved_by: list[str]
    """Rules that moved the item away from there: `diversity`, `exploration`, or a rule in words."""


class RankedItem(_Contract):
    """One item in its place."""

    item_id: str
    position: Annotated[int, Field(ge=1)]
    """Place in the block, counted over all its pages, from 1."""
    score: Score
    """Sum of action probabilities, each times its weight."""
    source: str
    """What proposed the item."""
    slot: Literal["organic", "pinned", "sponsored"]
    """Kind of the place: ranked, put there by the venue, or paid for."""
    reason: str
    """Why this shopper sees it, as a word."""
    propensity: Annotated[float, Field(gt=0, le=1)]
    """Probability with which the item was put in this place, given the order of the blocks and what
    stands in the page's sponsored places. Of a sponsored item: with which its campaign got the
    place, given who could pay."""
    item: ItemDetails
    label: str | None = None
    """What the page must write on a sponsored item."""
    campaign_id: str | None = None
    """Whose place it is, where it is sponsored."""
    explain: ItemExplanation | None = None


class SkippedSlot(_Contract):
    """An item that could not stand in the place that was meant for it."""

    item_id: str | None
    """Null if the release does not know the item."""
    position: int
    slot: str
    reason: str


class BlockExplanation(_Contract):
    """How a block came about."""

    candidates: dict[str, int]
    """Candidates of each source."""
    removed: dict[str, int]
    """Items that were taken out, by reason: of the pool by the rules of eligibility and the block's
    own conditions, of the candidates by everything else."""
    examples: dict[str, list[str]]
    """Some items that the rules of eligibility took out, by reason."""
    relaxed: list[str]
    """Rules that could not all hold on this page and were let go, in words."""
    skipped: list[SkippedSlot]
    """Pins and other fixed slots that stayed organic."""


class RankedBlock(_Contract):
    """One ranked list."""

    block_id: str
    title: str
    items: list[RankedItem]
    creative: str | None = None
    """The face that the block shows, where creatives race for it."""
    next_page_token: str | None
    """Null when nothing is left to show, or once 2,400 items (`MAX_SHOWN`) were shown."""
    explain: BlockExplanation | None = None


class VenueInfo(_Contract):
    """A venue as pages know it."""

    id: str
    name: str
    kind: str
    phase: str
    """Phase at this moment; `upcoming` before the period, `ended` after it."""
    starts_at: AwareDatetime | None
    ends_at: AwareDatetime | None


class AssignedArm(_Contract):
    """An experiment that holds this shopper."""

    layer: str
    experiment: str
    arm: str


class RaceOutcome(_Contract):
    """How one race between blocks or creatives came out on this page."""

    race: str
    order: list[str]
    """Its blocks or creatives; the first one leads."""
    propensity: Annotated[float, Field(gt=0, le=1)]
    """Probability with which the first one was put there; of the others none is told."""
    state_version: int
    """State of the race that it was drawn from; the same request draws the same from the same."""


class RecommendResponse(_Contract):
    """Answer of `POST /v1/venues/{venue_id}:recommend`."""

    recommendation_id: str
    attribution_token: str
    """Signed; send it back with the events of this page."""
    venue: VenueInfo
    experiments: list[AssignedArm]
    release: str
    degraded: list[str]
    """Every fallback that this answer needed; empty when all went well."""
    racing: list[RaceOutcome]
    """The races of this page."""
    blocks: list[RankedBlock]
    """In the order in which the page shows them: that of the request, but for races."""
    timing_ms: dict[str, float]
    """Time spent in each stage."""


class VenueList(_Contract):
    """Answer of `GET /v1/venues`."""

    venues: list[VenueInfo]


class KnownUser(_Contract):
    """A shopper with a history."""

    id: str
    events: int
    """Events on record."""


class UserList(_Contract):
    """Answer of `GET /v1/users`."""

    users: list[KnownUser]


class Readiness(_Contract):
    """Answer of `GET /readyz`."""

    ready: bool
    release: str | None
    """Release that answers, null while none is loaded."""
    dataset: str
    now: AwareDatetime
    """The moment the service believes it is."""
    refused: str | None = None
    """Why a newer promotion was not taken over."""
    venue_files_refused: dict[str, str] = {}
    """Faults of each venue file that is not in force as it stands, by its path."""
    campaign_files_refused: dict[str, str] = {}
    """The same of campaign files; a campaign that was never sound is left out."""
    stream: str = "never"
    """The stream process: `running`, `stopped`, `silent`, or `never` seen."""
    facts: str = "unfollowed"
    """What changed elsewhere (stock, prices, features): `current`, `old` while the engine does not
    answer, `awaited` before the first look, or `unfollowed`."""


class Fault(_Contract):
    """One thing to mend in a request."""

    field: str
    value: object
    expected: str
    remedy: str


class Problem(_Contract):
    """A problem document (RFC 9457), served as `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] = []
