"""Releases come and go under a running service."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from qianmian.contracts.api import RECOMMEND_REQUEST
from qianmian.errors import ConfigError
from qianmian.experiments import FeedParams
from qianmian.releases.store import ReleaseStore
from serving.service import VenueService
from serving.worlds import NotReadyError
from tests.serving import tiny
from tests.serving.shop import live_at, service

QUESTION = RECOMMEND_REQUEST.validate_json(b'{"user": {"id": "anna"}}')


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def releases(home: Path) -> ReleaseStore:
    return ReleaseStore(home / tiny.DATASET / "releases")


def promote(releases: ReleaseStore, release: str, alias: str = "live") -> None:
    releases.promote(release, alias, schema=tiny.SCHEMA, at=tiny.END)


def answering(one: VenueService) -> str:
    return one.recommend("all", QUESTION)["release"]


def test_not_ready_until_a_release_is_promoted(home: Path, releases: ReleaseStore) -> None:
    one = service(home)
    assert one.readiness()["ready"] is False
    with pytest.raises(NotReadyError, match="unknown release 'live'; known: none; publish one"):
        one.recommend("all", QUESTION)
    release = tiny.write_release(releases)
    one.refresh()
    assert one.worlds.world is None, "published is not promoted"
    promote(releases, release)
    one.refresh()
    assert answering(one) == release
    assert one.readiness() == {
        "ready": True,
        "release": release,
        "dataset": "tiny",
        "now": "2017-12-05T05:00:00+00:00",
        "refused": None,
        "venue_files_refused": {},
        "campaign_files_refused": {},
        "stream": "never",
        "facts": "unfollowed",
    }


def test_promotion_and_rollback_reach_a_running_service(home: Path, releases: ReleaseStore) -> None:
    first = tiny.write_release(releases)
    second = tiny.write_release(releases, order_bias=1.0, days=1)
    promote(releases, first)
    one = service(home)
    before = one.worlds.world
    one.refresh()
    assert one.worlds.world is before, "nothing was promoted"
    promote(releases, second)
    one.refresh()
    assert answering(one) == second
    assert before is not None
    assert before.release.id == first, "a request that began before keeps its world"
    releases.rollback(schema=tiny.SCHEMA, at=tiny.END)
    one.refresh()
    assert answering(one) == first


def test_damaged_release_is_refused_and_the_old_one_stays(
    home: Path, releases: ReleaseStore
) -> None:
    first = tiny.write_release(releases)
    second = tiny.write_release(releases, order_bias=1.0, days=1)
    promote(releases, first)
    one = service(home)
    promote(releases, second)
    (releases.path(second) / "ranker.onnx").write_bytes(b"damaged after it was promoted")
    one.refresh()
    assert answering(one) == first
    assert "ranker.onnx was changed after publishing" in (one.readiness()["refused"] or "")
    swaps = one.metrics.registry.get_sample_value
    assert swaps("qianmian_release_swaps_total", {"outcome": "refused"}) == 1
    releases.rollback(schema=tiny.SCHEMA, at=tiny.END)
    one.refresh()
    assert one.readiness()["refused"] is None


def test_a_refused_release_is_tried_again_but_not_all_the_time(
    home: Path, releases: ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tiny.write_release(releases)
    second = tiny.write_release(releases, order_bias=1.0, days=1)
    promote(releases, first)
    one = service(home)
    before = one.worlds.world
    now = [100.0]
    monkeypatch.setattr("serving.worlds.monotonic", lambda: now[0])
    promote(releases, second)
    model = releases.path(second) / "ranker.onnx"
    whole = model.read_bytes()
    model.write_bytes(whole[:10])
    one.refresh()
    now[0] += 5.0
    one.refresh()
    refusals = one.metrics.registry.get_sample_value(
        "qianmian_release_swaps_total", {"outcome": "refused"}
    )
    assert refusals == 1, "the same refusal counts once"
    assert one.worlds.world is before
    model.write_bytes(whole)
    now[0] += 5.0
    one.refresh()
    assert answering(one) == first, "the wait has doubled"
    now[0] += 5.0
    one.refresh()
    assert answering(one) == second
    assert one.readiness()["refused"] is None


def test_another_clock_forgets_what_was_proposed(home: Path, releases: ReleaseStore) -> None:
    promote(releases, tiny.write_release(releases))
    one = service(home)
    answering(one)
    one.configure(live_at())
    assert len(one.users) == 1
    one.configure(live_at("replay"))
    assert len(one.users) == 0


def test_a_clock_that_stays_goes_on_under_other_settings(
    home: Path, releases: ReleaseStore
) -> None:
    promote(releases, tiny.write_release(releases))
    live = live_at("replay")
    one = service(home, live)
    time.sleep(0.2)
    before = one.now()
    one.configure(live.model_copy(update={"feed": FeedParams(candidates_ranked=50)}))
    assert one.now() >= before
    assert one.worlds.ready().experiments.base.candidates_ranked == 50
    one.configure(live_at())
    assert one.now() == tiny.NOW


def test_release_of_another_schema_or_data_set_is_refused(
    home: Path, releases: ReleaseStore
) -> None:
    promote(releases, tiny.write_release(releases))
    one = service(home)
    one.worlds._schema = dict  # the features were built anew with other columns
    one.worlds.world = None
    one.worlds._load()
    assert one.worlds.world is None
    assert "does not exist here" in (one.worlds.refused or "")


def test_live_settings_change_alias_and_clock(home: Path, releases: ReleaseStore) -> None:
    first = tiny.write_release(releases)
    second = tiny.write_release(releases, order_bias=1.0, days=1)
    promote(releases, first)
    promote(releases, second, "candidate")
    one = service(home)
    live = live_at("replay").model_copy(update={"feed": FeedParams(release="candidate")})
    one.configure(live)
    assert answering(one) == second
    assert one.readiness()["now"] > "2017-12-05T05:00:00"


EXPERIMENT = """\
experiment: model
layer: models
salt: s
arms:
  - {name: control, share: 0.5}
  - {name: treated, share: 0.5, overrides: {release: candidate}}
"""


def test_experiment_between_releases(home: Path, releases: ReleaseStore) -> None:
    first = tiny.write_release(releases)
    second = tiny.write_release(releases, order_bias=1.0, days=1)
    promote(releases, first)
    folder = home / "configs" / "experiments"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(EXPERIMENT)
    one = service(home, configs=home / "configs")
    assert one.readiness()["refused"] is None, "an alias nobody promoted is no fault"

    def arms() -> dict[str, set[tuple[str, ...]]]:
        seen: dict[str, set[tuple[str, ...]]] = {}
        for n in range(30):
            body = RECOMMEND_REQUEST.validate_json(b'{"user": {"id": "u%d"}}' % n)
            answer = one.recommend("all", body)
            arm = answer["experiments"][0]["arm"]
            seen.setdefault(arm, set()).add((answer["release"], *answer["degraded"]))
        return seen

    assert arms() == {"control": {(first,)}, "treated": {(first, "release_unavailable")}}
    promote(releases, second, "candidate")
    one.refresh()
    assert arms() == {"control": {(first,)}, "treated": {(second,)}}


def test_aliases_of_one_release_share_it(home: Path, releases: ReleaseStore) -> None:
    folder = home / "configs" / "experiments"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(EXPERIMENT)
    one = service(home, configs=home / "configs")
    release = tiny.write_release(releases)
    for alias in ("live", "candidate"):
        promote(releases, release, alias)
    one.refresh()
    held = one.worlds.ready().releases
    assert held["candidate"] is held["live"]


def test_bad_experiment_is_refused_at_start(home: Path) -> None:
    folder = home / "configs" / "experiments"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(EXPERIMENT.replace("release:", "relase:"))
    with pytest.raises(ConfigError, match=r"model.yaml:6: arms\[1\].overrides.relase.*'release'"):
        service(home, configs=home / "configs")
