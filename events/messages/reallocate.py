"""Move budget between the pool and open accounts."""

from typing import ClassVar

from tallystick.config.amounts import Budget
from tallystick.events.messages.command import Command, Name
from tallystick.events.messages.from_child import FromChild


class Rebalance(Command):
    """Make a plan of moves now and apply it; answered with the moves."""

    group: ClassVar[str] = "reallocate"


class BorrowFromPool(Command):
    """Add to an open allocation from the parent's free balance; remembered as borrowed. ``child``: a fleet draws it."""

    group: ClassVar[str] = "reallocate"
    agent: Name
    amount: Budget
    child: FromChild | None = None


class ReturnToPool(Command):
    """Give back at most what is available, borrowed first. ``child``: a fleet gives it back, of a delegated account."""

    group: ClassVar[str] = "reallocate"
    agent: Name
    amount: Budget
    child: FromChild | None = None
