"""Both models of one training run as serving would open them, from a folder that does not stay."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qianmian.data.store import Dataset
from qianmian.features.store import FeatureRepo
from qianmian.releases.bundle import Bundle
from training.machine import for_training
from training.pipeline import Learned, export, learn
from training.profile import TrainingProfile
from training.quiet import quiet_libraries
from training.run import Progress


@contextmanager
def trained(
    dataset: Dataset, repo: FeatureRepo, profile: TrainingProfile, progress: Progress
) -> Iterator[tuple[Learned, Bundle]]:
    """What was learned, and the exported graphs; to be judged within, with one BLAS thread."""
    with (
        for_training(),
        quiet_libraries(),
        tempfile.TemporaryDirectory() as place,
    ):
        learned = learn(dataset, repo, profile, progress)
        export(learned, Path(place))
        history = learned.run.history
        yield learned, Bundle.open(Path(place), actions=history.predicted, as_of=history.cut)
