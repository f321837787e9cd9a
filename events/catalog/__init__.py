"""What happened: every event that the log can hold, with its stored name and version (those of forecasts: `foretold`).

Each class is a **fact** (something from outside: usage, an operator's order, a configuration) or a **decision** (of the
manager: granted, refused, covered, a level). A what-if replay keeps the facts and makes the decisions anew. Stored names
are versioned; a new shape gets a new version and an upcaster in ``codec``. Amounts are in internal units.
"""

import datetime as dt
from typing import Any, ClassVar, Literal

from tallystick.config.amounts import Amounts
from tallystick.config.kinds import Priority
from tallystick.events.catalog.day import BreakerClosed as BreakerClosed
from tallystick.events.catalog.day import BreakerReset as BreakerReset
from tallystick.events.catalog.day import BreakerTripped as BreakerTripped
from tallystick.events.catalog.day import DayBegan as DayBegan
from tallystick.events.catalog.day import LimitApproved as LimitApproved
from tallystick.events.catalog.day import PriorityOverridden as PriorityOverridden
from tallystick.events.catalog.event import Event as Event
from tallystick.events.catalog.event import Kind
from tallystick.events.catalog.fleet import AlertDelivered as AlertDelivered
from tallystick.events.catalog.fleet import AlertDeliveryFailed as AlertDeliveryFailed
from tallystick.events.catalog.fleet import AlertRaised as AlertRaised
from tallystick.events.catalog.fleet import ConfigLoaded as ConfigLoaded
from tallystick.events.catalog.fleet import FleetPaused as FleetPaused
from tallystick.events.catalog.fleet import FleetResponseChanged as FleetResponseChanged
from tallystick.events.catalog.fleet import FleetResumed as FleetResumed
from tallystick.events.catalog.fleet import PeriodRenewed as PeriodRenewed
from tallystick.events.catalog.fleet import PoolExhausted as PoolExhausted
from tallystick.events.catalog.fleet import PricesLoaded as PricesLoaded
from tallystick.events.catalog.fleet import ReserveReleased as ReserveReleased
from tallystick.events.catalog.fleet import TotalBudgetSet as TotalBudgetSet
from tallystick.events.catalog.forecasts import AnomalyFound as AnomalyFound
from tallystick.events.catalog.forecasts import ForecastMade as ForecastMade
from tallystick.events.catalog.forecasts import ForecastScored as ForecastScored
from tallystick.events.catalog.forecasts import RunLearned as RunLearned
from tallystick.events.catalog.tasks import AfterLease as AfterLease
from tallystick.events.catalog.tasks import DependenciesAwaited as DependenciesAwaited
from tallystick.events.catalog.tasks import EstimateAdjusted as EstimateAdjusted
from tallystick.events.catalog.tasks import LeaseExtended as LeaseExtended
from tallystick.events.catalog.tasks import LeaseLost as LeaseLost
from tallystick.events.catalog.tasks import PreemptionAcknowledged as PreemptionAcknowledged
from tallystick.events.catalog.tasks import StartsExpected as StartsExpected
from tallystick.events.catalog.tasks import TaskCancelled as TaskCancelled
from tallystick.events.catalog.tasks import TaskCompleted as TaskCompleted
from tallystick.events.catalog.tasks import TaskGivenUp as TaskGivenUp
from tallystick.events.catalog.tasks import TaskOverdue as TaskOverdue
from tallystick.events.catalog.tasks import TaskPreempted as TaskPreempted
from tallystick.events.catalog.tasks import TaskQueued as TaskQueued
from tallystick.events.catalog.tasks import TaskRejected as TaskRejected
from tallystick.events.catalog.tasks import TaskStarted as TaskStarted
from tallystick.events.catalog.tasks import TaskSubmitted as TaskSubmitted
from tallystick.events.catalog.tasks import TokenBudgetPassed as TokenBudgetPassed

Strategy = Literal["idle", "demand", "priority"]
EndOfHold = Literal["expired", "cancelled", "released"]
LEVELS = ("green", "yellow", "orange", "red", "black")
ACTIONS = ("continue", "warn", "throttle", "degrade", "stop")
RESPONSES = ("none", "throttle", "degrade", "stop", "stop_all")
"""The fleet's response, by rising pressure (spec 2)."""


# --- money -----------------------------------------------------------------------------------------------------------


class BudgetAllocated(Event, kw_only=True, tag="budget-allocated.v1"):
    """An account was opened. ``parent`` is left out where the pool is the source; ``for_task``: for a run of a task."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    amount: Amounts
    priority: Priority = "normal"
    parent: str | None = None
    agent_type: str | None = None
    product: str | None = None
    workflow: str | None = None
    on_demand: bool = False
    for_task: bool = False


class BudgetDrawn(Event, kw_only=True, tag="budget-drawn.v1"):
    """An open account was granted more, on its own demand."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    amount: Amounts
    borrowed: bool = False


class BudgetReturned(Event, kw_only=True, tag="budget-returned.v1"):
    """An account gave budget back to its parent."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    amount: Amounts


class BudgetMoved(Event, kw_only=True, tag="budget-moved.v1"):
    """One step of a rebalancing: from an account to its parent, or the other way, and why."""

    kind: ClassVar[Kind] = "decision"
    source: str
    target: str
    amount: Amounts
    reason: str
    strategy: Strategy


class Rebalanced(Event, kw_only=True, tag="rebalanced.v1"):
    """A plan was applied whole; its moves follow."""

    kind: ClassVar[Kind] = "decision"
    moves: int


class UnusedReturned(Event, kw_only=True, tag="unused-returned.v1"):
    """An account turned black by its own usage and gave back what it had free in other dimensions."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    amount: Amounts


class UnusedRestored(Event, kw_only=True, tag="unused-restored.v1"):
    """A top-up ended black: what black gave back came back, as far as the parent had it free."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    amount: Amounts


class ReserveDrawn(Event, kw_only=True, tag="reserve-drawn.v1"):
    """The emergency reserve put ``amount`` into the pool, for a grant to a critical agent."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    amount: Amounts


class Covered(Event, kw_only=True, tag="covered.v1"):
    """``source`` paid what ``target`` had used, held or handed on beyond its allocation, and why."""

    kind: ClassVar[Kind] = "decision"
    source: str
    target: str
    amount: Amounts
    cause: str


class CoverRepaid(Event, kw_only=True, tag="cover-repaid.v1"):
    """``source`` no longer needs what ``target`` had covered."""

    kind: ClassVar[Kind] = "decision"
    source: str
    target: str
    amount: Amounts


class BudgetReleased(Event, kw_only=True, tag="budget-released.v1"):
    """An account was closed; the unused went back to its parent."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    allocated: Amounts
    consumed: Amounts
    unused: Amounts


# --- use -------------------------------------------------------------------------------------------------------------


class UsageReported(Event, kw_only=True, tag="usage-reported.v1"):
    """Usage, as reported and priced. ``hold`` names the ended hold that a late settlement was for.

    Where the agent has no open account, ``charged`` names the one that pays (left out: the fleet). The state forgets
    released accounts after a time, so that it cannot be asked for this again. ``lease`` names the run of a task that was
    over: the account of a later run, which has the same name, does not pay for it.
    """

    kind: ClassVar[Kind] = "fact"
    agent: str
    tokens: int = 0
    time_ms: int = 0
    cost_nanos: int = 0
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    operation: str | None = None
    hold: str | None = None
    lease: str | None = None
    charged: str | None = None
    priced_as: str | None = None
    unpriced: bool = False
    late: bool = False
    unallocated: bool = False

    @property
    def account(self) -> str | None:
        """Whose open account is charged, if there is one."""
        return self.agent if self.lease is None else None


class HoldPlaced(Event, kw_only=True, tag="hold-placed.v1"):
    """An amount was set aside before an operation; ``ttl_ms`` is what a heartbeat extends it by."""

    kind: ClassVar[Kind] = "decision"
    hold: str
    agent: str
    amount: Amounts
    ttl_ms: int
    expires_at: dt.datetime


class HoldExtended(Event, kw_only=True, tag="hold-extended.v1"):
    """A heartbeat moved a hold's expiry on."""

    kind: ClassVar[Kind] = "decision"
    hold: str
    agent: str
    expires_at: dt.datetime


class HoldSettled(Event, kw_only=True, tag="hold-settled.v1"):
    """A hold was replaced by what was really used, in one step."""

    kind: ClassVar[Kind] = "fact"
    hold: str
    agent: str
    tokens: int = 0
    time_ms: int = 0
    cost_nanos: int = 0


class HoldEnded(Event, kw_only=True, tag="hold-ended.v1"):
    """A hold was given back unused: it expired, was cancelled, or its account was released."""

    kind: ClassVar[Kind] = "decision"
    hold: str
    agent: str
    how: EndOfHold


# --- enforcement -----------------------------------------------------------------------------------------------------


class LevelChanged(Event, kw_only=True, tag="level-changed.v1"):
    """An account crossed a threshold, in either direction; the ratio that decided is exact, shown to 6 places."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    before: str
    level: str
    percentage: float
    dimension: str


class AgentThrottled(Event, kw_only=True, tag="agent-throttled.v1"):
    """An operator slowed an agent and all below it to ``rate`` (an exact decimal) of normal speed."""

    kind: ClassVar[Kind] = "fact"
    agent: str
    rate: str


class AgentStopped(Event, kw_only=True, tag="agent-stopped.v1"):
    """An operator stopped an agent and all below it."""

    kind: ClassVar[Kind] = "fact"
    agent: str
    reason: str


class AgentResumed(Event, kw_only=True, tag="agent-resumed.v1"):
    """An operator cleared an explicit throttle and stop."""

    kind: ClassVar[Kind] = "fact"
    agent: str


class ExhaustionWarned(Event, kw_only=True, tag="exhaustion-warned.v1"):
    """The forecast said that a budget would soon be used up; said once until there is more budget."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    exhausted_in_seconds: int
    method: str


class RequestRefused(Event, kw_only=True, tag="request-refused.v1"):
    """A request was refused, with the numbers that refused it."""

    kind: ClassVar[Kind] = "decision"
    request: str
    code: str
    detail: str
    agent: str | None = None
    numbers: dict[str, Any] = {}


class AgentHeard(Event, kw_only=True, tag="agent-heard.v1"):
    """A sign of life."""

    kind: ClassVar[Kind] = "fact"
    agent: str


class SnapshotRecorded(Event, kw_only=True, tag="snapshot-recorded.v1"):
    """The SHA-256 of the state at position ``upto``; a snapshot that does not match it is ignored."""

    kind: ClassVar[Kind] = "fact"
    upto: int
    sha256: str


CATALOG: tuple[type[Event], ...] = tuple(Event.__subclasses__())
