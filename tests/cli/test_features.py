"""`qianmian features` on a small shop, from nothing to a user on the screen."""

import json

import pytest
from typer.testing import CliRunner

from qianmian.cli.main import app
from qianmian.contracts import features as f
from tests.features.conftest import DECLARATION, PLANTED, import_shop, shop_tables


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return import_shop(tmp_path_factory.mktemp("cli"), shop_tables(), DECLARATION).root


@pytest.fixture(scope="module")
def features(home):
    def run(*arguments):
        return CliRunner().invoke(
            app, ["--home", str(home), "--dataset", "shop", "features", *arguments]
        )

    return run


@pytest.fixture(scope="module")
def built(features):
    return features("build")


def test_build_takes_snapshots_and_fills_the_online_store(built):
    assert built.exit_code == 0, built.output
    assert "built 65 snapshot files for 9 moments, 2024-06-07 to 2024-08-02" in built.output
    assert "rows in 9 views, features of 2024-08-02" in built.output


def test_build_again_says_it_is_there(built, features):
    done = features("build")
    assert done.exit_code == 0
    assert "already there: snapshots of 9 moments" in done.output
    assert "already there: the online store holds the features of 2024-08-02" in done.output


def test_an_earlier_moment_can_be_put_online(built, features):
    assert "features of 2024-07-19" in features("materialize", "--at", "2024-07-20").output
    row = json.loads(features("show", "user", PLANTED, "--json").output)
    assert row[f.LEDGER_ITEM_IDS] == ["i02", "i01", "i00"]
    assert "features of 2024-08-02" in features("materialize").output
    row = json.loads(features("show", "user", PLANTED, "--json").output)
    assert row[f.LEDGER_ITEM_IDS] == ["i03", "i02", "i01", "i00"]


def test_show_prints_the_views_of_one_entity(built, features):
    user, item = features("show", "user", "u0"), features("show", "item", "i01")
    assert user.exit_code == item.exit_code == 0
    assert "city                Lyon" in user.output
    assert "hobbies             tea, go (2)" in user.output
    assert "title           Item i01" not in user.output
    assert "Item i01" in item.output
    assert "recent_item_ids" not in item.output


def test_an_unknown_user_is_a_mistake_that_is_named(built, features):
    done = features("show", "user", "nobody")
    assert done.exit_code == 2
    assert "user 'nobody': the online store has no features of it" in done.output


def test_a_time_that_is_none(built, features):
    done = features("materialize", "--at", "yesterday")
    assert done.exit_code == 2
    assert "--at='yesterday': expected an ISO 8601 time" in done.output


def test_list_shows_views_and_services(built, features):
    report = json.loads(features("list", "--json").output)
    views = {view["view"]: view for view in report["views"]}
    assert views[f.USER_LEDGER]["snapshots"] == 9
    assert views[f.USER_LEDGER]["online_rows"] > 0
    assert views[f.ITEM_PROFILE]["snapshots"] == 1
    assert [service["service"] for service in report["services"]] == ["two_tower", "ranker", "page"]
    text = features("list").output
    assert "user_ledger" in text
    assert "service ranker: user_tags" in text


def test_without_features_there_is_nothing_to_list(tmp_path):
    done = CliRunner().invoke(app, ["--home", str(tmp_path), "features", "list"])
    assert done.exit_code == 2
    assert "qianmian features build" in done.output
