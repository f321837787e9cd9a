"""What happens to the budgets of accounts: granted, moved, covered by others, released."""

import datetime as dt
from typing import ClassVar, Literal

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.config.kinds import Priority
from tallystick.config.limits import AccountLimit
from tallystick.events.catalog.event import Event, Kind

Strategy = Literal["idle", "demand", "priority"]


class BudgetAllocated(Event, kw_only=True, tag="budget-allocated.v1"):
    """An account was opened. ``parent`` is left out where the pool is the source; ``for_task``: for a run of a task.

    ``lease_ms``: it closes when no message came by it, or from below it, for so long; 0: it stays open until released.
    """

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
    overdraft_max: Amounts | None = None
    """What others may cover for it at most; no bound in a dimension that is left out."""
    lease_ms: int = 0
    labels: dict[str, str] | None = None
    limits: tuple[AccountLimit, ...] = ()
    """Its own limits, which are named ``agent/1``, and so on."""
    limit_windows: dict[str, dt.datetime] = msgspec.field(default_factory=dict)
    """When calendar windows end that begin because its limits are the first to count in them."""
    auto: bool = False
    """No message asked for it: it opened at its first report or hold (``accounts.auto``)."""
    used_since: dt.datetime | None = None
    """When that was used by which it opened by itself, where that is earlier: its limits count from then on."""
    delegated: bool = False
    """It is for another fleet, whose total it is."""


class BudgetDrawn(Event, kw_only=True, tag="budget-drawn.v1"):
    """An open account was granted more, on its own demand. ``number``: of the draw, where a child fleet asked."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    amount: Amounts
    borrowed: bool = False
    number: int = 0


class BudgetReturned(Event, kw_only=True, tag="budget-returned.v1"):
    """An account gave budget back to its parent. ``number``: of the return, where a child fleet gave it back."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    amount: Amounts
    number: int = 0


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


class OverdraftExceeded(Event, kw_only=True, tag="overdraft-exceeded.v1"):
    """Others cover more for an account than its ``overdraft_max``: it is stopped, with all below it."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    covered: Amounts
    overdraft_max: Amounts


class OverdraftRepaid(Event, kw_only=True, tag="overdraft-repaid.v1"):
    """What others cover for an account is within its ``overdraft_max`` again: it may go on."""

    kind: ClassVar[Kind] = "decision"
    agent: str


class AgentLeaseEnded(Event, kw_only=True, tag="agent-lease-ended.v1"):
    """No message came by an account with a lease, or from below it, since ``heard_at``: its release follows."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    lease_ms: int
    heard_at: dt.datetime
