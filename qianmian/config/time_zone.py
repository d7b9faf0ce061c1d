"""The type of a key that names a time zone."""

from __future__ import annotations

import zoneinfo
from typing import Annotated

from pydantic import AfterValidator


def _known(value: str) -> str:
    if value not in zoneinfo.available_timezones():
        raise ValueError("expected an IANA time zone such as UTC or Asia/Shanghai")
    return value


TimeZone = Annotated[str, AfterValidator(_known)]
