"""At which moments the ranker's candidates are proposed."""

from types import SimpleNamespace

from training.profile import RankerProfile, TrainingProfile
from training.through_time import ranker_moments

WEEK = 7 * 86_400.0


def moments_of(*, weeks: int, snapshots: int) -> list[float]:
    """Numbers of the weeks at which candidates are proposed; the cut is the last of `weeks`."""
    ranker = RankerProfile(snapshots=snapshots, horizon_days=28)
    profile = TrainingProfile(name="test", description="test", ranker=ranker)
    moments = tuple(week * WEEK for week in range(1, weeks + 1))
    history = SimpleNamespace(moments=moments, cut=weeks * WEEK)
    return [moment / WEEK for moment in ranker_moments(history, profile)]


def test_the_last_moment_is_one_horizon_before_the_cut() -> None:
    assert moments_of(weeks=20, snapshots=3) == [14, 15, 16]


def test_the_earlier_half_is_left_to_the_towers() -> None:
    assert min(moments_of(weeks=20, snapshots=50)) == 10
    assert moments_of(weeks=6, snapshots=50) == [2]
