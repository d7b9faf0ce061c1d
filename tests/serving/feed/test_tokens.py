"""Tokens survive the way to the client and back, and nothing else does."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianmian.contracts.api import MAX_PAGE_TOKEN, MAX_SHOWN
from qianmian.errors import FieldError
from serving.feed.tokens import PageToken, Signer, item_hashes

SIGNER = Signer(b"0123456789abcdef")


def token(shown: int = 3, venue: str = "18") -> PageToken:
    return PageToken(venue, "main", 20, 7, np.arange(shown, dtype=np.uint32))


@given(
    venue=st.text(max_size=50),
    block=st.text(max_size=50),
    offset=st.integers(0, 10**6),
    shown=st.lists(st.integers(0, 2**32 - 1), max_size=50),
)
def test_page_token_comes_back_as_it_went(
    venue: str, block: str, offset: int, shown: list[int]
) -> None:
    sent = PageToken(venue, block, offset, 12, np.array(shown, dtype=np.uint32))
    text = SIGNER.page(sent)
    assert text is not None
    got = SIGNER.open_page(text, field="page_token")
    assert (got.venue_id, got.block_id, got.offset) == (venue, block, offset)
    assert got.shown.tolist() == shown


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
    with pytest.raises(FieldError, match="attribution_token="):
        SIGNER.open_attribution(text)


def test_another_key_does_not_open_it() -> None:
    text = SIGNER.page(token())
    assert text is not None
    with pytest.raises(FieldError):
        Signer(b"another secret key").open_page(text, field="page_token")


def test_paging_ends_where_the_token_would_be_too_long() -> None:
    longest = SIGNER.page(token(MAX_SHOWN, venue="v" * 256))
    assert longest is not None
    assert len(longest) <= MAX_PAGE_TOKEN
    assert SIGNER.page(token(MAX_SHOWN + 1)) is None


@pytest.mark.parametrize("key", [b"short", b"x" * 65])
def test_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(FieldError, match="expected 16 to 64 bytes"):
        Signer(key)


def test_hashes_do_not_change_between_versions() -> None:
    assert item_hashes(["1082185", "é"]).tolist() == [955531815, 235179326]
