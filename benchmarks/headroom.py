r"""Headroom: how much better a ranker could be, had it known what nobody can know beforehand.

    python -m benchmarks.headroom > headroom.json

Progress goes to stderr, one JSON object to stdout. Both models are trained as `benchmarks.quality`
does, on Complete Journey eight weeks before its split, so that eight weeks follow what is judged.
On the candidates and ranking features of the two-stage model, with its chance and lambdarank's
score beside them, gradient-boosted trees then learn from the judged weeks themselves, of other
users (five folds):

- `two_stage`, `lambdarank`: as they are, from the past alone;
- `own_weeks`: trees that know how the judged weeks went for others;
- `hindsight`: the same, and on how many days of the eight weeks *after* the judged ones the user
  bought the item, and how many users did;
- `perfect`: the candidates in the best order.

Trees come with two objectives. `over_lambdarank` holds NDCG@20 over lambdarank's, by slice, with
paired intervals over users. What hindsight gains is no strict bound, but what it does not find, no
ranker of the past on these candidates and features can be expected to find. With
`--case complete-journey` no weeks follow, and hindsight is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks import command
from benchmarks.quality import peers
from benchmarks.quality.cases import Case, case_of, pool_of, prepare
from benchmarks.trained import trained
from qianmian.contracts import columns as c
from qianmian.data.store import Dataset
from qianmian.features.item_table import Float32, Int32
from qianmian.features.store import FeatureRepo
from qianmian.features.user_state import SECONDS_PER_DAY
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.sources import SourceQuotas
from qianmian.workspace import Workspace
from training.evaluate import Evaluation, catalogue_of, evaluate
from training.history import History
from training.metrics import Interval, Resampled
from training.profile import TrainingProfile, load_profile
from training.slices import ALL, NEW, REPEAT, Ranking
from training.subjects import Subject, refuse_a_known_future, subjects_of
from training.systems import TWO_STAGE, System, models, proposing, ranked_items

AFTER_DAYS: Final = 56
FOLDS: Final = 5
OBJECTIVES: Final = ("binary", "lambdarank")
K: Final = 20


def main() -> None:
    """Measure and print."""
    options = _options()
    case = case_of(options.case)
    profile = load_profile(options.profile).model_copy(update={"seed": options.seed})
    report = {
        **measured(case, prepare(case, options.home, profile, command.say), profile),
        "profile": profile.name,
    }
    command.report(report)


def measured(case: Case, workspace: Workspace, profile: TrainingProfile) -> dict[str, Any]:
    """Train, ask, learn from the judged weeks: NDCG of every system, and over lambdarank's."""
    dataset, repo = Dataset.open(workspace), FeatureRepo.open(workspace)
    refuse_a_known_future(dataset)
    with trained(dataset, repo, profile, command.say) as (learned, bundle):
        history, quotas = learned.run.history, SourceQuotas()
        pool = pool_of(case, dataset, history.catalogue)
        ranked = ranked_items(history, pool)
        subjects = list(subjects_of(history, dataset, pool))
        past = {
            TWO_STAGE: models(history, bundle, ranked, quotas)[TWO_STAGE],
            peers.LAMBDARANK: peers.lambdarank(
                learned.examples, history, bundle, ranked, quotas, seed=profile.seed
            ),
        }
        command.say(f"describing the candidates of {len(subjects):,} users")
        asked = _asked(subjects, history, bundle, ranked, quotas, past)
        end = dataset.spec.split.test_end.timestamp()
        after = After.read(dataset, history, since=end, days=AFTER_DAYS)
        systems = {
            **{name: _as_system(asked, [one.scores[name] for one in asked]) for name in past},
            **knowing(asked, after, seed=profile.seed),
        }
        evaluation = evaluate(
            subjects,
            systems,
            catalogue_of(history, ranked),
            item_ids=history.catalogue.item_ids,
            progress=command.say,
        )
    return {
        "ndcg": _ndcg(evaluation, systems),
        "over_lambdarank": _ratios(evaluation, systems),
        "users": len(subjects),
        "case": case.name,
        "seed": profile.seed,
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """A user's candidates as the rankers see them. Shapes: `R` candidates, `F` features."""

    user_id: str
    items: Int32  # [R]
    scores: dict[str, npt.NDArray[np.floating]]  # [R] each, of what learned from the past
    known: Float32  # [R, F + 2] ranking features, and those scores
    wanted: npt.NDArray[np.bool_]  # [R] acted on in the judged weeks


def _asked(
    subjects: Sequence[Subject],
    history: History,
    bundle: Bundle,
    ranked: Int32,
    quotas: SourceQuotas,
    past: dict[str, System],
) -> list[Asked]:
    proposed, cut, found = proposing(history, bundle, ranked, quotas), history.cut, []
    for subject in subjects:
        candidates = proposed(subject)
        scores = {name: system(subject).scores for name, system in past.items()}
        rows = bundle.describe(subject.state, candidates, cut)
        known = np.column_stack([rows, *scores.values()]).astype(np.float32)
        wanted = np.isin(candidates.items, subject.relevant)
        found.append(Asked(subject.user_id, candidates.items, scores, known, wanted))
    return found


@dataclass(frozen=True, slots=True)
class After:
    """Target actions in the weeks after the judged ones."""

    days: dict[str, dict[int, int]]  # user -> item -> days with a target action
    users: npt.NDArray[np.int64]  # [n] users with one, by item

    @classmethod
    def read(cls, dataset: Dataset, history: History, *, since: float, days: float) -> After | None:
        """Those of `days` from `since` (epoch seconds); None where the data end before."""
        end = since + days * SECONDS_PER_DAY
        events = dataset.events([c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.TIMESTAMP], since=since)
        at = events[c.TIMESTAMP].to_numpy(dtype="datetime64[us]").astype(np.int64) * 1e-6
        if not len(at) or at.max() < end - SECONDS_PER_DAY:
            return None
        kept = (events[c.EVENT_TYPE] == history.target.value).to_numpy() & (at < end)
        events = events[kept].assign(
            item=history.catalogue.indices_of(events[kept][c.ITEM_ID].astype(str)),
            user=events[kept][c.USER_ID].astype(str),
            day=(at[kept] // SECONDS_PER_DAY).astype(np.int64),
        )
        known = events.loc[events["item"] >= 0, ["user", "item", "day"]].drop_duplicates()
        pairs = known.groupby(["user", "item"], as_index=False).size()
        by_user = {
            str(user): dict(zip(part["item"].tolist(), part["size"].tolist(), strict=True))
            for user, part in pairs.groupby("user")
        }
        return cls(by_user, np.bincount(pairs["item"], minlength=len(history.catalogue)))

    def of(self, asked: Asked) -> Float32:
        """What a user's candidates became, [R, 2]: days of the user, users of the item."""
        days = self.days.get(asked.user_id, {})
        own = [days.get(item, 0) for item in asked.items.tolist()]
        return np.column_stack([own, self.users[asked.items]]).astype(np.float32)


def knowing(asked: list[Asked], after: After | None, *, seed: int) -> dict[str, System]:
    """Systems that learned from the judged weeks of other users, and the perfect order."""
    told = {"own_weeks": [one.known for one in asked]}
    if after is not None:
        told["hindsight"] = [np.column_stack([one.known, after.of(one)]) for one in asked]
    systems = {}
    for name, rows in told.items():
        for objective in OBJECTIVES:
            command.say(f"{name}, {objective}: {FOLDS} folds")
            scores = _cross_fitted(rows, [one.wanted for one in asked], objective, seed)
            systems[f"{name}_{objective}"] = _as_system(asked, scores)
    systems["perfect"] = _as_system(asked, [one.wanted.astype(np.float64) for one in asked])
    return systems


def _as_system(asked: list[Asked], scores: list[npt.NDArray[np.floating]]) -> System:
    ranking = {
        one.user_id: Ranking(one.items, given) for one, given in zip(asked, scores, strict=True)
    }
    return lambda subject: ranking[subject.user_id]


def _cross_fitted(
    rows: list[Float32], wanted: list[npt.NDArray[np.bool_]], objective: str, seed: int
) -> list[npt.NDArray[np.floating]]:
    """Scores of each user's candidates by trees that learned from the users of other folds."""
    import lightgbm as lgb

    fold = np.random.default_rng(seed).permutation(len(rows)) % FOLDS
    scores: list[npt.NDArray[np.floating]] = [np.zeros(0)] * len(rows)
    for held in range(FOLDS):
        of_others = np.flatnonzero(fold != held)
        data = lgb.Dataset(
            np.concatenate([rows[i] for i in of_others]),
            np.concatenate([wanted[i] for i in of_others]),
            group=[len(rows[i]) for i in of_others],
        )
        model = lgb.train({**_TREES, "objective": objective, "seed": seed}, data, _ROUNDS)
        for i in np.flatnonzero(fold == held):
            scores[i] = np.asarray(model.predict(rows[i], num_threads=1), dtype=np.float64)
    return scores


_ROUNDS: Final = 120
_TREES: Final = {
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "lambdarank_truncation_level": 1000,  # every pair, as the rival
    "verbose": -1,
    "num_threads": 1,
}


def _ndcg(evaluation: Evaluation, systems: dict[str, System]) -> dict[str, dict[str, float]]:
    slices = _slices(evaluation)
    return {
        name: {label: float(evaluation.ndcg(name, label, K).mean()) for label in slices}
        for name in systems
    }


def _slices(evaluation: Evaluation) -> list[str]:
    """Those of interest that there are: where nobody acts on an item again, nothing is repeated."""
    return [label for label in (ALL, REPEAT, NEW) if label in evaluation.members]


def _ratios(evaluation: Evaluation, systems: dict[str, System]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    slices = _slices(evaluation)
    drawn = {label: Resampled.draw(len(evaluation.members[label]), rng) for label in slices}

    def over(name: str, label: str) -> Interval:
        rival = evaluation.ndcg(peers.LAMBDARANK, label, K)
        return drawn[label].ratio(evaluation.ndcg(name, label, K), rival)

    return {
        name: {label: over(name, label)._asdict() for label in slices}
        for name in systems
        if name != peers.LAMBDARANK
    }


def _options() -> argparse.Namespace:
    parser = command.parser("headroom", __doc__)
    parser.add_argument("--home", type=Path, default=Path("var/benchmarks/quality"))
    parser.add_argument("--case", default="complete-journey-early", help="of benchmarks.quality")
    parser.add_argument("--profile", default="quick", help="a file of configs/training/")
    parser.add_argument("--seed", type=command.at_least(0), default=17)
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
