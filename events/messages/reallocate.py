"""Move budget between the pool and open accounts."""

from typing import ClassVar

from tallystick.config.amounts import Budget
from tallystick.events.messages.command import Command, Name


class Rebalance(Command):
    """Make a plan of moves now and apply it; answered with the moves."""

    group: ClassVar[str] = "reallocate"


class BorrowFromPool(Command):
    """Add to an open allocation from the parent's free balance; remembered as borrowed."""

    group: ClassVar[str] = "reallocate"
    agent: Name
    amount: Budget


class ReturnToPool(Command):
    """Give back at most what is available, borrowed first."""

    group: ClassVar[str] = "reallocate"
    agent: Name
    amount: Budget
