"""What agents use, what they set aside before it, signs of life, and how the budgets stand."""

from decimal import Decimal
from typing import Annotated, ClassVar

import msgspec

from tallystick.config.amounts import Budget
from tallystick.events.messages.command import Command, Name


class ReportUsage(Command):
    """What an agent or a task says that it spent: a fact, never refused, never dropped.

    ``lease`` is the run of the task that it is of; left out, the one that goes on is meant.
    """

    group: ClassVar[str] = "track"
    agent: Name | None = None
    task: Name | None = None
    lease: Name | None = None
    usage: Budget | None = None
    model: Name | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    operation: Name | None = None


class Reserve(Command):
    """Hold ``estimate`` before an operation. The hold's id is this command's id."""

    group: ClassVar[str] = "track"
    agent: Name
    estimate: Budget
    ttl_seconds: Decimal | None = None


class Settle(Command):
    """Replace a hold by what the operation really used."""

    group: ClassVar[str] = "track"
    hold: Name
    usage: Budget


class CancelHold(Command):
    """Give a hold back unused."""

    group: ClassVar[str] = "track"
    hold: Name


class Heartbeat(Command):
    """A sign of life of an agent, a task or a hold (exactly one of them).

    It moves the end of a task's lease, or a hold's expiry by its time to live. ``lease`` is the run of the task.
    """

    group: ClassVar[str] = "track"
    agent: Name | None = None
    task: Name | None = None
    lease: Name | None = None
    hold: Name | None = None


class GetStatus(Command):
    """The `BudgetStatus` of one agent."""

    group: ClassVar[str] = "track"
    query: ClassVar[bool] = True
    agent: Name


class GetGlobalStatus(Command):
    """The fleet, with agents in pages: ``limit`` of them whose id sorts behind ``after``."""

    group: ClassVar[str] = "track"
    query: ClassVar[bool] = True
    limit: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 100
    after: str | None = None
