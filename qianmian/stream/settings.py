"""How the stream works: the part `args.stream` of the Serve config file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from qianmian.config import ConfigModel


class ArchiveSettings(ConfigModel):
    """When events leave the log for the archive."""

    window_minutes: Annotated[float, Field(gt=0)] = 60.0
    """Length of a window of receiving times; it is archived whole."""
    close_after_seconds: Annotated[float, Field(ge=0)] = 60.0
    """How long after its end a window is closed."""
    look_seconds: Annotated[float, Field(gt=0)] = 30.0
    """Wait between two looks for closed windows."""
    events_at_once: Annotated[int, Field(ge=1)] = 20_000
    """Events of one part, at most."""
    parts_a_day: Annotated[int, Field(ge=1)] = 8
    """Parts of a day; when there are more, they become one."""


class StreamSettings(ConfigModel):
    """Rhythm of the stream process."""

    poll_seconds: Annotated[float, Field(gt=0)] = 0.02
    """Wait between two looks at the log while there is nothing to do."""
    read_events: Annotated[int, Field(ge=1)] = 2_000
    """Events taken from the log at once; they are committed together."""
    subjects_at_once: Annotated[int, Field(ge=1)] = 64
    """Subjects whose features are computed and written together; the next ones wait."""
    statistics_seconds: Annotated[float, Field(gt=0)] = 3.0
    """Wait between two refreshes of the statistics of items with new events."""
    statistics_rows: Annotated[int, Field(ge=1)] = 60_000
    """Events read for one refresh, about; the items that waited longest come first."""
    archive: ArchiveSettings = ArchiveSettings()
    """When events leave the log for the archive."""
