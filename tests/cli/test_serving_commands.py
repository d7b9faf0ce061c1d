"""`release`, `recommend` and `serve` as an operator meets them."""

import json

import pytest
from typer.testing import CliRunner

from qianmian.cli.main import app
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
