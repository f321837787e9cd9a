"""The messages of tasks."""

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

import msgspec

from tallystick.config.amounts import AMOUNT_MAX, Usage
from tallystick.config.kinds import Priority
from tallystick.events.messages.command import DEPENDENCIES_MAX, Command, Labels, Name, Reason

TaskOutcome = Literal["completed", "failed"]
Whole = Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MAX)]
Dependencies = Annotated[list[Name], msgspec.Meta(max_length=DEPENDENCIES_MAX)]


class SubmitTask(Command):
    """Ask for a slot. ``depends_on`` names tasks that must be completed first, ``blocks`` how many wait for this one.

    ``priority`` and the estimates, where they are left out, are those of the product and of the agents' memory. With
    ``wait_seconds`` it is answered when the task starts or ends, or at the end of the wait: it stays queued.
    """

    group: ClassVar[str] = "tasks"
    task: Name
    agent_type: Name
    product: Name
    priority: Priority | None = None
    estimated_tokens: Whole | None = None
    estimated_minutes: Decimal | None = None
    depends_on: Dependencies = msgspec.field(default_factory=list)
    blocks: Whole = 0
    workflow: Name | None = None
    model: Name | None = None
    parent: Name | None = None
    labels: Labels | None = None
    wait_seconds: Decimal | None = None


class GetTask(Command):
    """How a task stands; with ``wait_seconds`` answered when that changes, or at the end of the wait."""

    group: ClassVar[str] = "tasks"
    query: ClassVar[bool] = True
    task: Name
    wait_seconds: Decimal | None = None


class CompleteTask(Command):
    """The end of a run. ``usage`` is what it used in all, of which only what was not reported yet is booked."""

    group: ClassVar[str] = "tasks"
    task: Name
    outcome: TaskOutcome
    lease: Name | None = None
    usage: Usage | None = None


class CancelTask(Command):
    """Give a task up, whether it waits or runs, and with it all that depend on it."""

    group: ClassVar[str] = "tasks"
    task: Name


class RetryTask(Command):
    """Give a failed or cancelled task a new life under its id; with ``revive_dependents`` those that fell with it."""

    group: ClassVar[str] = "tasks"
    task: Name
    reason: Reason
    revive_dependents: bool = False


class GetQueue(Command):
    """The tasks that wait, best first and at most ``limit`` of them, and those that run."""

    group: ClassVar[str] = "tasks"
    query: ClassVar[bool] = True
    limit: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 100
