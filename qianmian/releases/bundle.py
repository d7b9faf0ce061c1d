"""A release in memory: ONNX sessions and resident arrays, ready to rank.

Serving and evaluation both rank through this object, so what is measured is what is served. It
holds no torch. A bundle is immutable: a new release is a new bundle.

Shapes: `n` items, `D` vector width, `N` candidates, `A` actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

from qianmian.contracts.events import EventType
from qianmian.errors import FieldError
from qianmian.features.encoding import Inputs, UserEncoder
from qianmian.features.item_table import Float32, Int32, ItemTable
from qianmian.features.memory import Memory
from qianmian.features.ranking_features import RankingFeatures
from qianmian.features.user_state import UserState
from qianmian.releases.manifest import MANIFEST_FILE, Manifest
from qianmian.retrieval.factors import Factors
from qianmian.retrieval.neighbours import Neighbours
from qianmian.retrieval.scale import ScoreScale
from qianmian.retrieval.sources import Candidates, Mask, Pool, SourceQuotas, propose

USER_TOWER_FILE: Final = "user_tower.onnx"
RANKER_FILE: Final = "ranker.onnx"
ITEM_VECTORS_FILE: Final = "item_vectors.npy"
NEIGHBOURS_FILE: Final = "neighbours.npz"
FACTORS_FILE: Final = "factors.npz"
ITEMS_FILE: Final = "items.parquet"
ENCODER_FILE: Final = "encoder.json"

USER_VECTOR_OUTPUT: Final = "user_vector"
FEATURES_INPUT: Final = "features"
CANDIDATES_INPUT: Final = "candidate_items"
PROBABILITIES_OUTPUT: Final = "probabilities"
HORIZON_OUTPUT: Final = "within_horizon"

PROVIDERS: Final = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """Everything that ranking needs of a release."""

    actions: tuple[EventType, ...]
    items: ItemTable
    vectors: Float32  # [n, D]
    neighbours: Neighbours
    factors: Factors
    scale: ScoreScale
    encoder: UserEncoder
    features: RankingFeatures
    user_tower: ort.InferenceSession
    ranker: ort.InferenceSession
    attends: bool = False  # whether the ranker reads what users remember, too
    manifest: Manifest | None = None

    @classmethod
    def load(cls, folder: Path, *, provider: str = "cpu", threads: int = 1) -> Bundle:
        """Load a published release; verify it first with `ReleaseStore.verify`."""
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        return cls.open(
            folder,
            actions=manifest.actions,
            as_of=manifest.data_end.timestamp(),
            provider=provider,
            threads=threads,
            manifest=manifest,
        )

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        actions: tuple[EventType, ...],
        as_of: float,
        provider: str = "cpu",
        threads: int = 1,
        manifest: Manifest | None = None,
    ) -> Bundle:
        """Load the files of a release that may not be published yet.

        Args:
            folder: where the files lie.
            actions: what the ranker's outputs stand for, in order.
            as_of: the moment (epoch seconds) the item statistics refer to.
            provider: `cpu` or `cuda`.
            threads: intra-op threads of each session.
            manifest: of a published release.

        Raises:
            FieldError: the provider is unknown or not available on this machine.
        """
        items = ItemTable.load(folder / ITEMS_FILE)
        vectors = np.load(folder / ITEM_VECTORS_FILE, mmap_mode="r")
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        encoder = UserEncoder.load(folder / ENCODER_FILE)
        ranker = _session(folder / RANKER_FILE, provider, threads)
        return cls(
            actions=actions,
            items=items,
            vectors=vectors,
            neighbours=Neighbours.load(folder / NEIGHBOURS_FILE),
            factors=Factors.load(folder / FACTORS_FILE),
            scale=ScoreScale.of(vectors, items.acted_on),
            encoder=encoder,
            features=RankingFeatures(items, vectors, encoder.affinity_columns, as_of),
            user_tower=_session(folder / USER_TOWER_FILE, provider, threads),
            ranker=ranker,
            attends=len(ranker.get_inputs()) > 1,
            manifest=manifest,
        )

    def pool(self, indices: Int32 | None = None) -> Pool:
        """Lay out the items that a venue may show; None means the whole catalogue."""
        return Pool.build(
            self.items,
            self.vectors,
            self.neighbours,
            self.factors,
            self.features.families,
            self.scale,
            indices,
        )

    def user_state(self, user_id: str, row: Mapping[str, object] | None) -> UserState:
        """Read a user from Feast's online row; None stands for a user of whom nothing is known."""
        tags = tuple(column.name for column in self.encoder.tag_columns)
        return UserState.read(user_id, row, self.items, tags)

    def user_vector(self, user: UserState, now: float) -> Float32:
        """Retrieval vector of a user at `now` (epoch seconds), float32 [D]."""
        inputs = self.encoder.encode([(user, now)], 1)
        vectors: Float32 = self.user_tower.run([USER_VECTOR_OUTPUT], inputs)[0]
        first: Float32 = vectors[0]
        return first

    def propose(
        self,
        user: UserState,
        vector: Float32,
        pool: Pool,
        quotas: SourceQuotas,
        allowed: Mask | None = None,
    ) -> Candidates:
        """Candidates from all sources within the pool and what the user may see of it."""
        return propose(user, vector, pool, quotas, allowed)

    @property
    def tells_horizon(self) -> bool:
        """Whether `expect` can be asked: the ranker's graph has that output."""
        return HORIZON_OUTPUT in {output.name for output in self.ranker.get_outputs()}

    def rank(self, user: UserState, candidates: Candidates, now: float) -> Float32:
        """Probability of each action for each candidate on a page, float32 [N, A].

        Where no logged page taught the target it is that within the horizon.
        """
        return self._asked(user, candidates, now, PROBABILITIES_OUTPUT)

    def expect(self, user: UserState, candidates: Candidates, now: float) -> Float32:
        """Probability of each action within the release's horizon, shown or not, float32 [N, A].

        What past sales are evaluated by.
        """
        return self._asked(user, candidates, now, HORIZON_OUTPUT)

    def describe(self, user: UserState, candidates: Candidates, now: float) -> Float32:
        """Ranking features of a user's candidates at `now` (epoch seconds), float32 [N, F]."""
        return self.features.compute(user, candidates, now)

    def _asked(self, user: UserState, candidates: Candidates, now: float, output: str) -> Float32:
        """One output of the ranker for each candidate, float32 [N, A].

        The graph is given what it reads: one that attends to memories names them as inputs.
        """
        given: Inputs = {FEATURES_INPUT: self.describe(user, candidates, now)[None]}
        if self.attends:
            given[CANDIDATES_INPUT] = (candidates.items.astype(np.int64) + 1)[None]
            given |= Memory.stack([Memory.of(user, now)]).inputs()
        return self.score(given, output)

    def score(self, given: Inputs, output: str) -> Float32:
        """One output of the ranker's graph for the candidates of one user, float32 [N, A]."""
        probabilities: Float32 = self.ranker.run([output], given)[0][0]
        return probabilities


def _session(path: Path, provider: str, threads: int) -> ort.InferenceSession:
    if provider not in PROVIDERS:
        raise FieldError("provider", provider, f"one of {', '.join(PROVIDERS)}")
    wanted = PROVIDERS[provider]
    if wanted[0] not in ort.get_available_providers():
        raise FieldError(
            "provider",
            provider,
            f"one that this onnxruntime has: {', '.join(ort.get_available_providers())}",
            "install onnxruntime-gpu from requirements/gpu.txt or set provider: cpu",
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=list(wanted))
