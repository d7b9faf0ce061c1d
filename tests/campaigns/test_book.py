from __future__ import annotations

import os

import pytest

from qianmian.campaigns.book import CampaignBook, load_campaigns
from qianmian.errors import ConfigError
from qianmian.workspace import CONFIGS

GOOD = """campaign: bread
advertiser: Bakery
items: [i1, i2]
starts_at: 2026-11-01T00:00:00+08:00
ends_at: 2026-11-12T00:00:00+08:00
budget: 1000
billing: cpm
bid: 4.5
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "campaigns"
    folder.mkdir()
    (folder / "bread.yaml").write_text(GOOD)
    return folder


def told(folder, **fields) -> str:
    with pytest.raises(ConfigError) as error:
        load_campaigns(folder, "shop", **fields)
    return str(error.value)


def test_money_is_whole_micros(folder) -> None:
    bread = load_campaigns(folder, "shop")["bread"]
    assert (bread.budget, bread.price, bread.window) == (1_000_000_000, 4_500, 600.0)
    assert bread.worst_case
    assert bread.reservation(4_000, 1.0) == 4_000


def test_a_folder_that_is_not_there_holds_no_campaign(tmp_path) -> None:
    assert load_campaigns(tmp_path / "nowhere", "shop") == {}


def test_campaigns_of_other_data_sets_are_left_out(folder) -> None:
    (folder / "other.yaml").write_text(GOOD.replace("bread", "milk") + "datasets: [elsewhere]\n")
    assert list(load_campaigns(folder, "shop")) == ["bread"]


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (GOOD.replace("cpm", "cpx"), "bread.yaml:7: billing='cpx'"),
        (GOOD.replace("bid: 4.5", "bid: 0"), "bread.yaml:8: bid=0"),
        (GOOD.replace("2026-11-12", "2026-10-12"), "expected starts_at before ends_at"),
        (GOOD + "pacing: {curve: traffic}\n", "bread.yaml:9: pacing"),
        (GOOD + "pacing: {hours: [1]}\n", "expected hours only with curve: traffic"),
        (GOOD.replace("cpm", "cpd").replace("4.5", "5000"), "a budget that pays at least one day"),
        (GOOD.replace("+08:00", ""), "bread.yaml:4: starts_at"),
        (GOOD + 'audience: "age ="\n', "bread.yaml:9: audience"),
        (GOOD + "audiense: x\n", "did you mean 'audience'"),
        (GOOD + 'venues: ["sail"]\n', "venues[0]='sail': expected a venue of 'shop', did you mean"),
    ],
)
def test_faults_are_told_with_file_and_line(folder, changed, fault) -> None:
    (folder / "bread.yaml").write_text(changed)
    assert fault in told(folder, venues={"sale", "all"})


def test_two_files_cannot_share_an_id_and_all_faults_are_told(folder) -> None:
    (folder / "again.yaml").write_text(GOOD)
    (folder / "broken.yaml").write_text("campaign: [\n")
    faults = told(folder)
    assert "expected an id of its own" in faults
    assert "broken.yaml" in faults


def test_a_changed_file_is_taken_over_and_a_broken_one_refused(folder) -> None:
    now = 0.0
    book = CampaignBook(lambda: load_campaigns(folder, "shop"), folder, clock=lambda: now)
    version = book.version

    def write(text: str, seconds: int) -> bool:
        nonlocal now
        (folder / "bread.yaml").write_text(text)
        os.utime(folder / "bread.yaml", (seconds, seconds))
        now += 2.0
        return book.refresh()

    assert not book.refresh()
    assert write(GOOD.replace("1000", "2000"), 1)
    assert (book.campaigns["bread"].budget, book.version) == (2_000_000_000, version + 1)
    assert not write("campaign: [\n", 2)
    assert book.campaigns["bread"].budget == 2_000_000_000
    assert "bread.yaml" in (book.refused or "")
    assert write(GOOD, 3)
    assert book.refused is None


def test_the_shipped_campaigns_are_sound() -> None:
    assert set(load_campaigns(CONFIGS / "campaigns", "complete-journey")) == {
        "soft-drinks",
        "strawberries",
    }
    assert load_campaigns(CONFIGS / "campaigns", "another") == {}
