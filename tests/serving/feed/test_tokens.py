"""Tokens survive the way to the client and back, and nothing else does."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianmian.contracts.api import MAX_PAGE_TOKEN, MAX_SHOWN
from qianmian.errors import FieldError
from serving.feed.seal import BadTokenError, Seal
from serving.feed.tokens import Attribution, PageToken, Signer, Special, item_hashes

SIGNER = Signer(Seal.of_secret(b"0123456789abcdef"), dataset="shop")


BEFORE = np.array([9, 1, 9], dtype=np.uint32)


def token(shown: int = 3, venue: str = "18") -> PageToken:
    return PageToken(venue, "main", 20, 7, np.arange(shown, dtype=np.uint32), BEFORE)


@given(
    venue=st.text(max_size=50),
    block=st.text(max_size=50),
    offset=st.integers(0, 10**6),
    shown=st.lists(st.integers(0, 2**32 - 1), max_size=50),
    before=st.lists(st.integers(0, 2**32 - 1), max_size=9),
)
def test_page_token_comes_back_as_it_went(
    venue: str, block: str, offset: int, shown: list[int], before: list[int]
) -> None:
    hashes = [np.array(one, dtype=np.uint32) for one in (shown, before)]
    sent = PageToken(venue, block, offset, 12, *hashes)
    text = SIGNER.page(sent)
    assert text is not None
    got = SIGNER.open_page(text, field="page_token")
    assert (got.venue_id, got.block_id, got.offset) == (venue, block, offset)
    assert got.shown.tolist() == shown
    assert got.before.tolist() == before


@given(position=st.integers(0, 200), change=st.integers(1, 255))
def test_a_changed_token_is_refused(position: int, change: int) -> None:
    text = SIGNER.page(token())
    assert text is not None
    raw = bytearray(base64.urlsafe_b64decode(text))
    raw[position % len(raw)] ^= change
    with pytest.raises(FieldError, match=r"page_token=.*expected a page token of this service"):
        SIGNER.open_page(base64.urlsafe_b64encode(bytes(raw)).decode(), field="page_token")


@given(st.text(max_size=60))
def test_no_text_is_a_token(text: str) -> None:
    with pytest.raises(FieldError):
        SIGNER.open_page(text, field="page_token")
    with pytest.raises(BadTokenError):
        SIGNER.open_attribution(text)


def test_another_key_does_not_open_it() -> None:
    text = SIGNER.page(token())
    assert text is not None
    with pytest.raises(FieldError):
        signer(b"another secret key").open_page(text, field="page_token")


def test_paging_ends_where_the_token_would_be_too_long() -> None:
    longest = SIGNER.page(token(MAX_SHOWN, venue="v" * 256))
    assert longest is not None
    assert len(longest) <= MAX_PAGE_TOKEN
    assert SIGNER.page(token(MAX_SHOWN + 1)) is None


SPECIAL = [Special("pinned"), Special("sponsored", "c", ("7", 350_000, "click", 1.5e9))]
ITEMS = [f"i{n}" for n in range(60)]


@given(
    propensities=st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=60),
    cut=st.integers(0, 60),
    special=st.dictionaries(st.integers(0, 59), st.sampled_from(SPECIAL)),
)
def test_attribution_tells_each_item_apart(
    propensities: list[float], cut: int, special: dict[int, Special]
) -> None:
    count = len(propensities)
    cut = min(cut, count)
    sent = shown(propensities, blocks=(("a", 1, cut), ("b", 41, count - cut)), special=special)
    got = SIGNER.open_attribution(SIGNER.attribution(sent))
    for row, propensity in enumerate(propensities):
        block, position = ("a", 1 + row) if row < cut else ("b", 41 + row - cut)
        place = got.place_of(ITEMS[row])
        assert place is not None
        assert place[:2] == (block, position)
        assert place.propensity == pytest.approx(propensity, rel=3e-4)
        assert place[3:] == special.get(row, Special("organic"))
    assert got.place_of("another") is None


def test_certain_placement_costs_no_bytes_and_is_exact() -> None:
    certain = SIGNER.attribution(shown([1.0] * 20))
    assert SIGNER.open_attribution(certain).propensities.tolist() == [1.0] * 20
    assert len(certain) < len(SIGNER.attribution(shown([1.0] * 19 + [0.5]))) < len(certain) + 80


def test_attribution_of_another_key_or_data_set_is_foreign() -> None:
    text = SIGNER.attribution(shown([1.0]))
    for other in (
        signer(b"another secret key"),
        Signer(Seal.of_secret(b"0123456789abcdef"), dataset="another"),
    ):
        with pytest.raises(BadTokenError) as caught:
            other.open_attribution(text)
        assert caught.value.kind in {"foreign", "forged"}
    page = SIGNER.page(token())
    assert page is not None
    with pytest.raises(BadTokenError, match="forged"):
        SIGNER.open_attribution(page)


def shown(propensities: list[float], **fields: Any) -> Attribution:
    given: dict[str, Any] = {
        "recommendation_id": "r",
        "venue_id": "18",
        "phase": "peak",
        "release": "2017",
        "arms": (("ranking", "discovery", "new"),),
        "at": 1.5e9,
        "page_view_id": None,
        "blocks": (("main", 1, len(propensities)),),
        "items": item_hashes(ITEMS[: len(propensities)]),
        "propensities": np.array(propensities, dtype=np.float32),
    }
    return Attribution(**{**given, **fields})


def signer(secret: bytes) -> Signer:
    return Signer(Seal.of_secret(secret), dataset="shop")


def test_hashes_do_not_change_between_versions() -> None:
    assert item_hashes(["1082185", "é"]).tolist() == [955531815, 235179326]
