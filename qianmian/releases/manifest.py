"""What a release says of itself: `manifest.json`, written once at publishing, never changed.

Training fills in `ReleaseFacts`; `ReleaseStore.publish` adds the id and the hash of each file and
so makes the `Manifest`. Serving reads it to decide whether it may use the release at all.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from qianmian.contracts.events import EventType
from qianmian.retrieval.sources import SourceQuotas

FORMAT: Final = 1
MANIFEST_FILE = "manifest.json"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataWindow(_Frozen):
    """The events that were learned from: `start <= timestamp < end`."""

    start: AwareDatetime
    end: AwareDatetime


class FileEntry(_Frozen):
    """One file of the release folder."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class ParityOutput(_Frozen):
    """One output of an exported graph against the same output of the torch module.

    `shape` names dynamic axes by word: `("users", 64)`.
    """

    graph: str
    name: str
    shape: tuple[int | str, ...]
    max_abs_diff: Annotated[float, Field(ge=0)]


class Parity(_Frozen):
    """Proof that the exported graphs compute what the torch modules compute.

    `top_k_agreement` is the share of the first `top_k` items of both orders that are the same.
    """

    batch_sizes: tuple[int, ...]
    tolerance: Annotated[float, Field(gt=0)] = 1e-5
    outputs: tuple[ParityOutput, ...]
    top_k: int
    top_k_agreement: Annotated[float, Field(ge=0, le=1)]
    passed: bool


class MetricRow(_Frozen):
    """One row of an evaluation; the baselines of the same run stand beside the models.

    `ci_low` and `ci_high` bound the NDCG. `ratio` is the NDCG of `two_stage` over the row's own,
    its interval from a paired bootstrap over users. What a system's lists are like as a whole
    (coverage, gini, novelty, diversity) is given for the slice `all` alone.
    """

    system: str
    slice: str
    k: int
    recall: float
    ndcg: float
    users: int
    ci_low: float | None = None
    ci_high: float | None = None
    mrr: float | None = None
    map: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    coverage: float | None = None
    gini: float | None = None
    novelty: float | None = None
    diversity: float | None = None


Period = Literal["test", "rehearsal"]


class CalibrationRow(_Frozen):
    """How well one action's probability holds on held-out time, in one segment of users.

    Over all candidates of all users of the segment: the mean of what was predicted and of what
    followed, their ratio, and the expected calibration error (mean distance of the two over bins
    of equal weight). In a rehearsal candidates were sampled, and count as many as they stand for;
    what pages taught is judged on them, place included.
    """

    action: EventType
    segment: str
    candidates: Annotated[int, Field(ge=0)]
    predicted: float
    actual: float
    ratio: float | None
    ece: Annotated[float, Field(ge=0)]
    #: Which time: after the split, judged of the release; or the last before it, judged of the
    #: rehearsal that gave the release its calibration.
    period: Period = "test"


class ReleaseFacts(_Frozen):
    """All that training knows of a release before it is published."""

    format: Literal[1] = FORMAT
    created: AwareDatetime
    dataset: str
    profile: str
    code_revision: str
    data_window: DataWindow
    #: For each model, hash of the features it reads and of the inputs made of them.
    feature_services: dict[str, Sha256]
    #: Actions the ranker gives a probability for, in the order of its output columns.
    actions: Annotated[tuple[EventType, ...], Field(min_length=1)]
    #: Candidates of each source that the metrics are of.
    quotas: SourceQuotas = SourceQuotas()
    #: Sizes worth knowing: items, users, vector width, ...
    dimensions: dict[str, int]
    metrics: tuple[MetricRow, ...] = ()
    #: A probability within the horizon is that of an action within so many days.
    horizon_days: float | None = None
    #: Actions that logged pages taught: the probability is that of an item that stands first.
    page_actions: tuple[EventType, ...] = ()
    #: Whether each action's calibration could be held to a time that it had not learned from, on
    #: pages and within the horizon alike.
    calibrated: dict[EventType, bool] = Field(default_factory=dict)
    #: The probabilities within the horizon against what followed after the split, without the
    #: actions that are known of pages alone; where that is too short, those of the rehearsal, with
    #: them. Empty without both.
    calibration: tuple[CalibrationRow, ...] = ()
    parity: Parity


class Manifest(ReleaseFacts):
    """`manifest.json` of a published release."""

    id: str
    files: dict[str, FileEntry]

    @property
    def data_end(self) -> datetime:
        """The moment up to which the release knows what happened."""
        return self.data_window.end
