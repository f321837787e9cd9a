"""One log against the other: whether a child and its parent say the same of grants, returns and use.

What is still under way is no contradiction: a child records before it sends, and a parent before it answers.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from tallystick.config.amounts import EDGE_NAMES, Triple, edge
from tallystick.events import catalog as e
from tallystick.events.decide.delegated import OVERRUN
from tallystick.events.state.money import ZERO, Money, minus, money, plus
from tallystick.wording import amounts

Spans = dict[tuple[int, int], Money]


class Handed(msgspec.Struct):
    """What the parent's log says of one account for a fleet."""

    limits: Triple = (None, None, None)
    fleet: str | None = None
    granted: Money = ZERO
    sums: list[Money] = []
    """All that had been granted after each grant."""
    draws: dict[int, Money] = {}
    returns: dict[int, Money] = {}
    spans: Spans = {}
    overrun: Money = ZERO
    """What others covered because the fleet had used more than it was granted."""
    allocated: Money = ZERO
    released: bool = False
    taken: list[str] = []
    """What took from the account, and is not its fleet's."""

    @property
    def booked(self) -> int:
        """The last position that is booked."""
        return max((upto for _, upto in self.spans), default=0)


class Own(msgspec.Struct):
    """What the child's log says of its exchange."""

    account: str | None = None
    position: int = 0
    draws: dict[int, Money] = {}
    returns: dict[int, Money] = {}
    spans: Spans = {}
    heard: list[tuple[int, Money]] = []
    """At which positions it heard what was granted in all."""
    booked: list[tuple[int, int]] = []
    total: Triple = (None, None, None)


class Compared(msgspec.Struct):
    """What was compared, and what is wrong with it."""

    account: str
    fleet: str
    granted: Money
    returned: Money
    used: Money
    ranges: int
    under_way: int
    """Draws, returns and reports of the child that the parent has not booked."""
    overrun: Money
    problems: list[str]

    def json(self) -> dict[str, Any]:
        """For machines."""
        shown = {name: edge(_some(getattr(self, name))) for name in ("granted", "returned", "used", "overrun")}
        return {
            "account": self.account,
            "fleet": self.fleet,
            **shown,
            "ranges": self.ranges,
            "under_way": self.under_way,
            "problems": self.problems,
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.account} of the parent is the total of this fleet, {self.fleet}"
        yield f"granted {amounts(_some(self.granted))}, given back {amounts(_some(self.returned))}"
        yield f"{self.ranges:,} reports of use, without a gap: {amounts(_some(self.used))}"
        if any(self.overrun):
            yield f"{amounts(_some(self.overrun))} was used beyond what was granted, and is covered there"
        if self.under_way:
            yield f"{self.under_way} of its draws, returns and reports are under way: the parent has not booked them"


def _some(units: Money) -> Triple:
    """What there is, by dimension; nothing as zeros."""
    return (units[0] or None, units[1] or None, units[2] or None) if any(units) else units


def own_of(events: Iterable[e.Event]) -> Own:
    """What a child's log says."""
    own = Own()
    for event in events:
        own.position = event.position
        match event:
            case e.ConfigLoaded() if own.account is None:
                own.account = (event.config.get("delegate") or {}).get("account")
            case e.DrawAsked():
                own.draws[event.number] = money(event.amount.triple)
            case e.ReturnAsked():
                own.returns[event.number] = money(event.amount.triple)
            case e.RangeReported():
                own.spans[event.first, event.upto] = money(event.amount.triple)
            case e.ParentAnswered():
                if event.granted is not None:
                    own.heard.append((event.position, money(event.granted.triple)))
                if event.booked:
                    own.booked.append((event.position, event.booked))
            case e.TotalBudgetSet():
                own.total = event.total.triple
    return own


def handed_of(events: Iterable[e.Event], account: str, fleet: str) -> Handed | None:
    """What a parent's log says of the account that was this fleet's; None where there never was one."""
    found: Handed | None = None
    at: Handed | None = None
    for event in events:
        if isinstance(event, e.BudgetAllocated) and event.agent == account:
            at = None
            if event.delegated:
                amount = money(event.amount.triple)
                at = Handed(limits=event.amount.triple, granted=amount, allocated=amount, sums=[amount])
        elif at is not None:
            _follow(at, event, account)
            if at.fleet == fleet:
                found = at
    return found


def _follow(at: Handed, event: e.Event, account: str) -> None:
    match event:
        case e.ChildBound(agent=agent) if agent == account:
            at.fleet = event.fleet
        case e.BudgetDrawn(agent=agent) if agent == account:
            amount = money(event.amount.triple)
            at.granted, at.allocated = plus(at.granted, amount), plus(at.allocated, amount)
            at.sums.append(at.granted)
            if event.number:
                at.draws[event.number] = amount
        case e.BudgetReturned(agent=agent) if agent == account:
            amount = money(event.amount.triple)
            at.allocated = minus(at.allocated, amount)
            at.returns[event.number] = amount
        case e.UsageReported(agent=agent, child_upto=upto) if agent == account and upto:
            at.spans[event.child_first, upto] = (event.tokens, event.time_ms, event.cost_nanos)
        case e.Covered(target=target, cause=cause) if target == account and cause == OVERRUN:
            at.overrun = plus(at.overrun, money(event.amount.triple))
        case e.BudgetReleased(agent=agent) if agent == account:
            at.released = True
        case e.UnusedReturned(agent=agent) if agent == account:
            at.taken.append(f"position {event.position} of the parent: black gave back")
        case e.BudgetMoved(source=source, target=target) if account in (source, target):
            at.taken.append(f"position {event.position} of the parent: a plan moved its budget")


def compared(own: Own, handed: Handed | None, fleet: str) -> Compared:
    """Both compared; ``problems`` are the contradictions."""
    account = own.account or ""
    if handed is None:
        problem = f"the parent's log has no account {account} that was the total of the fleet {fleet}"
        return Compared(account, fleet, ZERO, ZERO, ZERO, 0, 0, ZERO, [problem])
    problems = [
        *handed.taken,
        *_numbered("draw", own.draws, handed.draws),
        *_numbered("return", own.returns, handed.returns),
        *_ranges(own, handed),
        *_heard(own, handed),
        *_total(own, handed),
    ]
    settled = {number for number in own.draws if number < max([*handed.draws, *handed.returns, 0])}
    missing = [*(own.draws.keys() - handed.draws.keys() - settled), *(own.returns.keys() - handed.returns.keys())]
    late = own.spans.keys() - handed.spans.keys()
    return Compared(
        account,
        fleet,
        handed.granted,
        _sum(handed.returns),
        _sum(handed.spans),
        len(handed.spans),
        len(missing) + len(late),
        handed.overrun,
        problems,
    )


def _sum(found: Mapping[Any, Money]) -> Money:
    whole = ZERO
    for amount in found.values():
        whole = plus(whole, amount)
    return whole


def _numbered(what: str, own: Mapping[int, Money], booked: Mapping[int, Money]) -> Iterator[str]:
    for number, amount in booked.items():
        if number not in own:
            yield f"the parent has booked {what} {number}, which is not in this log: it is an old copy, or was changed"
        elif own[number] != amount:
            yield (f"{what} {number} is {amounts(_some(own[number]))} here and {amounts(_some(amount))} at the parent")


def _ranges(own: Own, handed: Handed) -> Iterator[str]:
    expected = 1
    for (first, upto), amount in sorted(handed.spans.items()):
        if first != expected:
            yield f"the parent has booked use from position {first} on, and {expected} would be next"
        expected = upto + 1
        here = own.spans.get((first, upto))
        if here is None:
            yield f"the parent has booked a report of the positions {first} to {upto}, which is not in this log"
        elif here != amount:
            yield (
                f"the use between {first} and {upto} is {amounts(_some(here))} here and {amounts(_some(amount))} at the"
                " parent"
            )
    if handed.booked > own.position:
        yield f"the parent has booked position {handed.booked}, and this log ends at {own.position}: it is an old copy"


def _heard(own: Own, handed: Handed) -> Iterator[str]:
    for position, granted in own.heard:
        if granted not in handed.sums:
            heard = amounts(_some(granted))
            yield f"position {position}: {heard} was heard as granted, which the parent never had granted in all"
    marks = {upto for _, upto in handed.spans}
    for position, booked in own.booked:
        if booked not in marks:
            yield f"position {position}: {booked} was heard as booked, which the parent has not booked"


def _total(own: Own, handed: Handed) -> Iterator[str]:
    for name, total, limit, allocated in zip(EDGE_NAMES, own.total, handed.limits, handed.allocated, strict=True):
        if limit is not None and not handed.released and (total is None or total > allocated):
            yield f"{name}: this fleet has a total of {total} units, and its account at the parent {allocated}"
