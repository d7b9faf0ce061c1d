from __future__ import annotations

import pytest

from qianmian.campaigns.billing import Billing, sponsored
from qianmian.campaigns.book import CampaignBook
from qianmian.campaigns.campaign import Campaign
from qianmian.campaigns.files import Reading
from qianmian.campaigns.ledger import LeaseRequest
from qianmian.campaigns.pacing import Pace
from qianmian.campaigns.schema import CampaignFile
from qianmian.campaigns.sqlite_ledger import SqliteLedger
from qianmian.events.event import StoredEvent
from qianmian.events.sqlite_store import SqliteEventStore
from tests.events import made

NOW = 1_700_000_000.0
BREAD = Campaign.of(
    CampaignFile.model_validate(
        {
            "campaign": "bread",
            "advertiser": "Bakery",
            "items": ["i1"],
            "starts_at": "2023-11-14T00:00:00Z",
            "ends_at": "2023-11-16T00:00:00Z",
            "budget": 100.0,
            "billing": "cpc",
            "bid": 0.5,
        }
    )
)


@pytest.fixture
def ledger(tmp_path):
    ledger = SqliteLedger(tmp_path / "budgets.db")
    ledger.fund({"bread": BREAD.budget})
    yield ledger
    ledger.shut()


@pytest.fixture
def lease(ledger) -> str:
    request = LeaseRequest("bread", 5_000_000, 1, seconds=60.0, window=3_600.0, pooled=True)
    return ledger.lease("replica", [request], NOW)[0].lease_id


def billing(log, ledger, tmp_path, **fields) -> Billing:
    return Billing(log, ledger, CampaignBook(lambda: Reading({"bread": BREAD})), **fields)


def event(number, lease, event_type="click", **fields) -> StoredEvent:
    given = {
        "event_type": event_type,
        "received_at": NOW,
        "recommendation_id": f"r{number}",
        "slot": "sponsored",
        "campaign_id": "bread",
        "sale": (lease, 400_000, "click", NOW + 3_600.0),
        **fields,
    }
    return made.event(number, **given)


def spent(ledger) -> int:
    return ledger.balances(NOW)["bread"].spent


def test_another_log_is_charged_from_its_beginning(log, ledger, lease, tmp_path) -> None:
    log.append([event(1, lease), event(2, lease), event(3, lease)])
    billing(log, ledger, tmp_path).flush(NOW)
    moved = SqliteEventStore(tmp_path / "moved.db")
    moved.append([event(3, lease), event(4, lease)])
    billing(moved, ledger, tmp_path).flush(NOW)
    assert spent(ledger) == 4 * 400_000
    moved.close()


def test_the_log_is_charged_once_by_whoever_reads_it(log, ledger, lease, tmp_path) -> None:
    log.append([event(1, lease), event(2, lease, "impression"), event(3, lease)])
    billing(log, ledger, tmp_path).flush(NOW)
    assert spent(ledger) == 800_000
    billing(log, ledger, tmp_path).flush(NOW)
    log.append([event(3, lease), event(4, lease)])
    billing(log, ledger, tmp_path, page=1).flush(NOW)
    assert spent(ledger) == 1_200_000
    assert log.lag("billing") == 0


def test_what_is_late_foreign_quarantined_or_organic_is_not_charged(log, ledger, lease, tmp_path):
    late = event(1, lease, received_at=NOW + 3_601.0)
    log.append(
        [
            late,
            event(2, lease, sale=None),
            event(3, lease, quarantine="unknown_item"),
            event(4, lease, "favorite"),
            event(5, lease, recommendation_id="r6"),
            event(6, lease),
        ]
    )
    billing(log, ledger, tmp_path).flush(NOW)
    assert spent(ledger) == 400_000
    assert [one.late for one in sponsored([late, event(2, lease)])] == [True, False]


def test_what_is_implausible_is_neither_charged_nor_counted(log, ledger, lease, tmp_path) -> None:
    log.append([event(1, lease), event(2, lease)])
    billing(log, ledger, tmp_path, implausible=lambda ids: {"e1"} & set(ids)).flush(NOW)
    assert spent(ledger) == 400_000
    assert sum(tally.clicks for tally in ledger.tallies()) == 1


def test_leases_close_and_campaigns_are_paced_when_it_is_due(log, ledger, lease, tmp_path) -> None:
    part = billing(log, ledger, tmp_path, pace_seconds=5.0)
    part.flush(NOW)
    first = Pace.from_bytes(ledger.paces()["bread"])
    part.flush(NOW + 4.0)
    assert Pace.from_bytes(ledger.paces()["bread"]) == first
    part.flush(NOW + 5.0)
    assert Pace.from_bytes(ledger.paces()["bread"]).at == NOW + 5.0
    assert ledger.balances(NOW)["bread"].held == 5_000_000
    part.flush(NOW + 4_000.0)
    assert ledger.balances(NOW)["bread"].held == 0


def test_a_clock_that_was_set_back_does_not_stop_the_pacing(log, ledger, tmp_path) -> None:
    part = billing(log, ledger, tmp_path)
    part.flush(NOW + 172_800.0)
    part.flush(NOW + 172_806.0)  # after the flight
    assert Pace.from_bytes(ledger.paces()["bread"]).participation == 0.0
    again = billing(log, ledger, tmp_path)
    again.flush(NOW)
    assert Pace.from_bytes(ledger.paces()["bread"]).participation == 0.0
    again.flush(NOW + 6.0)
    pace = Pace.from_bytes(ledger.paces()["bread"])
    assert pace.at == NOW + 6.0
    assert pace.participation > 0.0
