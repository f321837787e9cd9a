"""The operator's messages about days, the circuit breaker and priorities, and what the clock proposes."""

from decimal import Decimal
from typing import ClassVar

from tallystick.config.kinds import Priority
from tallystick.events.command import Command, Name, Reason


class OverridePriority(Command):
    """Give all tasks of a product this priority, whatever they name; null ends that."""

    group: ClassVar[str] = "operate"
    product: Name
    priority: Priority | None
    reason: Reason | None = None


class ApproveLimit(Command):
    """Raise limits of the day until it ends; the breaker closes if no condition holds then."""

    group: ClassVar[str] = "operate"
    max_cost_usd: Decimal | None = None
    max_tokens_total: int | None = None


class ResetBreaker(Command):
    """Close the breaker. A condition that still holds trips it no more today."""

    group: ClassVar[str] = "operate"
    reason: Reason


class BeginDay(Command):
    """Time has passed: it is another day in the fleet's zone."""

    group: ClassVar[str] = "internal"
