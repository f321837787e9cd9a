"""What happens between a fleet and the fleet whose account its total is: its parent."""

from typing import ClassVar

from tallystick.config.amounts import Amounts
from tallystick.events.catalog.event import Event, Kind


class ChildBound(Event, kw_only=True, tag="child-bound.v1"):
    """At the parent: a fleet has taken a delegated account as its own. No other one may."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    fleet: str


class DrawAsked(Event, kw_only=True, tag="draw-asked.v1"):
    """At the child: it will ask its parent for more. Nothing is granted yet."""

    kind: ClassVar[Kind] = "decision"
    number: int
    amount: Amounts


class ReturnAsked(Event, kw_only=True, tag="return-asked.v1"):
    """At the child: it gives budget back. Its total is lower by it from here on, before the parent knows."""

    kind: ClassVar[Kind] = "decision"
    number: int
    amount: Amounts


class RangeReported(Event, kw_only=True, tag="range-reported.v1"):
    """At the child: what it has used between two positions of its log, for its parent to book once."""

    kind: ClassVar[Kind] = "decision"
    first: int
    upto: int
    amount: Amounts


class ParentAnswered(Event, kw_only=True, tag="parent-answered.v1"):
    """At the child: how its account stands at the parent, where that is news.

    ``granted`` is all that the parent ever granted to the account, ``booked`` the position up to which it has booked
    the child's use, ``settled`` the draw or return that is decided. ``stopped``: why the parent lets nothing go on;
    left out where it does.
    """

    kind: ClassVar[Kind] = "fact"
    granted: Amounts | None = None
    booked: int = 0
    settled: int = 0
    stopped: str | None = None


class DelegationEnded(Event, kw_only=True, tag="delegation-ended.v1"):
    """At the child: it closes. What it has left goes back to the parent, and nothing is granted any more."""

    kind: ClassVar[Kind] = "fact"
