"""Where everything of one data set lies on disk: the single truth for paths.

A workspace is `<root>/<dataset>/` with the imported data, the feature snapshots, the Feast stores,
training state and releases. The root is given by the caller (the CLI reads `QIANMIAN_HOME`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROJECT_ROOT = Path(__file__).resolve().parent.parent
CONFIGS = PROJECT_ROOT / "configs"
FEATURE_REPO = PROJECT_ROOT / "feature_repo"
DEFAULT_DATASET = "complete-journey"

#: The journal of a search among its checkpoints; it tells of knobs, and of nobody.
TRIALS_FILE: Final = "trials.log"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths of one data set below `root`."""

    root: Path
    dataset: str = DEFAULT_DATASET

    @property
    def path(self) -> Path:
        return self.root / self.dataset

    @property
    def data(self) -> Path:
        """The imported data set: events.parquet, dataset.yaml and the optional tables."""
        return self.path / "data"

    @property
    def features(self) -> Path:
        """Feature snapshots as Parquet, one folder a feature view: Feast's offline source."""
        return self.path / "features"

    @property
    def feast(self) -> Path:
        """Feast's registry and, with the embedded engine, its online store."""
        return self.path / "feast"

    @property
    def events(self) -> Path:
        """The event log and the topics, with the embedded engine."""
        return self.path / "events"

    @property
    def archive(self) -> Path:
        """Events of the service as Parquet by day: what a retrain reads beside the import."""
        return self.path / "archive"

    @property
    def split_file(self) -> Path:
        """Where the split falls, once it was moved from where the import put it."""
        return self.path / "split.yaml"

    @property
    def training(self) -> Path:
        """Training state: prepared inputs, checkpoints, evaluation output."""
        return self.path / "training"

    @property
    def checkpoints(self) -> Path:
        """What killed trainings and searches go on from."""
        return self.training / "checkpoints"

    @property
    def releases(self) -> Path:
        """Published releases and their aliases."""
        return self.path / "releases"

    @property
    def identity(self) -> Path:
        """The secret of pseudonyms and receipts, and erasures with their receipts."""
        return self.path / "identity"

    @property
    def decisions(self) -> Path:
        """The decision log: segments of what was shown to whom and why."""
        return self.path / "decisions"

    @property
    def venues(self) -> Path:
        """Venue files as they were last taken over, for a service that starts on a broken one."""
        return self.path / "venues"

    @property
    def campaigns(self) -> Path:
        """Campaign files as they were last taken over, as those of venues."""
        return self.path / "campaigns"

    @staticmethod
    def datasets(root: Path) -> list[str]:
        """Names of the data sets imported below `root`."""
        return sorted(p.parent.parent.name for p in root.glob("*/data/import.json"))
