"""Releases and venues that fail on loading: refused and told like any other, and tried again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import onnx
import pandas as pd
import pytest

from qianmian.contracts.api import RECOMMEND_REQUEST
from qianmian.releases import bundle as b
from qianmian.releases.manifest import MANIFEST_FILE
from qianmian.releases.store import ReleaseStore
from serving.feed.resident import ResidentRelease
from serving.service import VenueService
from serving.worlds import NotReadyError
from tests.serving import tiny
from tests.serving.shop import service
from tests.serving.test_service import EXPERIMENT, QUESTION, answering, promote
from tests.serving.test_venue_files import Folder, counted


def of_another_opset(folder: Path) -> None:
    model = onnx.load(folder / b.RANKER_FILE)
    model.opset_import[0].version = 99
    onnx.save(model, folder / b.RANKER_FILE)


def without_a_column(folder: Path) -> None:
    items = pd.read_parquet(folder / b.ITEMS_FILE)
    items.drop(columns="item_id").to_parquet(folder / b.ITEMS_FILE)


def no_parquet(folder: Path) -> None:
    (folder / b.ITEMS_FILE).write_bytes(b"PAR1 and nothing else")


def of_another_shape(folder: Path) -> None:
    (folder / b.ENCODER_FILE).write_text(json.dumps({"tags": 5}))


FAULTS = pytest.mark.parametrize(
    "spoil", [of_another_opset, without_a_column, no_parquet, of_another_shape]
)


def write_spoilt(releases: ReleaseStore, spoil: Callable[[Path], None]) -> str:
    """Publish a release whose hashes are sound and whose files cannot be loaded."""
    whole = releases.path(tiny.write_release(releases, days=2))
    with releases.staging() as folder:
        shutil.copytree(
            whole, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST_FILE)
        )
        spoil(folder)
        return releases.publish(folder, tiny.facts(tiny.END + timedelta(days=3)))


def swaps(one: VenueService, outcome: str) -> float | None:
    labels = {"outcome": outcome}
    return one.metrics.registry.get_sample_value("qianmian_release_swaps_total", labels)


@pytest.fixture
def releases(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / tiny.DATASET / "releases")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("serving.worlds.monotonic", lambda: now[0])
    return now


@FAULTS
def test_a_release_that_cannot_be_loaded_is_refused_and_the_old_one_stays(
    tmp_path: Path, releases: ReleaseStore, now: list[float], spoil, caplog
) -> None:
    first = tiny.write_release(releases)
    promote(releases, first)
    one = service(tmp_path)
    promote(releases, write_spoilt(releases, spoil))
    one.refresh()
    assert answering(one) == first
    refused = one.readiness()["refused"]
    assert refused
    assert refused in caplog.text
    assert "Traceback" in caplog.text, "it may be a bug"
    now[0] += 5.0
    one.refresh()
    assert one.readiness()["refused"] == refused
    assert swaps(one, "refused") == 1, "the same refusal counts once"
    second = tiny.write_release(releases, order_bias=1.0, days=4)
    promote(releases, second)
    one.refresh()
    assert answering(one) == second
    assert one.readiness()["refused"] is None


def test_a_release_that_could_not_be_loaded_is_tried_again(
    tmp_path: Path, releases: ReleaseStore, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tiny.write_release(releases), tiny.write_release(releases, days=1)
    promote(releases, first)
    one = service(tmp_path)
    promote(releases, second)

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as full:
        full.setattr(b.Bundle, "load", fail)
        one.refresh()
    assert "MemoryError" in one.readiness()["refused"]
    assert answering(one) == first
    now[0] += 5.0
    one.refresh()
    assert answering(one) == second
    assert one.readiness()["refused"] is None


@FAULTS
def test_a_service_starts_beside_a_release_that_cannot_be_loaded(
    tmp_path: Path, releases: ReleaseStore, spoil
) -> None:
    first = tiny.write_release(releases)
    promote(releases, first)
    promote(releases, write_spoilt(releases, spoil))
    one = service(tmp_path)
    readiness = one.readiness()
    assert (readiness["ready"], bool(readiness["refused"])) == (False, True)
    with pytest.raises(NotReadyError):
        answering(one)
    releases.rollback(schema=tiny.SCHEMA, at=tiny.END)
    one.refresh()
    assert answering(one) == first
    assert one.readiness()["refused"] is None


@FAULTS
def test_a_broken_alias_of_an_experiment_holds_up_no_other(
    tmp_path: Path, releases: ReleaseStore, spoil
) -> None:
    first, second = tiny.write_release(releases), tiny.write_release(releases, days=1)
    promote(releases, first)
    promote(releases, write_spoilt(releases, spoil), "candidate")
    folder = tmp_path / "configs" / "experiments"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(EXPERIMENT)
    one = service(tmp_path, configs=tmp_path / "configs")
    assert one.readiness()["release"] == first
    assert one.readiness()["refused"]
    promote(releases, second)
    one.refresh()
    assert one.readiness()["release"] == second


def test_a_release_whose_folder_comes_later_than_its_alias_is_taken_over(
    tmp_path: Path, releases: ReleaseStore, now: list[float]
) -> None:
    first, second = tiny.write_release(releases), tiny.write_release(releases, days=1)
    promote(releases, first)
    promote(releases, second, "candidate")
    there, aside = releases.path(second), tmp_path / "aside"
    there.rename(aside)
    folder = tmp_path / "configs" / "experiments"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(EXPERIMENT)
    one = service(tmp_path, configs=tmp_path / "configs")
    assert one.readiness()["release"] == first
    assert f"alias 'candidate' is of release {second}" in one.readiness()["refused"]
    aside.rename(there)
    now[0] += 5.0
    one.refresh()
    assert one.readiness()["refused"] is None
    assert one.worlds.ready().releases["candidate"].id == second


def test_venues_that_cannot_be_laid_out_wait_and_those_before_go_on(
    tmp_path: Path, releases: ReleaseStore, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tiny.write_release(releases), tiny.write_release(releases, days=1)
    promote(releases, first)
    folder = Folder(tmp_path)
    shop = folder.serve()

    def fail(*_: object) -> None:
        raise KeyError("a bug")

    flash = folder.path / tiny.DATASET / "flash.yaml"
    flash.write_text("name: Flash sale\npool: {items: [i010]}\n")
    with monkeypatch.context() as broken:
        broken.setattr(ResidentRelease, "with_venues", fail)
        shop.refresh()
        assert "changed venues cannot be laid out" in shop.readiness()["refused"]
        promote(releases, second)
        shop.refresh()
        assert shop.readiness()["release"] == second, "laid out for the venues in force"
        assert "flash" not in shop.worlds.ready().venues
        shop.recommend("sale", QUESTION)
        now[0] += 5.0
        shop.refresh()
    assert (counted(shop, "refused"), counted(shop, "taken")) == (1, 0)
    now[0] += 10.0
    shop.refresh()
    question = RECOMMEND_REQUEST.validate_json('{"blocks": [{"page_size": 50}]}')
    (block,) = shop.recommend("flash", question)["blocks"]
    assert [item["item_id"] for item in block["items"]] == ["i010"]
    assert (counted(shop, "refused"), counted(shop, "taken")) == (1, 1)
    assert shop.readiness()["refused"] is None
    shop.close()
