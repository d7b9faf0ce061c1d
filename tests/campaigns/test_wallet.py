from __future__ import annotations

import pytest

from qianmian.campaigns.sqlite_ledger import SqliteLedger
from qianmian.campaigns.wallet import Terms, Wallet
from qianmian.errors import EventStoreError

TERMS = {"bread": Terms(least=100, most=400, seconds=10.0, window=60.0)}


@pytest.fixture
def ledger(tmp_path):
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.fund({"bread": 1_000})
    yield ledger
    ledger.shut()


@pytest.fixture
def wallet(ledger):
    wallet = Wallet(ledger, holder="r1", margin=1.0)
    wallet.refresh(TERMS, 0.0)
    return wallet


def reserve(wallet, amount=40, now=1.0):
    return wallet.reserve("bread", amount, expected=amount / 2, now=now)


def held(ledger, now=0.0):
    return ledger.balances(now)["bread"].held


def test_a_new_wallet_has_a_first_lease(wallet, ledger) -> None:
    assert held(ledger) == 100
    assert wallet.can_reserve("bread", 100, now=1.0)
    assert not wallet.can_reserve("bread", 101, now=1.0)
    assert reserve(wallet) == reserve(wallet)
    assert reserve(wallet) is None


def test_what_was_wanted_is_leased_ahead(wallet, ledger) -> None:
    for _ in range(10):
        reserve(wallet)
    wallet.refresh(TERMS, 2.0)
    assert held(ledger) == 80 + 400  # of the one used up, and the largest lease
    assert reserve(wallet, now=3.0) is not None


def test_a_lease_is_not_used_near_its_end_and_then_given_back(wallet, ledger) -> None:
    lease = reserve(wallet, now=8.9)
    assert lease is not None
    assert reserve(wallet, now=9.0) is None
    wallet.refresh(TERMS, 9.5)
    assert held(ledger) == 40 + 100
    assert reserve(wallet, now=9.6) not in {None, lease}


def test_a_campaign_that_ended_gives_its_lease_back(wallet, ledger) -> None:
    wallet.refresh({}, 2.0)
    assert held(ledger) == 0
    assert reserve(wallet) is None


def test_everything_is_given_back_at_the_end(wallet, ledger) -> None:
    reserve(wallet)
    wallet.settle_all()
    assert held(ledger) == 40
    assert reserve(wallet) is None


def test_expectations_reach_the_ledger_before_the_lease_is_settled(wallet, ledger) -> None:
    reserve(wallet)
    wallet.refresh(TERMS, 2.0)
    assert ledger.balances(2.0)["bread"].expected == 20
    assert held(ledger) == 100 + 200  # and a second lease: the first would not last for 5 s


def test_what_could_not_be_settled_is_settled_the_next_time(wallet, ledger, monkeypatch) -> None:
    reserve(wallet)
    with monkeypatch.context() as broken:

        def report(usages):
            raise EventStoreError("the disk is full")

        broken.setattr(ledger, "report", report)
        with pytest.raises(EventStoreError):
            wallet.refresh({}, 2.0)
    assert held(ledger) == 100
    wallet.refresh({}, 3.0)
    assert held(ledger) == 40


def test_what_is_given_back_was_never_reserved(wallet, ledger) -> None:
    kept, other = reserve(wallet), reserve(wallet)
    wallet.give_back("bread", other, 40, expected=20.0)
    wallet.refresh({}, 2.0)
    assert held(ledger) == 40
    wallet.give_back("bread", kept, 40, expected=20.0)  # too late: the lease is settled
    wallet.refresh({}, 3.0)
    assert held(ledger) == 40
