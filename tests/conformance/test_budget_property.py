"""Never over budget: any interleaving of leases, showings, charges, settlements and deaths."""

from __future__ import annotations

from collections import Counter
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from qianmian.campaigns.ledger import Activity, BudgetLedger, SponsoredEvent, Verdict
from qianmian.campaigns.purse import open_purse
from qianmian.campaigns.wallet import Terms, Wallet
from qianmian.events.engine import EngineSettings
from qianmian.workspace import Workspace

NUMBERS = count()
BUDGET = 1_000
WINDOW = 60.0
CAMPAIGN = "bread"
REPLICAS = 3
replicas = st.integers(0, REPLICAS - 1)


class Budget(RuleBasedStateMachine):
    """Replicas with wallets on one ledger, shoppers, and the stream; all of them unreliable."""

    engine: EngineSettings

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        workspace = Workspace(Path(self.folder.name), f"property-{next(NUMBERS)}")
        self.purse = open_purse(self.engine, workspace)
        self.ledger: BudgetLedger = self.purse.ledger
        self.now = 1_700_000_000.0
        self.wallets: dict[int, Wallet] = {}
        self.started = 0
        self.exposures: list[tuple[str, str, int, int, float]] = []
        self.billed: Counter[str] = Counter()
        self.charged: set[str] = set()
        self.number = 0
        self.reserved_share = 1.0

    @initialize(share=st.sampled_from([1.0, 0.3]))
    def fund(self, share: float) -> None:
        self.reserved_share = share
        pooled = share < 1.0
        self.terms = {
            CAMPAIGN: Terms(least=90, most=250, seconds=10.0, window=WINDOW, pooled=pooled)
        }
        self.ledger.fund({CAMPAIGN: BUDGET})

        for replica in range(REPLICAS):
            self.start(replica)

    def start(self, replica: int) -> None:
        self.started += 1
        self.wallets[replica] = Wallet(self.ledger, holder=f"{replica}.{self.started}", margin=0.0)
        self.refresh(replica)

    @rule(replica=replicas)
    def kill(self, replica: int) -> None:
        """A replica that dies takes its memory with it: nothing is settled."""
        self.start(replica)

    @rule(replica=replicas)
    def refresh(self, replica: int) -> None:
        self.wallets[replica].refresh(self.terms, self.now)

    @rule(replica=replicas)
    def leave(self, replica: int) -> None:
        self.wallets[replica].settle_all()
        self.start(replica)

    @rule(replica=replicas, prices=st.lists(st.integers(30, 90), min_size=1, max_size=6))
    def show(self, replica: int, prices: list[int]) -> None:
        for price in prices:
            reserved = max(round(price * self.reserved_share), 1)
            lease = self.wallets[replica].reserve(
                CAMPAIGN, reserved, expected=reserved / 2, now=self.now
            )
            if lease is not None:
                exposure = f"r{len(self.exposures)}"
                self.exposures.append((exposure, lease, price, reserved, self.now))

    @precondition(lambda self: self.exposures)
    @rule(data=st.data(), count=st.integers(1, 8))
    def click(self, data, count: int) -> None:
        for _ in range(count):
            self.charge(data.draw(st.sampled_from(self.exposures)), fresh=data.draw(st.booleans()))

    @precondition(lambda self: self.exposures)
    @rule()
    def click_all(self) -> None:
        """The worst case: everything that was ever shown is clicked."""
        for exposure in self.exposures:
            self.charge(exposure, fresh=True)

    def charge(self, shown: tuple[str, str, int, int, float], *, fresh: bool) -> None:
        exposure, lease, price, reserved, shown_at = shown
        self.number += fresh
        event = SponsoredEvent(
            event_id=f"e{self.number}",
            campaign=CAMPAIGN,
            activity=Activity.CLICK,
            at=self.now,
            value=0,
            exposure=exposure,
            lease_id=lease,
            price=price,
            late=self.now > shown_at + WINDOW,
        )
        known = event.event_id in self.charged
        before = self.ledger.balances(self.now)[CAMPAIGN].spent
        after = self.ledger.cursor()
        (verdict,) = self.ledger.book([event], after=after, cursor=str(int(after or 0) + 1))
        paid = self.ledger.balances(self.now)[CAMPAIGN].spent - before
        if known:
            assert paid == 0
            return
        self.charged.add(event.event_id)
        if verdict is Verdict.BILLED:
            assert paid == price
            self.billed[exposure] += price
            assert self.billed[exposure] == price, "an exposure is billed once"
        else:
            assert paid == 0
            if exposure not in self.billed and reserved == price:
                assert event.late, "what was reserved in full is billed within its window"

    @rule(seconds=st.sampled_from([0.5, 5.0, 11.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.ledger.close(self.now)

    @invariant()
    def never_over_budget(self) -> None:
        balance = self.ledger.balances(self.now).get(CAMPAIGN)
        if balance is not None:
            assert balance.spent == sum(self.billed.values())
            assert balance.spent <= BUDGET
            assert 0 <= balance.held <= BUDGET - balance.spent

    def teardown(self) -> None:
        self.purse.shut()
        self.folder.cleanup()


def test_never_over_budget(settings_of_engine: EngineSettings) -> None:
    machine = type("BudgetOnEngine", (Budget,), {"engine": settings_of_engine})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=15, stateful_step_count=30, deadline=None)
    )
