"""`qianmian venue` as an operator meets it, on the small shop."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from qianmian.cli.main import app

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture
def run(small_shop, tmp_path):
    folder = tmp_path / "venues" / "small-shop"
    folder.mkdir(parents=True)
    (tmp_path / "venues" / "default.yaml").write_text("objective: {order: 1.0}\n")

    def invoke(*arguments, half=""):
        (folder / "half.yaml").write_text(half)
        home = ["--home", str(small_shop.root), "--dataset", "small-shop"]
        return CliRunner().invoke(app, [*home, "venue", *arguments, "--configs", str(tmp_path)])

    return invoke


def test_check_tells_what_is_good_and_what_may_be_a_slip(run):
    done = run(
        "check",
        half="pool: {items: [i001, nobody]}\neligibility: {filter: 'category == \"categry 1\"'}\n",
    )
    assert done.exit_code == 0, done.output
    assert "half.yaml: venue half" in done.output
    assert "not in the catalogue" in done.output
    assert "no category is 'categry 1'" in done.output
    assert "3 venues of small-shop" in done.output


def test_check_lists_faults_and_ends_with_2(run):
    text = "eligibility:\n  filter: 'prize < 3'\nblocks: {main: {audience: 'age > 3'}}\n"
    done = run("check", half=text)
    assert done.exit_code == 2
    assert "half.yaml:2: eligibility.filter='prize < 3': expected a column of items" in done.output
    assert "did you mean 'price'" in done.output
    assert "half.yaml:3: blocks.main.audience='age > 3': expected a text" in done.output


def test_show_prints_the_venue_in_force(run):
    text = "name: Half\ntime_zone: Asia/Shanghai\neligibility: {price: {max: 9}}\n"
    done = run("show", "half", half=text)
    assert done.exit_code == 0, done.output
    assert "half: Half (sale), times in Asia/Shanghai" in done.output
    assert "max: 9.0" in done.output
    plain = json.loads(run("show", "half", "--json", half=text).output)
    assert plain["eligibility"] == {"price": {"max": 9.0}}
    assert plain["starts_at"].endswith("+08:00")
    assert "did you mean 'half'" in run("show", "halff", half=text).output


@pytest.mark.parametrize("as_json", [False, True])
def test_preview_prints_the_page_of_a_moment(small_shop, as_json):
    flags = ["--json"] if as_json else ["--explain", "--size", "4"]
    home = ["--home", str(small_shop.root), "--dataset", "small-shop"]
    done = CliRunner().invoke(app, [*home, "venue", "preview", "half", "u001", *flags])
    assert done.exit_code == 0, done.output
    if as_json:
        assert [b["block_id"] for b in json.loads(done.output)["blocks"]] == ["main"]
    else:
        assert "Half the shop" in done.output
        assert "candidates:" in done.output
