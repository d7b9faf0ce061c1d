"""What a page's candidates cost in the ranker's graph: attention, trees and several networks.

    python -m benchmarks.ranker_graph > ranker_graph.json

Progress goes to stderr, one JSON object to stdout. The rankers of the shipped profiles are exported
as a training does it, for the data set's own catalogue, features and actions: networks untrained,
trees grown on made-up candidates, which cost them some 1.7 times as much as real ones. They are
asked for as many candidates as serving ranks for one user, on one thread, and take turns, round by
round; p50 and p99 in ms, and `ratio` of the medians to the first profile's.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Final

import numpy as np
import onnxruntime as ort
import torch

from benchmarks import command
from models.ranker import Ranker
from qianmian.data.store import Dataset
from qianmian.features.encoding import Inputs
from qianmian.features.memory import MEMORY_LENGTH, TYPES, Memory
from qianmian.features.ranking_features import IS_REPEAT, feature_names
from qianmian.features.store import FeatureRepo
from qianmian.releases.bundle import PROBABILITIES_OUTPUT, RANKER_FILE
from qianmian.retrieval.sources import SourceQuotas
from qianmian.workspace import Workspace
from training.export import export_ranker, ranker_inputs
from training.history import History
from training.profile import load_profile
from training.proposals import Examples
from training.quiet import quiet_libraries
from training.ranker import attribute_codes
from training.teacher import taught

CANDIDATES: Final = sum(SourceQuotas().model_dump().values())
SEED: Final = 17


def main() -> None:
    """Measure and print."""
    options = _options()
    shop = _Shop(Workspace(options.home, options.dataset))
    graphs = {name: shop.graph(name) for name in options.profiles}
    times: dict[str, list[float]] = {name: [] for name in graphs}
    for number in range(options.rounds):
        for name, (session, given) in graphs.items():
            times[name] += [_took(session, given) for _ in range(options.repeats)]
        command.say(f"round {number + 1} of {options.rounds}")
    first = median(times[options.profiles[0]])
    report = {
        "profiles": {
            name: {
                "p50_ms": round(median(taken), 3),
                "p99_ms": round(quantiles(taken, n=100)[-1], 3),
                "ratio": round(median(taken) / first, 2),
            }
            for name, taken in times.items()
        },
        "candidates": CANDIDATES,
        "remembered": MEMORY_LENGTH,
        "rounds": options.rounds,
        "repeats": options.repeats,
    }
    command.report(report)


class _Shop:
    """What a ranker of the data set reads."""

    def __init__(self, workspace: Workspace) -> None:
        dataset, repo = Dataset.open(workspace), FeatureRepo.open(workspace)
        cut = dataset.spec.split.train_end.timestamp()
        history = History(dataset, repo, moments=(cut,), cut=cut)
        self.names = feature_names(history.affinity_columns)
        self.actions = len(history.predicted)
        self.codes = attribute_codes(history.catalogue)

    def graph(self, profile: str) -> tuple[ort.InferenceSession, Inputs]:
        """The exported ranker of a profile, on one thread, and what it is asked."""
        command.say(f"exporting the ranker of {profile}")
        knobs, rng = load_profile(profile).ranker, np.random.default_rng(SEED)
        torch.manual_seed(SEED)
        ranker = Ranker(
            features=len(self.names),
            actions=self.actions,
            hidden=knobs.hidden,
            members=knobs.members,
            repeat=self.names.index(IS_REPEAT),
            interest=knobs.interest,
            codes=torch.from_numpy(self.codes),
            types=TYPES,
            trees=taught(self._wanted(rng), 0, knobs.teacher, rng, command.say).trees,
        ).eval()
        examples = self._examples(CANDIDATES, rng)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        with tempfile.TemporaryDirectory() as folder, quiet_libraries():
            export_ranker(ranker, examples, Path(folder))
            session = ort.InferenceSession(
                Path(folder) / RANKER_FILE, options, providers=["CPUExecutionProvider"]
            )
        return session, ranker_inputs(ranker, examples, 1, CANDIDATES)

    def _wanted(self, rng: np.random.Generator) -> Examples:
        """Candidates enough for full trees; which are wanted depends on three features."""
        examples = self._examples(_GROWN_ON, rng)
        odds = examples.features[:, :3].sum(axis=1) - 2.0
        examples.labels[:, 0] = rng.random(_GROWN_ON) < 1.0 / (1.0 + np.exp(-odds))
        return examples

    def _examples(self, candidates: int, rng: np.random.Generator) -> Examples:
        """A user who remembers as much as can be, and candidates."""
        items = rng.integers(1, len(self.codes), candidates + MEMORY_LENGTH).astype(np.int32)
        return Examples(
            features=rng.normal(size=(candidates, len(self.names))).astype(np.float32),
            items=items[:candidates],
            labels=np.zeros((candidates, self.actions), dtype=np.float32),
            weights=np.ones(candidates, dtype=np.float32),
            starts=np.array([0, candidates]),
            moments=np.zeros(1),
            positions=np.zeros(candidates, dtype=np.int32),
            shown=np.zeros(1, dtype=np.bool_),
            launched=np.zeros(1, dtype=np.bool_),
            memory=Memory(
                items=items[None, candidates:],
                days=rng.random((1, MEMORY_LENGTH), dtype=np.float32) * 5,
                types=rng.integers(1, TYPES, (1, MEMORY_LENGTH), dtype=np.int32),
            ),
            segments=np.full((1, 1), ""),
        )


_GROWN_ON: Final = 50_000


def _took(session: ort.InferenceSession, given: Inputs) -> float:
    began = perf_counter()
    session.run([PROBABILITIES_OUTPUT], given)
    return (perf_counter() - began) * 1e3


def _options() -> argparse.Namespace:
    parser = command.parser("ranker_graph", __doc__)
    command.add_workspace(parser)
    parser.add_argument("--profiles", nargs="+", default=["quick", "standard"], metavar="PROFILE")
    parser.add_argument("--rounds", type=command.count, default=20)
    parser.add_argument("--repeats", type=command.at_least(2), default=100)
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
