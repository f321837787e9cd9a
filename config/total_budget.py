"""Where the total of a fleet comes from: the file, or an account of another fleet, its parent."""

from collections.abc import Sequence
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

    parent: Text | tuple[Text, ...]
    """Its address; several where servers share the parent."""
    account: Name
    budget: DelegateBudget = DelegateBudget()

    def __post_init__(self) -> None:
        if not self.parents:
            raise Unfit({("parent",): "an address, or several in a list"})
        for address in self.parents:
            scheme, found, rest = address.partition("://")
            if not found or not rest or scheme not in ("http", "https", "sqlite"):
                words = "the address of a server (https://…), or a store of this machine (sqlite:///…)"
                raise Unfit({("parent",): words})
            if scheme == "sqlite" and len(self.parents) > 1:
                raise Unfit({("parent",): "in a list, addresses of servers that share the parent (https://…)"})
            if scheme != "sqlite" and "@" in rest:
                raise Unfit({("parent",): "an address without a key: that is in $TALLYSTICK_PARENT_KEY"})

    @property
    def parents(self) -> tuple[str, ...]:
        """The addresses of the parent, one or several."""
        return addresses(self.parent)


def addresses(parent: str | Sequence[str]) -> tuple[str, ...]:
    """The addresses of a parent as a configuration has them: one, or several in a list."""
    return (parent,) if isinstance(parent, str) else tuple(parent)


def check_total(total: TotalBudget, delegate: Delegate | None) -> None:
    """A total comes from one place.

    Raises:
        Unfit: it is written, and comes from a parent too.
    """
    if delegate is not None and total != TotalBudget():
        words = "one of total_budget and delegate: with delegate, the total is what the parent has granted"
        raise Unfit({("total_budget",): words, ("delegate",): words})
