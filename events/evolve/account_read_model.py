"""The accounts as those see them who follow the log: specialists, views and screens.

It decides nothing. It changes by the core's own steps, event by event, so it says the same as the ledger did behind the
last event. A plan that was made of it is checked again by the core when it is applied: an account that has changed
meanwhile can cost a plan, never money.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from msgspec.structs import replace

from tallystick.events import catalog as e
from tallystick.events.evolve import accounts, corrections, enforcement, usage
from tallystick.events.state.accounts import Balances
from tallystick.events.state.ledger import Ledger

NOT_FOLLOWED = frozenset(
    {"caps", "children", "counts_until", "forecasts", "growth", "heard_at", "holds", "model", "pool_notice"}
)
"""The fields of accounts that only decisions need: the read model leaves them as in a new account."""


class AccountReadModel(Balances):
    """The balances of a fleet, and of each open account its level, orders and activity.

    What only decisions need stays as in a new account: growth and model of its usage, forecasts, notices, the lists of
    holds and sub-agents, and when an account with a lease was heard.
    """

    def __init__(self, ledger: Ledger | None = None) -> None:
        super().__init__()
        if ledger is None:
            return
        self.root, self.reserve = ledger.root.twin(None), ledger.reserve.twin(self.root)
        self.spent, self.held, self.opening = [*ledger.spent], [*ledger.held], ledger.opening
        for account in ledger.accounts.values():  # each was opened after those above it
            parent = account.parent
            above = self.root if parent is None or parent is ledger.root else self.accounts[parent.id]
            self.accounts[account.id] = account.twin(above)
        for hold in ledger.holds.values():
            self.holds[hold.id] = replace(hold, account=self.accounts[hold.agent])

    def fold(self, events: Iterable[e.Event]) -> None:
        """Follow a recorded batch."""
        steps = self.STEPS
        for event in events:
            step = steps.get(type(event))
            if step is not None:
                step(self, event)

    STEPS: ClassVar[dict[type[e.Event], Callable[[Balances, Any], object]]] = {
        e.TotalBudgetSet: accounts.set_total,
        e.PeriodRenewed: accounts.renew_period,
        e.ReserveDrawn: accounts.draw_reserve,
        e.BudgetAllocated: accounts.open_account,
        e.BudgetDrawn: accounts.draw,
        e.BudgetReturned: accounts.give_back,
        e.BudgetMoved: accounts.move,
        e.UnusedReturned: accounts.give_unused_back,
        e.UnusedRestored: accounts.restore_unused,
        e.Covered: accounts.cover,
        e.CoverRepaid: accounts.repay_cover,
        e.BudgetReleased: accounts.close_account,
        e.UsageReported: usage.book_report,
        e.HoldPlaced: usage.book_hold,
        e.HoldExtended: usage.extend_hold,
        e.HoldSettled: usage.book_settlement,
        e.HoldSpent: usage.book_expiry,
        e.HoldEnded: usage.return_hold,
        e.UsageCorrected: corrections.book_correction,
        e.LevelChanged: enforcement.change_level,
        e.AgentThrottled: enforcement.throttle,
        e.AgentStopped: enforcement.stop,
        e.AgentResumed: enforcement.resume,
        e.OverdraftExceeded: enforcement.overdraw,
        e.OverdraftRepaid: enforcement.repay,
        e.ExhaustionWarned: enforcement.warn,
        e.LastCallGiven: enforcement.give_last_call,
    }
    """The steps of `table.STEPS` that change balances and accounts; an event that is not here changes nothing."""
