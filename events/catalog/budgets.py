"""What happens to the budgets of accounts: granted, moved, covered by others, released."""

from typing import ClassVar, Literal

from tallystick.config.amounts import Amounts
from tallystick.config.kinds import Priority
from tallystick.events.catalog.event import Event, Kind

Strategy = Literal["idle", "demand", "priority"]


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
    labels: dict[str, str] | None = None


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
