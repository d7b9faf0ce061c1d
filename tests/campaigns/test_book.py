from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from qianmian.campaigns.book import CampaignBook, load_campaigns
from qianmian.campaigns.files import CampaignFiles
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


def test_a_file_of_another_ending_is_refused_and_holds_up_no_other(folder) -> None:
    watched = Watched(folder)
    write(folder / "milk.yml", GOOD.replace("bread", "milk"))
    assert watched.refresh()
    assert set(watched.book.campaigns) == {"bread"}
    assert "milk.yml: expected a name that ends in .yaml; rename it to milk" in watched.faults()


def write(path: Path, text: str, seconds: int = 0) -> None:
    path.write_text(text)
    os.utime(path, (seconds, seconds))


class Watched:
    """A book whose clock tests set; `again` opens it as a new process would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.venues = {"sale"}
        self.again()

    def again(self) -> None:
        files = CampaignFiles(
            self.folder, "shop", venues=lambda: self.venues, kept=self.folder.parent / "kept"
        )
        self.book = CampaignBook(files.read, files.stamp, clock=lambda: self.now)

    def refresh(self) -> bool:
        self.now += 2.0
        return self.book.refresh()

    def faults(self) -> str:
        return "\n".join(self.book.refused.values())


def test_a_changed_file_is_taken_over_and_a_broken_one_refused(folder, caplog) -> None:
    watched = Watched(folder)
    bread, version = folder / "bread.yaml", watched.book.version
    assert not watched.book.refresh()
    write(bread, GOOD.replace("1000", "2000"), 1)
    assert watched.refresh()
    assert watched.book.version == version + 1
    write(bread, "campaign: [\n", 2)
    write(folder / "milk.yaml", GOOD.replace("bread", "milk"), 2)
    assert watched.refresh(), "one bad file holds up no other"
    assert watched.book.campaigns["bread"].budget == 2_000_000_000
    assert set(watched.book.campaigns) == {"bread", "milk"}
    assert "bread.yaml" in watched.faults()
    (folder / "milk.yaml").touch()
    assert watched.refresh()
    assert caplog.text.count("bread.yaml") == 1, "told once"
    write(bread, GOOD, 3)
    assert watched.refresh()
    assert watched.faults() == ""
    bread.unlink()
    assert watched.refresh()
    assert set(watched.book.campaigns) == {"milk"}


def test_who_starts_on_a_broken_file_goes_on_with_what_held(folder) -> None:
    watched = Watched(folder)
    write(folder / "bread.yaml", GOOD.replace("cpm", "cpx"))
    write(folder / "cake.yaml", "campaign: [\n")
    write(folder / "milk.yaml", GOOD.replace("bread", "milk"))
    watched.again()
    assert set(watched.book.campaigns) == {"bread", "milk"}, "cake was never sound"
    assert "bread.yaml:7: billing='cpx'" in watched.faults()
    assert "cake.yaml" in watched.faults()
    shutil.rmtree(folder.parent / "kept")
    watched.again()
    assert set(watched.book.campaigns) == {"milk"}


def test_a_campaign_that_was_removed_does_not_come_back_with_a_broken_file(folder) -> None:
    bread, watched = folder / "bread.yaml", Watched(folder)
    assert set(watched.book.campaigns) == {"bread"}
    bread.unlink()
    assert watched.refresh()
    write(bread, GOOD.replace("cpm", "cpx"), 5)
    assert watched.refresh()
    assert not watched.book.campaigns
    write(bread, GOOD, 6)
    assert watched.refresh()
    bread.unlink()
    watched.again()
    write(bread, GOOD.replace("cpm", "cpx"), 7)
    watched.again()
    assert not watched.book.campaigns


def test_a_campaign_is_judged_anew_when_venues_come(folder) -> None:
    write(folder / "bread.yaml", GOOD + "venues: [flash]\n")
    watched = Watched(folder)
    assert not watched.book.campaigns
    assert "venues[0]='flash': expected a venue" in watched.faults()
    watched.venues = {"sale", "flash"}
    assert watched.refresh()
    assert set(watched.book.campaigns) == {"bread"}


def test_the_shipped_campaigns_are_sound() -> None:
    assert set(load_campaigns(CONFIGS / "campaigns", "complete-journey")) == {
        "soft-drinks",
        "strawberries",
    }
    assert load_campaigns(CONFIGS / "campaigns", "another") == {}
