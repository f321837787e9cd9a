"""Where the total of a fleet comes from: the file, or an account of another fleet, its parent."""

from typing import Literal

from tallystick.config.amounts import Budget, Triple
from tallystick.config.errors import Unfit
from tallystick.config.kinds import Count, Dollars, Name, Seconds, Text
from tallystick.config.section import Section


class TotalBudget(Section, frozen=True):
    """What the fleet may spend per period; None is no limit."""

    tokens: Count | None = None
    time_seconds: Seconds | None = None
    cost_usd: Dollars | None = None
    period: Literal["none", "day", "week", "month"] = "none"
    rollover: bool = False

    @property
    def amounts(self) -> Triple:
        """The total in tokens, milliseconds and nano-dollars; None where it is not limited."""
        return Budget(self.tokens, self.time_seconds, self.cost_usd).exact("total_budget")


class DelegateBudget(Section, frozen=True):
    """What the fleet asks its parent for at first, and keeps at hand."""

    tokens: Count | None = None
    time_seconds: Seconds | None = None
    cost_usd: Dollars | None = None

    @property
    def amounts(self) -> Triple:
        """Tokens, milliseconds and nano-dollars; None for what is not asked for."""
        return Budget(self.tokens, self.time_seconds, self.cost_usd).exact("delegate.budget")


class Delegate(Section, frozen=True):
    """Where the parent is, and which of its accounts is this fleet's."""

    parent: Text
    account: Name
    budget: DelegateBudget = DelegateBudget()

    def __post_init__(self) -> None:
        scheme, found, rest = self.parent.partition("://")
        if not found or not rest or scheme not in ("http", "https", "sqlite"):
            raise Unfit({("parent",): "the address of a server (https://…), or a store of this machine (sqlite:///…)"})
        if scheme != "sqlite" and "@" in rest:
            raise Unfit({("parent",): "an address without a key: that is in $TALLYSTICK_PARENT_KEY"})


def check_total(total: TotalBudget, delegate: Delegate | None) -> None:
    """A total comes from one place.

    Raises:
        Unfit: it is written, and comes from a parent too.
    """
    if delegate is not None and total != TotalBudget():
        words = "one of total_budget and delegate: with delegate, the total is what the parent has granted"
        raise Unfit({("total_budget",): words, ("delegate",): words})
