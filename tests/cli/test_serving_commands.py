"""`release`, `recommend` and `serve` as an operator meets them."""

import json

import httpx
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from qianmian.cli.demo import _show_two_pages
from qianmian.cli.main import app
from qianmian.errors import DataError
from tests.serving import tiny

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


def run(home, *arguments, dataset="tiny"):
    return CliRunner().invoke(app, ["--home", str(home), "--dataset", dataset, *arguments])


@pytest.fixture
def releases(tmp_path):
    """Two releases of the tiny shop, the first of them live."""
    from qianmian.releases.store import ReleaseStore

    store = ReleaseStore(tmp_path / "tiny" / "releases")
    first = tiny.write_release(store)
    store.promote(first, schema=tiny.SCHEMA, at=tiny.END)
    return tmp_path, first, tiny.write_release(store, days=1)


@pytest.fixture
def known_schema(monkeypatch):
    monkeypatch.setattr("qianmian.releases.schema.current_schema", lambda _: tiny.SCHEMA)


def test_list_names_releases_and_aliases(releases):
    home, first, second = releases
    rows = json.loads(run(home, "release", "list", "--json").stdout)
    assert [(row["id"], row["aliases"]) for row in rows] == [(second, []), (first, ["live"])]
    assert "not measured" in run(home, "release", "list").stdout
    assert "publish one with `qianmian train`" in run(home / "no", "release", "list").stdout


def test_show_tells_parity_and_files(releases):
    home, first, _ = releases
    text = run(home, "release", "show").stdout
    assert first in text
    assert "proven: largest difference" in text
    assert json.loads(run(home, "release", "show", "latest", "--json").stdout)["dataset"] == "tiny"


def test_promote_and_roll_back(releases, known_schema):
    home, first, second = releases
    assert (
        run(home, "release", "promote", "latest").stdout
        == f"live is now {second}, before {first}\n"
    )
    assert run(home, "release", "promote", second).stdout == f"already there: live is {second}\n"
    assert run(home, "release", "rollback").stdout == f"live is now {first}, before {second}\n"
    refused = run(home, "release", "rollback")
    assert refused.exit_code == 2
    assert "nothing to roll back to" in refused.output


def test_promotion_needs_the_features_it_was_trained_on(releases):
    home, _, second = releases
    refused = run(home, "release", "promote", second)
    assert refused.exit_code == 2
    assert "build the features first" in refused.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--clock", "noon"], "clock='noon': expected system, a moment"),
        (["serve", "--config", "none.yaml"], "none.yaml: no such file"),
        (["serve"], "unknown release 'live'; known: none; publish one with `qianmian train`"),
        (["demo"], "unknown release 'live'"),
        (["recommend", "18", "1"], "unknown release 'live'"),
    ],
)
def test_what_is_missing_is_said_in_one_line(tmp_path, arguments, said):
    port = ["--port", "18765"] if arguments[0] in {"serve", "demo"} else []
    refused = run(tmp_path, *arguments, *port)
    assert refused.exit_code == 2
    assert said in refused.output
    assert "Traceback" not in refused.output


def test_list_shows_a_damaged_release_beside_the_others(releases):
    home, first, second = releases
    (home / "tiny" / "releases" / second / "manifest.json").write_text("{")
    listed = run(home, "release", "list")
    assert listed.exit_code == 0, listed.output
    assert "damaged" in listed.stdout
    assert first in listed.stdout
    assert f"damaged: release {second}" in listed.stderr
    rows = json.loads(run(home, "release", "list", "--json").stdout)
    assert [row["id"] for row in rows] == [second, first]
    assert "manifest.json is not readable" in rows[0]["damaged"]


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_live_release_that_does_not_verify_is_refused_at_once(releases, known_schema, command):
    home, first, _ = releases
    (home / "tiny" / "releases" / first / "ranker.onnx").write_bytes(b"damaged")
    refused = run(home, command, "--port", "18765")
    assert refused.exit_code == 2
    assert "ranker.onnx was changed after publishing" in refused.output


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_port_that_cannot_be_is_a_usage_error(tmp_path, command):
    refused = run(tmp_path, command, "--port", "99999")
    assert refused.exit_code == 2
    assert "65535" in refused.output


@pytest.mark.parametrize("user", ["", "a\udcff", "a" * 257])
def test_recommend_names_a_user_id_that_cannot_be(tmp_path, user):
    refused = run(tmp_path, "recommend", "18", user)
    assert refused.exit_code == 2
    assert "USER=" in refused.output
    assert "expected 1 to 256 characters" in refused.output


@pytest.mark.parametrize("option", ["--json", "--calibration", "--lists"])
def test_evaluate_refuses_a_folder_before_it_works(tmp_path, option):
    refused = run(tmp_path, "evaluate", option, str(tmp_path))
    assert refused.exit_code == 2
    assert f"{option}={str(tmp_path)!r}: expected a file" in refused.output


def test_evaluate_writes_metrics_calibration_and_lists(small_shop, tmp_path):
    metrics, calibration, lists = (tmp_path / name for name in ("m.json", "c.json", "l.parquet"))
    files = ("--json", metrics, "--calibration", calibration, "--lists", lists)
    asked = (*map(str, files), "--by", "age")
    done = run(small_shop.root, "evaluate", *asked, dataset="small-shop")
    assert done.exit_code == 0, done.output
    rows = json.loads(metrics.read_text())
    assert {row["system"] for row in rows} >= {"two_stage", "ease"}
    assert "NDCG@20 by segment" in done.stdout
    assert "age=" in done.stdout
    segments = {row["slice"].partition("=")[0] for row in rows if "=" in row["slice"]}
    assert segments == {"activity_level", "life_cycle", "age"}
    assert "calibration is not measured" in done.stderr, "its test period is too short"
    assert json.loads(calibration.read_text()) == []
    assert set(pq.read_schema(lists).names) == {"system", "user_id", "item_id", "rank", "score"}


@pytest.mark.parametrize("tag", ["agee", "points"])  # a typo, and a number
def test_evaluate_names_a_tag_that_makes_no_segments(small_shop, tag):
    refused = run(small_shop.root, "evaluate", "--by", tag, dataset="small-shop")
    assert refused.exit_code == 2
    assert (
        f"--by={tag!r}: expected a categorical user tag of the data set (activity" in refused.output
    )
    assert ("did you mean 'age'" in refused.output) == (tag == "agee")


@pytest.mark.parametrize("known", [[], [{"id": "anna", "events": 3}]])
def test_demo_needs_two_shoppers(known):
    answers = {"/v1/venues": {"venues": []}, "/v1/users": {"users": known}}
    transport = httpx.MockTransport(lambda r: httpx.Response(200, json=answers[r.url.path]))
    with (
        httpx.Client(transport=transport, base_url="http://shop") as client,
        pytest.raises(DataError, match=f"known shoppers={len(known)}: expected at least 2"),
    ):
        _show_two_pages(client, "noon")


def test_recommend_prints_a_page(small_shop):
    table = run(small_shop.root, "recommend", "half", "u001", "--explain", dataset="small-shop")
    assert table.exit_code == 0, table.output
    assert "Half the shop" in table.stdout
    assert "candidates: " in table.stdout
    answer = run(small_shop.root, "recommend", "all", "u001", "--json", dataset="small-shop")
    assert len(json.loads(answer.stdout)["blocks"][0]["items"]) == 20
    wrong = run(small_shop.root, "recommend", "al", "u001", dataset="small-shop")
    assert wrong.exit_code == 2
    assert "did you mean 'all'" in wrong.output
