"""What explains one class of event, and the small phrases that the tables share."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tallystick.config.amounts import COST, TIME, TOKENS, Amounts, Triple
from tallystick.events import catalog as e
from tallystick.events.state.accounts import OVERDRAFT, POOL, RESERVE, ROOT, Account
from tallystick.events.state.ledger import Ledger
from tallystick.explain.history import History
from tallystick.wording import DIMENSION_NAMES, amounts, compact, exact_percent, percent, short_amounts, shown_time


class Style(NamedTuple):
    """How exactly a sentence writes its numbers."""

    triple: Callable[[Triple], str]
    number: Callable[[int], str]
    percent: Callable[[float], str]
    time: Callable[[dt.datetime], str]

    def amounts(self, amount: Amounts) -> str:
        return self.triple(amount.triple)

    def used(self, event: "e.UsageReported | e.HoldSettled") -> str:
        """What a report used, without the dimensions that it did not."""
        return self.triple((event.tokens or None, event.time_ms or None, event.cost_nanos or None))


EXACT: Final = Style(amounts, "{:,}".format, exact_percent, shown_time)
BRIEF: Final = Style(short_amounts, compact, percent, "{:%H:%M:%S}".format)


class Row(NamedTuple):
    """How one class of event is explained.

    ``says`` is the sentence that says what happened; every number in it is the event's own. ``why`` is the rule
    with its numbers, asked of the state just after the event; a text where the rule has no numbers. It followed from
    the newest earlier events of the classes ``after`` about the same agent or task (or about the fleet), and from the
    positions that ``also`` finds; both are asked before the event is folded itself.
    """

    says: Callable[[Any, Style], str]
    why: Callable[[Any, Ledger, History], list[str]] | str = ""
    after: tuple[type[e.Event], ...] = ()
    also: Callable[[Any, Ledger, History], list[int | None]] | None = None


Rows = Mapping[type[e.Event], Row]


def only(dimension: int, units: int | None) -> str:
    """An amount of one dimension in a sentence."""
    triple: Triple = (
        units if dimension == TOKENS else None,
        units if dimension == TIME else None,
        units if dimension == COST else None,
    )
    return amounts(triple)


def unit(dimension: str) -> str:
    """A dimension's name in a sentence."""
    return DIMENSION_NAMES.get(dimension, dimension)


def the(name: str) -> str:
    """An account or one of the fleet's own funds, in a sentence."""
    return f"the {name}" if name in (POOL, RESERVE, OVERDRAFT) else name


def left_at_source(account: Account, amount: Triple) -> str:
    """What the sources of a grant have left."""
    free: list[int | None] = [None, None, None]
    names = []
    for d, units in enumerate(amount):
        if units is None:
            continue
        source = account.source(d)
        names.append("the pool" if source.id == ROOT else source.id)
        free[d] = None if source.allocated[d] is None else source.free[d]
    if free == [None, None, None]:
        return "the fleet's total does not limit this"
    sources = " and ".join(dict.fromkeys(names))
    return f"{sources} had it free; {amounts((free[0], free[1], free[2]))} remain there"
