"""What happens to tasks: submitted, held back or queued, started, and ended one way or another.

A run of a task has an account named like the task, opened by the `BudgetAllocated` before its `TaskStarted` and closed
by the `BudgetReleased` behind the event that ends the run.
"""

import datetime as dt
from typing import ClassVar, Literal

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.config.kinds import Priority
from tallystick.events.catalog.event import Event, Kind

AfterLease = Literal["queued", "failed"]
Outcome = Literal["completed", "failed"]
WhyUnknown = Literal["held_up", "behind_others", "far_behind", "end_unknown", "beyond_calendar"]
"""Why no start can be expected: something other than slots is in the way; what would be free is kept for, or goes to,
others; it is not among the foremost; the end of a run before it is not known, or no calendar tells it."""


class TaskSubmitted(Event, kw_only=True, tag="task-submitted.v1"):
    """A task was asked for. ``priority`` is left out where its product or "normal" decides.

    The estimates are those that are in force for it: as given, or with ``learnt`` those that are not given as agent
    memory has them. ``assumed``: neither has one of tokens, so the type's token budget counts in its place, and what
    the task uses says nothing about estimates.
    """

    kind: ClassVar[Kind] = "fact"
    task: str
    agent_type: str
    product: str
    priority: Priority | None = None
    estimated_tokens: int
    estimated_ms: int | None = None
    learnt: bool = False
    assumed: bool = False
    depends_on: list[str] = msgspec.field(default_factory=list)
    blocks: int = 0
    workflow: str | None = None
    model: str | None = None
    parent: str | None = None
    labels: dict[str, str] | None = None


class DependenciesAwaited(Event, kw_only=True, tag="dependencies-awaited.v1"):
    """A task cannot start before these others are completed."""

    kind: ClassVar[Kind] = "decision"
    task: str
    unfinished: list[str]


class TaskQueued(Event, kw_only=True, tag="task-queued.v1"):
    """A task waits for a slot from now on: ``code`` says what is in its way, with the numbers of the limit.

    Left out, nothing is: its dependencies were met just now, and it can start with the next commit. ``behind`` is the
    task that goes first, where one does. ``unknown`` says why no start can be expected.
    """

    kind: ClassVar[Kind] = "decision"
    task: str
    code: str | None = None
    limit: int | str | None = None
    current: int | str | None = None
    message: str | None = None
    expected_start: dt.datetime | None = None
    behind: str | None = None
    unknown: WhyUnknown | None = None


class TaskRejected(Event, kw_only=True, tag="task-rejected.v1"):
    """A task can never run under what is configured. Its id may be submitted again."""

    kind: ClassVar[Kind] = "decision"
    task: str
    code: str
    limit: int | str | None = None
    current: int | str | None = None
    message: str


class TaskStarted(Event, kw_only=True, tag="task-started.v1"):
    """A task has a slot, a model, a token budget and a lease.

    ``attempt`` counts from 1 and grows with lost leases only. ``because`` is the condition that chose the model.
    ``expected_start`` is the last answer before it, to be compared with what happened. ``aged``: it goes before all
    others, and no priority takes its slot. Without a token budget, nothing is carved out for the run.
    """

    kind: ClassVar[Kind] = "decision"
    task: str
    attempt: int
    lease: str
    expires_at: dt.datetime
    model: str
    because: str
    token_budget: int | None
    max_tokens: int | None
    aged: bool = False
    queued_at: dt.datetime
    expected_start: dt.datetime | None = None


class LeaseExtended(Event, kw_only=True, tag="lease-extended.v1"):
    """A heartbeat moved the end of a lease on."""

    kind: ClassVar[Kind] = "decision"
    task: str
    lease: str
    expires_at: dt.datetime


class TokenBudgetPassed(Event, kw_only=True, tag="token-budget-passed.v1"):
    """A run has used more than its soft mark; its hard end is the account's allocation."""

    kind: ClassVar[Kind] = "decision"
    task: str
    token_budget: int
    consumed: int
    max_tokens: int | None


class TaskPreempted(Event, kw_only=True, tag="task-preempted.v1"):
    """A task of higher priority took the slot; the one that had it waits again, since when it was queued."""

    kind: ClassVar[Kind] = "decision"
    task: str
    lease: str
    beneficiary: str


class PreemptionAcknowledged(Event, kw_only=True, tag="preemption-acknowledged.v1"):
    """The owner of a run whose slot was taken away knows it."""

    kind: ClassVar[Kind] = "fact"
    task: str
    lease: str


class LeaseLost(Event, kw_only=True, tag="lease-lost.v1"):
    """No sign of life came in time: the slot is free, and the task waits again or has failed."""

    kind: ClassVar[Kind] = "decision"
    task: str
    lease: str
    attempt: int
    then: AfterLease


class TaskCompleted(Event, kw_only=True, tag="task-completed.v1"):
    """A task has ended, as its owner says: its estimates, and what its last run used and how long it took.

    ``assumed``: there was no estimate of tokens.
    """

    kind: ClassVar[Kind] = "fact"
    task: str
    outcome: Outcome
    lease: str
    attempt: int
    agent_type: str
    product: str
    model: str
    estimated_tokens: int
    estimated_ms: int | None = None
    assumed: bool = False
    estimated_cost_nanos: int | None = None
    consumed: Amounts
    elapsed_ms: int


class TaskCancelled(Event, kw_only=True, tag="task-cancelled.v1"):
    """A task was given up by a message."""

    kind: ClassVar[Kind] = "fact"
    task: str


class TaskGivenUp(Event, kw_only=True, tag="task-given-up.v1"):
    """A task ended without a message: what it depends on has failed, or its budget was released.

    ``because`` names the task or account whose end this follows from.
    """

    kind: ClassVar[Kind] = "decision"
    task: str
    code: Literal["dependency_failed", "budget_released"]
    because: str


class TaskRetried(Event, kw_only=True, tag="task-retried.v1"):
    """A failed or cancelled task has a new life under its id: attempts count from the start, and it is queued anew.

    ``because`` names the task with which it had fallen, and is revived.
    """

    kind: ClassVar[Kind] = "fact"
    task: str
    reason: str
    because: str | None = None


class TaskOverdue(Event, kw_only=True, tag="task-overdue.v1"):
    """A task has waited longer than its priority allows; operators are alerted, once."""

    kind: ClassVar[Kind] = "decision"
    task: str
    waited_ms: int
    allowed_ms: int


class Expected(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """When a task is expected to start; None where nothing tells any more, and ``unknown`` says why."""

    task: str
    start: dt.datetime | None = None
    unknown: WhyUnknown | None = None


class StartsExpected(Event, kw_only=True, tag="starts-expected.v1"):
    """An answer said when tasks are expected to start."""

    kind: ClassVar[Kind] = "decision"
    starts: list[Expected]


class EstimateAdjusted(Event, kw_only=True, tag="estimate-adjusted.v1"):
    """The last tasks of a kind were over their estimates: from now on this is what the next ones are estimated at.

    ``over`` is by how much they were at the median (0.25: a quarter more), ``tasks`` how many they were. Without
    ``model`` it is for tasks that name none.
    """

    kind: ClassVar[Kind] = "decision"
    agent_type: str
    product: str
    model: str | None = None
    tokens: int | None = None
    elapsed_ms: int | None = None
    over: float
    tasks: int
