"""The one place where the ids of a request become a subject.

The door and the bulk import ask it of every event, the request path of every page. What is done to
ids on their way in (pseudonyms, merged visitors) happens behind this function and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from qianmian.contracts.subjects import VISITOR_PREFIX, is_visitor, subject_of
from qianmian.errors import FieldError


class Who(Struct, frozen=True, gc=False):
    """Whose event or page it is; the ids are as they are stored."""

    subject_id: str
    user_id: str | None
    visitor_id: str | None


#: Turns a user id and a visitor id into the subject; raises `FieldError` where they name none.
Identify = Callable[[str | None, str | None], Who]


def plainly(user_id: str | None, visitor_id: str | None) -> Who:
    """Take ids as they are.

    Raises:
        FieldError: both are missing, or the user id would be taken for a device.
    """
    subject_id = subject_of(user_id, visitor_id)
    if subject_id is None:
        raise FieldError("user_id", None, "a user_id or a visitor_id", "say whose event it is")
    if user_id is not None and is_visitor(user_id):
        raise FieldError(
            "user_id",
            user_id,
            f"an id that does not begin with {VISITOR_PREFIX!r}",
            "send the id of a device as visitor_id, without the prefix",
        )
    return Who(subject_id, user_id, visitor_id)
