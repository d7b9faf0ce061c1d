"""What every budget ledger does: nothing is spent twice, nothing beyond a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from threading import Thread

import pytest

from qianmian.campaigns.ledger import (
    IDEMPOTENCE_SECONDS,
    Activity,
    Balance,
    BudgetLedger,
    Lease,
    LeaseRequest,
    SponsoredEvent,
    Tally,
    Usage,
    Verdict,
)
from qianmian.campaigns.purse import Purse, open_purse
from qianmian.workspace import Workspace

NOW = 1_700_000_000.25
NUMBERS = count()
Again = Callable[[], BudgetLedger]


@pytest.fixture
def again(settings_of_engine, tmp_path) -> Iterator[Again]:
    opened: list[Purse] = []
    workspace = Workspace(tmp_path, f"budget-{next(NUMBERS)}")

    def open_() -> BudgetLedger:
        opened.append(open_purse(settings_of_engine, workspace))
        return opened[-1].ledger

    yield open_
    for purse in opened:
        purse.shut()


@pytest.fixture
def ledger(again: Again) -> BudgetLedger:
    ledger = again()
    ledger.fund({"bread": 1_000})
    return ledger


def take(
    ledger: BudgetLedger, amount: int = 300, least: int = 1, campaign="bread", *, pooled=False
) -> Lease | None:
    wanted = LeaseRequest(campaign, amount, least, seconds=10.0, window=60.0, pooled=pooled)
    granted = ledger.lease("replica-1", [wanted], NOW)
    return granted[0] if granted else None


def click(event_id: str, lease: Lease, price: int | None = 100, **fields) -> SponsoredEvent:
    given = {"exposure": event_id, "activity": Activity.CLICK, "at": NOW, "value": 0, **fields}
    return SponsoredEvent(
        event_id=event_id, campaign="bread", lease_id=lease.lease_id, price=price, **given
    )


def book(ledger: BudgetLedger, *events: SponsoredEvent) -> list[Verdict]:
    after = ledger.cursor()
    return ledger.book(events, after=after, cursor=f"{after}+")


def test_leases_count_as_spent_until_the_budget_is_out(ledger: BudgetLedger) -> None:
    leases = [take(ledger) for _ in range(4)]
    assert [lease.amount for lease in leases] == [300, 300, 300, 100]
    assert len({lease.lease_id for lease in leases}) == 4
    assert leases[0].expires_at == NOW + 10.0
    assert take(ledger) is None
    assert ledger.balances(NOW) == {"bread": Balance(1_000, 0, 1_000, 0)}


def test_less_than_the_least_is_not_granted(ledger: BudgetLedger) -> None:
    assert take(ledger, 950).amount == 950
    assert take(ledger, 300, least=51) is None
    assert take(ledger, 300, least=50).amount == 50


def test_nothing_is_leased_of_an_unknown_campaign(ledger: BudgetLedger) -> None:
    assert take(ledger, campaign="milk") is None


def test_a_settled_lease_gives_back_what_no_exposure_reserved(ledger: BudgetLedger) -> None:
    lease = take(ledger)
    ledger.report([Usage(lease.lease_id, 120, 30, NOW + 1, done=True)])
    assert ledger.balances(NOW)["bread"] == Balance(1_000, 0, 120, 30)
    ledger.report([Usage(lease.lease_id, 0, 0, 0.0, done=True)])  # a second settlement is ignored
    assert ledger.balances(NOW)["bread"].held == 120


def test_a_report_changes_what_is_expected_and_nothing_that_is_held(ledger: BudgetLedger) -> None:
    lease = take(ledger)
    ledger.report([Usage(lease.lease_id, 120, 30, NOW + 1, done=False)])
    assert ledger.balances(NOW)["bread"] == Balance(1_000, 0, 300, 30)


def test_what_is_expected_fades_over_a_quarter_of_the_window(ledger: BudgetLedger) -> None:
    lease = take(ledger)
    ledger.report([Usage(lease.lease_id, 250, 120, NOW, done=False)])
    assert ledger.balances(NOW + 9.0)["bread"].expected == 120  # in use
    ledger.report([Usage(lease.lease_id, 250, 120, NOW, done=True)])
    later = [ledger.balances(NOW + age)["bread"].expected for age in (0.0, 5.0, 15.0, 16.0)]
    assert later == [120, 80, 0, 0]


def test_a_charge_moves_held_money_to_spent(ledger: BudgetLedger) -> None:
    lease = take(ledger)
    ledger.report([Usage(lease.lease_id, 250, 130, NOW, done=True)])
    assert book(ledger, click("e1", lease)) == [Verdict.BILLED]
    assert ledger.balances(NOW)["bread"] == Balance(1_000, 100, 150, 130)


def test_an_event_and_an_exposure_are_charged_once(again: Again, ledger: BudgetLedger) -> None:
    lease = take(ledger)
    assert book(ledger, click("e1", lease), click("e1", lease)) == [Verdict.BILLED, Verdict.BILLED]
    assert book(again(), click("e1", lease)) == [Verdict.BILLED]
    assert book(ledger, click("e2", lease, exposure="e1")) == [Verdict.REPEATED]
    assert ledger.balances(NOW)["bread"].spent == 100


def test_a_reader_that_was_overtaken_books_nothing(ledger: BudgetLedger) -> None:
    lease = take(ledger)
    assert ledger.cursor() == ""
    assert ledger.book([click("e1", lease)], after="", cursor="7") == [Verdict.BILLED]
    assert ledger.cursor() == "7"
    assert ledger.book([click("e2", lease)], after="", cursor="5") == []
    assert ledger.cursor() == "7"
    assert ledger.balances(NOW)["bread"].spent == 100


def test_more_than_was_reserved_is_charged_while_the_budget_has_it(ledger: BudgetLedger) -> None:
    lease, rest = take(ledger, 50), take(ledger, 800)
    verdicts = book(ledger, click("e1", lease), click("e2", lease), click("e3", lease))
    assert verdicts == [Verdict.BILLED, Verdict.BILLED, Verdict.UNFUNDED]
    assert ledger.balances(NOW)["bread"] == Balance(1_000, 200, 800, 0)
    assert book(ledger, click("e4", rest)) == [Verdict.BILLED]


def test_pooled_leases_stand_in_for_one_another(ledger: BudgetLedger) -> None:
    first, second, open_ = (take(ledger, 300, pooled=True) for _ in range(3))
    whole = take(ledger, 100)
    ledger.report([Usage(first.lease_id, 70, 70, NOW + 1, done=True)])
    ledger.report([Usage(second.lease_id, 60, 60, NOW + 2, done=True)])
    ledger.fund({"bread": 530})  # nothing is free
    assert ledger.balances(NOW)["bread"] == Balance(530, 0, 530, 130)
    assert book(ledger, click("e1", second)) == [Verdict.BILLED]  # 60 of its own, 40 of the first
    assert ledger.balances(NOW)["bread"] == Balance(530, 100, 430, 130)
    assert book(ledger, click("e2", second, 40)) == [Verdict.UNFUNDED]  # 30 are left in the pool
    assert book(ledger, click("e3", second, 30)) == [Verdict.BILLED]
    assert book(ledger, click("e4", whole), click("e5", open_)) == [Verdict.BILLED] * 2
    assert ledger.balances(NOW)["bread"] == Balance(530, 330, 200, 130)


def test_pooled_leases_let_go_of_what_did_not_come(ledger: BudgetLedger) -> None:
    settled, dead, whole = take(ledger, pooled=True), take(ledger, pooled=True), take(ledger)
    ledger.report([Usage(settled.lease_id, 100, 0, NOW + 2, done=True)])
    ledger.close(NOW + 16.9)
    assert ledger.balances(NOW)["bread"].held == 700
    ledger.close(NOW + 17.1)  # a quarter of the window after its last use
    assert ledger.balances(NOW)["bread"].held == 600
    ledger.close(NOW + 25.1)
    assert ledger.balances(NOW)["bread"].held == 300
    assert book(ledger, click("e1", dead)) == [Verdict.BILLED]  # from what is free
    assert ledger.balances(NOW)["bread"] == Balance(1_000, 100, 300, 0)
    ledger.report([Usage(dead.lease_id, 50, 0, NOW + 3, done=True)])
    assert book(ledger, click("e2", whole)) == [Verdict.BILLED]
    ledger.close(NOW + 100)
    assert ledger.balances(NOW)["bread"] == Balance(1_000, 200, 0, 0)


def test_a_lease_of_a_dead_replica_is_held_until_no_charge_can_come(ledger: BudgetLedger) -> None:
    lease = take(ledger)
    assert ledger.close(NOW + 69.9) == 0
    assert book(ledger, click("e1", lease)) == [Verdict.BILLED]
    assert ledger.balances(NOW)["bread"] == Balance(1_000, 100, 200, 0)
    assert ledger.close(NOW + 70.1) == 1
    assert ledger.balances(NOW)["bread"] == Balance(1_000, 100, 0, 0)
    assert book(ledger, click("e2", lease)) == [Verdict.LATE]
    assert ledger.balances(NOW)["bread"].spent == 100


def test_a_settled_lease_closes_a_window_after_its_last_use(ledger: BudgetLedger) -> None:
    used, unused = take(ledger), take(ledger)
    ledger.report([Usage(used.lease_id, 100, 0, NOW + 2, done=True)])
    ledger.report([Usage(unused.lease_id, 0, 0, 0.0, done=True)])
    assert ledger.close(NOW) == 1
    assert ledger.close(NOW + 61.9) == 0
    assert ledger.close(NOW + 62.1) == 1


def test_a_late_event_is_counted_and_not_billed(ledger: BudgetLedger) -> None:
    lease = take(ledger)
    assert book(ledger, click("e1", lease, late=True)) == [Verdict.LATE]
    assert ledger.balances(NOW)["bread"].spent == 0
    assert ledger.tallies() == [Tally("bread", int(NOW // 3600), 0, 1, 0, 0, 0, 1)]


def test_activity_is_counted_by_hour(ledger: BudgetLedger) -> None:
    lease = take(ledger)
    book(
        ledger,
        click("e1", lease, None, activity=Activity.IMPRESSION),
        click("e2", lease, None, activity=Activity.IMPRESSION),
        click("e3", lease),
        click("e4", lease, None, activity=Activity.SALE, value=9_000, at=NOW + 3_600),
    )
    hour = int(NOW // 3600)
    assert ledger.tallies() == [
        Tally("bread", hour, 2, 1, 0, 0, 100, 0),
        Tally("bread", hour + 1, 0, 0, 1, 9_000, 0, 0),
    ]


def test_a_day_is_bought_once(again: Again, ledger: BudgetLedger) -> None:
    assert ledger.buy_day("bread", "2026-11-11", 600, NOW)
    assert again().buy_day("bread", "2026-11-11", 600, NOW)
    assert not ledger.buy_day("bread", "2026-11-12", 600, NOW)
    assert not ledger.buy_day("milk", "2026-11-12", 1, NOW)
    assert ledger.balances(NOW)["bread"] == Balance(1_000, 600, 0, 0)


def test_a_budget_that_was_cut_gives_no_more_and_pays_what_it_held(ledger: BudgetLedger) -> None:
    lease = take(ledger)
    ledger.fund({"bread": 150})
    assert take(ledger) is None
    verdicts = book(ledger, click("e1", lease), click("e2", lease), click("e3", lease))
    assert verdicts == [Verdict.BILLED] * 3
    assert book(ledger, click("e4", lease)) == [Verdict.UNFUNDED]
    assert ledger.balances(NOW)["bread"] == Balance(150, 300, 0, 0)
    assert ledger.balances(NOW)["bread"].free == 0


def test_money_is_exact(ledger: BudgetLedger) -> None:
    ledger.fund({"bread": 3_000_000_000_000_001})
    lease = take(ledger, 3_000_000_000_000_000)
    assert book(ledger, click("e1", lease, 2_999_999_999_999_999)) == [Verdict.BILLED]
    assert ledger.balances(NOW)["bread"] == Balance(
        3_000_000_000_000_001, 2_999_999_999_999_999, 1, 0
    )


def test_paces_are_kept(again: Again, ledger: BudgetLedger) -> None:
    ledger.set_paces({"bread": b'{"a": 1}'})
    ledger.set_paces({"bread": b'{"a": 2}', "milk": b"x"})
    assert again().paces() == {"bread": b'{"a": 2}', "milk": b"x"}


def test_many_writers_never_lease_more_than_there_is(again: Again, ledger: BudgetLedger) -> None:
    granted: list[int] = []

    def work() -> None:
        own = again()
        leases = [take(own, 30) for _ in range(20)]
        granted.extend(lease.amount for lease in leases if lease)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 1_000


def test_charges_are_known_for_long_and_not_for_ever(ledger: BudgetLedger) -> None:
    lease = take(ledger)
    assert book(ledger, click("e1", lease, exposure="x")) == [Verdict.BILLED]
    assert ledger.buy_day("bread", "2026-11-11", 10, NOW)
    ledger.close(NOW + IDEMPOTENCE_SECONDS - 1)
    again = click("e1", lease, exposure="x")
    assert book(ledger, again, click("e2", lease, exposure="x")) == [
        Verdict.BILLED,
        Verdict.REPEATED,
    ]
    ledger.close(NOW + IDEMPOTENCE_SECONDS + 1)
    assert book(ledger, again) == [Verdict.LATE]  # its lease is long closed
    assert ledger.balances(NOW)["bread"].spent == 110
