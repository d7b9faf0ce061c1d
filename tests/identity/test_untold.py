from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qianmian.identity.untold import STRUCK, struck, untold


def failing(text: str) -> Exception:
    try:
        _look_up(text)
    except ValueError as error:
        return error
    raise AssertionError


def _look_up(text: str) -> None:
    try:
        {}[text]
    except KeyError as error:
        raise ValueError(f"no row for user_{text}_x") from error


@given(st.text(min_size=4, max_size=20).filter(str.strip))
def test_a_known_id_is_struck_out_wherever_it_stands(one: str) -> None:
    text = struck(failing(f"@{one}@"), [f"@{one}@", None])
    assert f"@{one}@" not in text
    assert repr(f"@{one}@") not in text
    assert STRUCK in text
    assert "test_untold.py" in text


def test_a_short_id_leaves_the_rest_readable() -> None:
    text = struck(failing("no 4 of 140"), ["4"])
    assert "no [id] of 140" in text


def test_without_knowing_ids_no_message_is_told() -> None:
    text = untold(failing("marker-4711"))
    assert "marker" not in text
    assert text.endswith("ValueError")
    assert "KeyError" in text
    assert "test_untold.py" in text
