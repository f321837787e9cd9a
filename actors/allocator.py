"""The allocator: what is granted next. So far that is the budget of the next period, when the clock says so."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from tallystick.actors.messages import ALLOCATOR, MANAGER, Post, Proposal, Recorded, Tick
from tallystick.events import catalog as e
from tallystick.events import commands as c
from tallystick.events import proposals as p
from tallystick.events.ledger import Ledger


class Allocator:
    """Watches for the end of the budget period."""

    name = ALLOCATOR
    follows: frozenset[type[e.Event]] = frozenset({e.TotalBudgetSet, e.PeriodRenewed})

    def begin(self, ledger: Ledger) -> None:
        self._period_ends = ledger.period_ends

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        match message:
            case Recorded():
                for event in message.events:
                    if isinstance(event, e.TotalBudgetSet | e.PeriodRenewed):
                        self._period_ends = event.period_ends_at
                return []
            case Tick():
                if self._period_ends is None or now < self._period_ends:
                    return []
                self._period_ends = None
                return [Post(MANAGER, Proposal(p.RenewPeriod(id=f"{c.HOUSE}renew-{now.isoformat()}"), ALLOCATOR))]
        raise TypeError(f"the allocator does not know {type(message).__name__}")

    def due_at(self) -> dt.datetime | None:
        return self._period_ends
