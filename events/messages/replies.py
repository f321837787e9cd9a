"""What is answered: a Struct per kind of answer, in edge units, and the refusal with its numbers.

A reply goes out, and into the log, as ``{"ok": {...}}``; a refusal as ``{"error": {"code", "detail", ...numbers}}``.
"""

from typing import Any

import msgspec

from tallystick.config.amounts import Triple, dollars, seconds
from tallystick.config.remarks import Remark
from tallystick.events.messages.bill_status import BillStatus

Number = int | float


class EdgeAmounts(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Amounts as every edge shows them; a dimension that is not limited is left out."""

    tokens: int | None = None
    time_seconds: Number | None = None
    cost_usd: str | None = None


def shown(amounts: Triple) -> EdgeAmounts:
    """Internal units as an edge shows them."""
    tokens, time_ms, cost_nanos = amounts
    return EdgeAmounts(
        tokens,
        None if time_ms is None else seconds(time_ms),
        None if cost_nanos is None else dollars(cost_nanos),
    )


class Refusal(msgspec.Struct, frozen=True):
    """Why not: a code (a sentence in snake case), a sentence, and the numbers that refused it."""

    code: str
    detail: str
    numbers: dict[str, Any] = {}


class Reply(msgspec.Struct, omit_defaults=True):
    """The base of every ``ok``."""


class Allocation(Reply):
    """Answers `AllocateBudget`, `AllocateFromPool`, `BorrowFromPool`, `ReturnToPool`."""

    agent: str
    allocated: EdgeAmounts
    remaining: EdgeAmounts
    pool_available: EdgeAmounts
    lease_expires_at: str | None = None


class Share(msgspec.Struct):
    """One agent's part of a split."""

    agent: str
    allocated: EdgeAmounts


class Allocations(Reply):
    """Answers the splitting allocations, in the order given."""

    allocations: list[Share]
    pool_available: EdgeAmounts


class Obstacle(msgspec.Struct, omit_defaults=True, gc=False):
    """One thing that would refuse the next hold, as the refusal would say it.

    ``refuses``: "holds", or "new_work" for what refuses new accounts and tasks only. ``retry_after_seconds`` is left
    out where waiting cannot help.
    """

    code: str
    detail: str
    decided_by: str
    refuses: str = "holds"
    dimension: str | None = None
    available: EdgeAmounts | None = None
    limit: Number | str | None = None
    used: Number | str | None = None
    held: Number | str | None = None
    retry_after_seconds: Number | None = None
    value: str | None = None
    max: Number | str | None = None


class Enforcement(Reply, gc=False):
    """Answers `ReportUsage`, `Settle`, `CheckEnforcement`, `Heartbeat` of an agent: all that it must know to go on."""

    agent: str
    percentage: float
    status: str
    action: str
    throttle_rate: float
    wait_seconds: Number
    decided_by: str
    remaining: EdgeAmounts
    model: str | None = None
    unpriced: bool = False
    late: bool = False
    unallocated: bool = False
    lease_lost: bool = False
    warnings: list[str] | None = None
    base_tier: bool = False
    repaired: bool = False
    obstacles: list[Obstacle] | None = None
    overdrawn: bool = False
    """The fleet was charged, because an account is beyond its ``overdraft_max``."""
    lease_expires_at: str | None = None
    last_call: bool = False
    history: bool = False
    """It was used before the current period: nothing is charged for it."""
    repeats: int | None = None
    """The position of the record of the same source; ``counted`` is what counts for that now."""
    recorded: bool = True
    """False where it says nothing more than what was recorded."""
    counted: EdgeAmounts | None = None
    booked: int | None = None
    """Where a child fleet has reported: the position of its log up to which its use is booked."""


class Held(Reply):
    """Answers `Reserve`, and `Heartbeat` of a hold."""

    hold: str
    agent: str
    amount: EdgeAmounts
    available: EdgeAmounts
    expires_at: str
    unpriced: bool = False
    base_tier: bool = False
    dry_run: bool = False
    estimated_by: str | None = None
    waited_since: str | None = None
    """Since when it had waited for room."""


class HoldStatus(msgspec.Struct, omit_defaults=True):
    """One hold, as `GetHolds` shows it: what was ``placed`` in all, what of it is still held, and what was booked."""

    hold: str
    agent: str
    state: str
    placed: EdgeAmounts
    held: EdgeAmounts
    booked: EdgeAmounts
    placed_at: str
    expires_at: str | None = None
    ended_at: str | None = None
    overage: str = "book"
    on_expiry: str = "release"
    labels: dict[str, str] | None = None
    operation: str | None = None
    reason: str | None = None
    ended_reason: str | None = None


class Holds(Reply):
    """Answers `GetHolds`: one page in the order of ids; ``after`` begins the next one, None where there is none."""

    holds: list[HoldStatus]
    after: str | None = None


class HoldGone(Reply):
    """Answers `CancelHold`."""

    hold: str
    agent: str
    available: EdgeAmounts


class Subtree(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an account and all open accounts below it have used and hold, in every dimension in which they do."""

    consumed: EdgeAmounts
    held: EdgeAmounts


class ChildAccount(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a delegated account stands with its fleet.

    ``number``: of the last draw or return that is booked; ``booked``: the position of the fleet's log up to which its
    use is; ``granted``: all that the account was ever granted. ``position`` is that of the parent's log.
    """

    fleet: str | None
    number: int
    booked: int
    granted: EdgeAmounts
    position: int


class BudgetStatus(Reply):
    """One account, as `GetStatus` and the pages of `GetGlobalStatus` show it."""

    agent: str
    agent_type: str | None
    product: str | None
    workflow: str | None
    priority: str
    parent: str | None
    state: str
    allocated: EdgeAmounts
    delegated: EdgeAmounts
    consumed: EdgeAmounts
    held: EdgeAmounts
    borrowed: EdgeAmounts
    overrun: EdgeAmounts
    remaining: EdgeAmounts
    percentage: float
    status: str
    action: str
    decided_by: str
    throttle_rate: float
    idle_seconds: Number
    obstacles: list[Obstacle]
    covered: EdgeAmounts = EdgeAmounts()
    """What others pay for it: allocated + covered = delegated + consumed + held + remaining, where it limits."""
    subtree: Subtree | None = None
    """Left out where only views are asked."""
    overdraft_max: EdgeAmounts = EdgeAmounts()
    """What others may cover for it at most; left out where there is no bound."""
    lease_seconds: Number | None = None
    lease_expires_at: str | None = None
    """When it closes if no more messages come; left out where only views are asked."""
    child: ChildAccount | None = None
    """Where it is the total of another fleet."""


class DelegationStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a fleet stands whose total is an account of another one: what that ever granted, what of it was given back,
    the position up to which it has booked what was used, and why it lets nothing go on.
    """

    account: str
    granted: EdgeAmounts
    given_back: EdgeAmounts
    booked: int
    stopped: str | None = None


class GlobalStatus(Reply):
    """The fleet in the current period; ``agent_statuses`` is one page of its open accounts by id.

    ``clock_apart_seconds``, where it is not 0: how far the machine's clock was found ahead of the fleet's time.
    """

    total: EdgeAmounts
    total_allocated: EdgeAmounts
    total_consumed: EdgeAmounts
    pool_available: EdgeAmounts
    reserve: EdgeAmounts
    overdraft: EdgeAmounts
    pressure: float
    response: str
    paused: bool
    agent_count: int
    agent_statuses: list[BudgetStatus]
    position: int
    given_up: list[str]
    """The specialists that have failed too often, and are not there until the fleet is started again."""
    clock_apart_seconds: int = 0
    delegation: DelegationStatus | None = None
    """Where its total is an account of another fleet."""
    bills: dict[str, BillStatus] | None = None
    """By provider, what came of the newest bill that was reconciled."""


class Overrides(Reply):
    """Answers `Throttle`, `Stop`, `Resume`: what applies to the agent from now on."""

    agent: str
    action: str
    throttle_rate: float
    decided_by: str


class MoveMade(msgspec.Struct, rename={"source": "from", "target": "to"}):
    """One move of a plan, as it was made."""

    source: str
    target: str
    amount: EdgeAmounts
    reason: str


class Moves(Reply):
    """Answers `Rebalance`: the moves of the plan, in order."""

    moves: list[MoveMade]
    pool_available: EdgeAmounts


class Prospect(msgspec.Struct):
    """What is forecast in one dimension, at the agent's last report; amounts in edge units, None is not known.

    ``confidence`` is the measured share of earlier forecasts at this stage that were within 10 % of what happened.
    ``interval_80`` holds two numbers, lowest and highest, under the name of each figure that it is about.
    """

    estimated_total: Number | str | None
    projected_overage: Number | str | None
    time_to_exhaustion_seconds: Number | None
    steps_to_exhaustion: Number | None
    confidence: float | None
    interval_80: dict[str, list[Number | str]]
    method: str


class ForecastReply(Reply):
    """Answers `Forecast`: by dimension that the agent's account limits. A step is a report of usage."""

    agent: str
    as_of: str | None
    steps: int
    forecasts: dict[str, Prospect]


class Efficiency(Reply):
    """Answers `GetEfficiency`; the figures of tasks are None where it completed none and paid for none.

    ``utilization`` is consumed / allocated by limited dimension, to 6 places, None where nothing was allocated.
    """

    agent: str
    tasks: int | None
    tasks_per_1k_tokens: float | None
    tokens_per_task: float | None
    cost_per_task: str | None
    utilization: dict[str, float | None]
    estimate_accuracy: float | None


class Totals(Reply):
    """Answers the operator's commands: how the fleet stands after them."""

    total: EdgeAmounts
    pool_available: EdgeAmounts
    reserve: EdgeAmounts
    overdraft: EdgeAmounts
    paused: bool = False


class Loaded(Totals):
    """Answers `LoadConfig`: how the fleet stands after it, and what of it may not be meant."""

    warnings: list[Remark] = []


class Today(Reply):
    """Answers `ApproveLimit` and `ResetBreaker`: the day, and what opened the breaker (null: it is closed)."""

    date: str | None
    ends_at: str
    used: EdgeAmounts
    held: EdgeAmounts
    limits: EdgeAmounts
    breaker: str | None
    silenced: list[str]


class Overridden(Reply):
    """Answers `OverridePriority`: what the product's tasks are now, null where each has its own."""

    product: str
    priority: str | None


class Corrected(Reply):
    """Answers `CorrectUsage`: what counted and what counts now. ``charged``: who pays the difference, null for the
    fleet. ``unpriced`` and ``base_tier`` as in `Enforcement`.
    """

    position: int
    agent: str
    before: EdgeAmounts
    after: EdgeAmounts
    day: str
    charged: str | None
    closed_period: bool
    model: str | None = None
    unpriced: bool = False
    base_tier: bool = False


class Done(Reply):
    """Answers the specialists' proposals."""
