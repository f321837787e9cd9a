"""What an agent may do, and an operator's orders to single agents."""

from decimal import Decimal
from typing import ClassVar

from tallystick.events.messages.command import Command, Name, Reason


class CheckEnforcement(Command):
    """What an agent may do now."""

    group: ClassVar[str] = "enforce"
    query: ClassVar[bool] = True
    agent: Name


class Throttle(Command):
    """Slow an agent and its descendants to ``rate`` of normal speed, 0 < rate <= 1, until `Resume`."""

    group: ClassVar[str] = "enforce"
    agent: Name
    rate: Decimal


class Stop(Command):
    """Stop an agent and its descendants until `Resume`."""

    group: ClassVar[str] = "enforce"
    agent: Name
    reason: Reason


class Resume(Command):
    """Clear an explicit `Throttle` or `Stop`."""

    group: ClassVar[str] = "enforce"
    agent: Name
