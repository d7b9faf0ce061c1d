"""Import a source into its workspace: read, map, check, store."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from qianmian.data import complete_journey
from qianmian.data.checks import sound_or_refused
from qianmian.data.folder import Folder, read_folder
from qianmian.data.install import install
from qianmian.data.record import ImportRecord
from qianmian.data.source import Source, complete_journey_spec
from qianmian.workspace import Workspace

Progress = Callable[[str], None]


def import_source(
    source: Source,
    workspace: Workspace,
    progress: Progress,
    treat: Callable[[pa.Table], pa.Table] | None = None,
) -> ImportRecord:
    """Store a source as the workspace's data set, replacing what is there.

    `progress` is told the name of each step as it begins. `treat` is what is done to every table
    before it is looked at (`qianmian.identity.tables`). Nothing of a refused or interrupted
    import is left behind.

    Raises `DataError` with every fault of the source, or when another import of this data set is
    running.
    """
    progress("reading")
    folder = _complete_journey(source) if source.is_complete_journey else read_folder(source.path)
    if treat is not None:
        folder.tables = {file: treat(table) for file, table in folder.tables.items()}
    progress("checking")
    sound = sound_or_refused(folder, source.name)
    progress("storing")
    record = ImportRecord(
        fingerprint=source.fingerprint, source=source.shown, summary=sound.summary
    )
    install(workspace, sound.tables, sound.spec, record)
    return record


def _complete_journey(source: Source) -> Folder:
    declared = complete_journey_spec()
    tables = complete_journey.build_tables(source.path, declared.time_zone)
    return Folder(source.path, tables.by_file(), declared)
