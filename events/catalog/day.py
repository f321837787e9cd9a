"""What happens to the day, its limits, the circuit breaker and the priorities of products."""

import datetime as dt
from typing import Any, ClassVar

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.config.kinds import Priority
from tallystick.events.catalog.event import Event, Kind


class DayBegan(Event, kw_only=True, tag="day-began.v1"):
    """A day began in the fleet's time zone: nothing is used of its limits, and the breaker is closed.

    The first day of a fleet, and one that begins because the zone changed, begin with their `ConfigLoaded`.
    """

    kind: ClassVar[Kind] = "decision"
    date: str
    ends_at: dt.datetime


class BreakerTripped(Event, kw_only=True, tag="breaker-tripped.v1"):
    """A condition became true: nothing new starts until an operator or the next day closes the breaker.

    ``because`` is the condition with what its names stood for; ``numbers`` holds them by name, exact numbers as text.
    """

    kind: ClassVar[Kind] = "decision"
    condition: str
    because: str
    numbers: dict[str, Any]
    action: str


class BreakerClosed(Event, kw_only=True, tag="breaker-closed.v1"):
    """New work may start again. The ``silenced`` conditions still hold, and trip the breaker no more today."""

    kind: ClassVar[Kind] = "decision"
    silenced: list[str] = msgspec.field(default_factory=list)


class BreakerReset(Event, kw_only=True, tag="breaker-reset.v1"):
    """An operator asked to close the breaker, whatever holds."""

    kind: ClassVar[Kind] = "fact"
    reason: str


class LimitApproved(Event, kw_only=True, tag="limit-approved.v1"):
    """An operator raised limits of the day, until it ends. ``limits`` are all that are raised now."""

    kind: ClassVar[Kind] = "fact"
    date: str
    limits: Amounts


class PriorityOverridden(Event, kw_only=True, tag="priority-overridden.v1"):
    """An operator set the priority of a product's tasks, whatever they name; without ``priority`` ended that."""

    kind: ClassVar[Kind] = "fact"
    product: str
    priority: Priority | None = None
    reason: str | None = None
