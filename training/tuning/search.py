"""The search, top to bottom: candidates once -> trials on held-out time -> the best one, proven.

    qianmian tune --profile standard --minutes 60

1. train the two-tower model and propose candidates, as a training run does; every trial learns from
   the same ones
2. each trial trains a ranker with other knobs on what was known before the last moment and orders
   that moment's candidates; the first is the profile as it is. Half of the users choose
   (TPE: Bergstra et al., 2011, by Optuna)
3. the best is trained again beside the profile as it is, from another seed, and judged by the other
   half: whoever picks the best of many has picked good luck, too

A search that was killed goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from qianmian.data.store import Dataset
from qianmian.errors import TrainingError
from qianmian.features.store import FeatureRepo
from qianmian.features.user_state import SECONDS_PER_DAY
from qianmian.workspace import TRIALS_FILE, Workspace
from training import teacher
from training.checkpoint import Checkpoint
from training.lesson import with_target_on_page
from training.machine import for_training
from training.metrics import Bools, Floats, Interval, Resampled
from training.pipeline import seed_everything
from training.profile import RankerProfile, TrainingProfile
from training.proposals import Examples
from training.quiet import quiet_libraries
from training.ranker import Task, rehearse
from training.run import Progress, prepare, read_history
from training.through_time import fit_two_tower, ranker_moments
from training.tuning.judged import Judged, K, judged
from training.tuning.knobs import KNOBS, Drawn, as_drawn, own, turned

OptunaTrial: TypeAlias = Any
_OWN, _NDCG = "own", "ndcg"  # what a trial says of itself
_ENDING: Final = 3  # trainings that must fit: a trial and the proof
_HOPELESS: Final = 5  # failures in a row
_LITTLE: Final = 0.1  # a gain counts as no less


@dataclass(frozen=True, slots=True)
class Found:
    """The best of a search, and its NDCG@20 over the profile's own for the other users.

    A training of each, from one seed: intervals are of the users alone.
    """

    trials: int
    changed: Mapping[str, Drawn]  # by knob; nothing where none was ahead of the profile as it is
    profile: RankerProfile
    all: Interval | None = None
    new: Interval | None = None

    @property
    def confirmed(self) -> bool:
        """Whether the others found it ahead, too: by all and new together, as it was chosen."""
        leads = [lead.value for lead in (self.all, self.new) if lead is not None]
        return bool(self.changed and leads) and math.prod(leads) > 1.0


def search(
    workspace: Workspace,
    profile: TrainingProfile,
    names: Sequence[str],
    *,
    minutes: float,
    fewest: int = 2,
    checkpoint: Checkpoint,
    progress: Progress,
) -> Found:
    """Search some knobs of a profile's ranker for so many minutes, proof included.

    The minutes are those of trials: proposing candidates comes before them. A trial is not begun
    that would not end in time with the proof behind it, unless it is one of the `fewest`.

    Args:
        workspace: of the data set.
        profile: where the search begins.
        names: the knobs (`training.tuning.knobs.chosen`).
        minutes: for trials and proof.
        fewest: trials however long they take; the first is the profile as it is.
        checkpoint: what a killed search goes on from; the caller's to clear.
        progress: is told each step.

    Raises:
        TrainingError: Optuna is not installed, or the data is too short to hold a moment out.
        FeatureStoreError: the features were not built.
    """
    library()
    dataset, repo = Dataset.open(workspace), FeatureRepo.open(workspace)
    with for_training(), quiet_libraries():
        seed_everything(profile.seed)
        if profile.ranker.teacher.trees:
            teacher.library()  # what is missing is told before the towers learn
        run = prepare(read_history(dataset, repo, profile), profile, progress)
        task, moments = Task.of(run.history), ranker_moments(run.history, profile)
        horizon = profile.ranker.horizon_days * SECONDS_PER_DAY
        learn = sum(moment + horizon <= moments[-1] + 1.0 for moment in moments)
        if not learn:
            raise _nothing_held_out()  # before the towers learn
        run.whole = moments[-1]
        progress(f"a trial learns from {learn} of the ranker's {len(moments)} moments")
        examples = with_target_on_page(fit_two_tower(run, checkpoint), task.target)
        trials = Trials(examples, task, profile, tuple(names), progress)
        return trials.run(checkpoint.folder / TRIALS_FILE, seconds=60.0 * minutes, fewest=fewest)


def library() -> Any:
    """Optuna.

    Raises:
        TrainingError: it is not installed.
    """
    try:
        import optuna  # noqa: PLC0415  # only a search needs it
    except ImportError as error:
        raise TrainingError(
            f"Optuna, which a search needs, cannot be loaded ({error}): install the extra "
            "qianmian[tune]"
        ) from error
    return optuna


class Trials:
    """Rankers of one task, each trained with its own knobs and judged on the same held-out time."""

    def __init__(
        self,
        examples: Examples,
        task: Task,
        profile: TrainingProfile,
        names: tuple[str, ...],
        progress: Progress,
    ) -> None:
        """`examples` are those of `training.ranker.rehearse`."""
        self._examples = examples
        self._task = task
        self._base = profile.ranker
        self._own = {name: as_drawn(own(profile.ranker, name)) for name in names}
        self._seed = profile.seed
        self._progress = progress

    def run(self, journal: Path, *, seconds: float, fewest: int = 2) -> Found:
        """Try for so many seconds, from where the journal says that an earlier search was.

        `fewest` trials are made however long they take.

        Raises:
            TrainingError: no moment can be held out, or nothing can be learned.
        """
        study = self._study(journal)
        while len(_ended(study)) < fewest or _fits(study, seconds):
            self._try(study)
            if not any(trial.value is not None for trial in _ended(study)[-_HOPELESS:]):
                raise TrainingError(f"{_HOPELESS} trials failed in a row: their errors stand above")
        return self._proven(study)

    def _study(self, journal: Path) -> Any:
        optuna = library()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        journal.parent.mkdir(parents=True, exist_ok=True)
        backend = optuna.storages.journal.JournalFileBackend(str(journal))
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name="ranker",
            direction="maximize",
            load_if_exists=True,
        )
        # One that goes on draws from another seed than before, or it would draw the same again.
        (seed,) = np.random.SeedSequence([self._seed, len(study.trials)]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(seed))
        if ended := _ended(study):
            self._progress(f"going on after {len(ended)} trials of an earlier search")
        else:
            study.enqueue_trial(self._own, user_attrs={_OWN: True})
        return study

    def _try(self, study: Any) -> None:
        """One trial; one whose training fails is told, and only the profile's own may not."""
        trial = study.ask()
        drawn = {name: KNOBS[name].draw(trial, name, own(self._base, name)) for name in self._own}
        try:
            found, chooses = self._judged(drawn, self._seed), self._choosing
        except TrainingError as error:
            if not _ended(study):
                raise
            self._progress(f"trial {trial.number} failed: {error}")
            study.tell(trial, state=library().trial.TrialState.FAIL)
            return
        means = [_mean(values[chooses]) for values in found]
        first = _first(study).user_attrs[_NDCG] if _ended(study) else means
        gains = [a / b if b else 1.0 for a, b in zip(means, first, strict=True)]  # 0: tells nothing
        trial.set_user_attr(_NDCG, means)
        study.tell(trial, float(np.mean(np.log(np.maximum(gains, _LITTLE)))))
        self._progress(f"trial {trial.number}: {self._told(means, gains, drawn)}")

    def _told(
        self, means: Sequence[float], gains: Sequence[float], drawn: Mapping[str, Drawn]
    ) -> str:
        levels = ", ".join(f"{m:.4f} {name}" for m, name in zip(means, Judged._fields, strict=True))
        if drawn == self._own:
            return f"the profile as it is has an NDCG@{K} of {levels}"
        ahead = " and ".join(f"{gain:.4f}" for gain in gains)
        return f"{levels}, {ahead} times the profile's own; {shown(drawn)}"

    def _proven(self, study: Any) -> Found:
        """Train the best and the profile as it is from another seed; the other users judge.

        One that cannot be trained again is passed over for the next best.
        """
        tried, theirs = len(_ended(study)), None
        ahead = [t for t in _ended(study) if t.value is not None and t.value > 0]
        for trial in sorted(ahead, key=lambda t: -t.value):
            self._progress(f"trial {trial.number} again beside the profile as it is, another seed")
            theirs = theirs or self._judged(self._own, self._seed + 1)
            try:
                ours = self._judged(trial.params, self._seed + 1)
            except TrainingError as error:
                self._progress(f"trial {trial.number} failed this time: {error}")
                continue
            leads = [self._lead(a, b) for a, b in zip(ours, theirs, strict=True)]
            changed = {n: value for n, value in trial.params.items() if value != self._own[n]}
            return Found(tried, changed, turned(self._base, trial.params), *leads)
        return Found(tried, {}, self._base)

    def _lead(self, ours: Floats, theirs: Floats) -> Interval | None:
        """Ours over theirs for the users who did not choose; None where none of them counts."""
        counts = ~self._choosing & np.isfinite(ours)
        if not counts.any():
            return None
        drawn = Resampled.draw(int(counts.sum()), np.random.default_rng(self._seed))
        return drawn.ratio(ours[counts], theirs[counts])

    def _judged(self, drawn: Mapping[str, Drawn], seed: int) -> Judged:
        torch.manual_seed(seed)
        rehearsal = rehearse(
            self._examples,
            turned(self._base, drawn),
            self._task,
            rng=np.random.default_rng(seed),
            progress=lambda _: None,
        )
        if rehearsal is None:
            raise _nothing_held_out()
        held_out = rehearsal.held_out.groups(~rehearsal.held_out.shown)
        task = self._task
        found = judged(rehearsal.ranker, held_out, target=task.target, repeat=task.repeat)
        if not np.isfinite(found.all).any():
            raise TrainingError(
                "no candidate of the held-out moment was acted on: nothing to judge by"
            )
        return found

    @cached_property
    def _choosing(self) -> Bools:
        """Which groups of the held-out moment choose, bool [G]; the others prove."""
        last = self._examples.moments[~self._examples.shown].max()
        groups = ~self._examples.shown & ~self._examples.launched & (self._examples.moments == last)
        size = int(groups.sum())
        return np.random.default_rng(self._seed).permutation(size) < size // 2


def _nothing_held_out() -> TrainingError:
    return TrainingError(
        "no moment can be held out: a ranker must learn from one whose horizon had ended before "
        "it; set ranker.snapshots higher, or ranker.horizon_days lower"
    )


def shown(drawn: Mapping[str, Drawn]) -> str:
    """Knobs and their values, as one line."""
    return ", ".join(
        f"{name}={value if isinstance(value, str) else format(value, '.6g')}"
        for name, value in drawn.items()
    )


def _ended(study: Any) -> list[OptunaTrial]:
    """Trials that were told how they went, those without a value failed."""
    states = library().trial.TrialState
    ended = study.get_trials(deepcopy=False, states=(states.COMPLETE, states.FAIL))
    return [trial for trial in ended if trial.datetime_start is not None]


def _fits(study: Any, seconds: float) -> bool:
    """Whether another trial and the proof fit into the time, by how long trials have taken."""
    took = [float(trial.duration.total_seconds()) for trial in _ended(study)]
    return sum(took) + _ENDING * max(took) < seconds


def _first(study: Any) -> OptunaTrial:
    return next(trial for trial in _ended(study) if trial.user_attrs.get(_OWN))


def _mean(values: Floats) -> float:
    counted = values[np.isfinite(values)]
    return float(counted.mean()) if len(counted) else 0.0
