"""Errors as logs may hold them: where it happened and what kind it was, and nobody's id.

An error's message may name somebody: a driver repeats the key it was asked for, a parser the text
it stumbled over. Where the ids in question are known they are struck out of the traceback; where
they are not, messages are left out altogether.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Final

STRUCK: Final = "[id]"
_DISTINCT: Final = 4  # characters from which an id is struck out within other text, too


def struck(error: BaseException, ids: Iterable[str | None], *, places: bool = True) -> str:
    """Return an error's traceback with every occurrence of these ids struck out.

    Without `places` it is what the error itself says, a line.

    >>> struck(KeyError("anna"), ["anna", None])
    "KeyError: '[id]'"
    """
    told = traceback.format_exception if places else traceback.format_exception_only
    text = "".join(told(error)).rstrip()
    for one in sorted({one for one in ids if one}, key=len, reverse=True):
        for form in forms(one):
            sought = re.escape(form)
            if len(form) < _DISTINCT:  # `4` is struck out, the 4 of `line 140` is not
                sought = rf"(?<!\w){sought}(?!\w)"
            text = re.sub(sought, STRUCK, text)
    return text


def forms(one: str) -> set[str]:
    r"""Return an id as texts may hold it: as it is, and as it stands in a quoted value.

    >>> sorted(forms("zoë"))
    ['zo\\xeb', 'zoë']
    """
    return {one, repr(one)[1:-1], ascii(one)[1:-1]}


def untold(error: BaseException) -> str:
    """Return an error's traceback without any message: places and types alone.

    >>> untold(KeyError("anna"))
    'KeyError'
    """
    parts: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        frames = "".join(traceback.format_tb(cause.__traceback__))
        parts.append(f"{frames}{type(cause).__name__}")
        cause = cause.__cause__ or cause.__context__
    return "\nafter\n".join(reversed(parts))


def print_untold(
    kind: type[BaseException],  # noqa: ARG001  # what `sys.excepthook` is given
    error: BaseException,
    trace: TracebackType | None,  # noqa: ARG001
) -> None:
    """Print an error that ends a process, for `sys.excepthook`."""
    sys.stderr.write(f"{untold(error)}\n")
