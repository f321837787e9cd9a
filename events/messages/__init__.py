"""What may be asked: one Struct per message of the wire contract.

A command says what its sender wants; whether it happens is decided in ``decide``. Wire names and fields are those of
the specification; amounts are still as people write them (`Budget`), because a refusal must be able to name the field.
What only our own people ask is in ``proposals``.
"""

from decimal import Decimal
from typing import Annotated, Any, ClassVar

import msgspec

from tallystick.config.amounts import Budget
from tallystick.config.kinds import Priority
from tallystick.events.messages.command import INTERNAL_ID as INTERNAL_ID
from tallystick.events.messages.command import MESSAGES_MAX as MESSAGES_MAX
from tallystick.events.messages.command import NAME_MAX as NAME_MAX
from tallystick.events.messages.command import PRIORITIES as PRIORITIES
from tallystick.events.messages.command import Command as Command
from tallystick.events.messages.command import Name as Name
from tallystick.events.messages.command import Reason as Reason
from tallystick.events.messages.tasks import CancelTask as CancelTask
from tallystick.events.messages.tasks import CompleteTask as CompleteTask
from tallystick.events.messages.tasks import GetQueue as GetQueue
from tallystick.events.messages.tasks import GetTask as GetTask
from tallystick.events.messages.tasks import SubmitTask as SubmitTask
from tallystick.events.messages.tasks import TaskOutcome as TaskOutcome

# --- allocate --------------------------------------------------------------------------------------------------------


class AllocateBudget(Command):
    """Open an account for ``agent``, granted all of ``budget`` from its parent's free balance or nothing."""

    group: ClassVar[str] = "allocate"
    agent: Name
    budget: Budget
    agent_type: Name | None = None
    product: Name | None = None
    workflow: Name | None = None
    priority: Priority = "normal"
    parent: Name | None = None


class AllocateEqual(Command):
    """Split ``total`` equally and exactly between ``agents``, ties in the order given. All agents or none."""

    group: ClassVar[str] = "allocate"
    agents: list[Name]
    total: Budget


class AllocateProportional(Command):
    """Split ``total`` exactly by ``weights`` (exact decimals, not negative, not all zero)."""

    group: ClassVar[str] = "allocate"
    weights: dict[Name, Decimal]
    total: Budget


class AllocateByPriority(Command):
    """Split ``total`` exactly by the configured weight of each agent's priority."""

    group: ClassVar[str] = "allocate"
    agents: dict[Name, Priority]
    total: Budget


class AllocateFromPool(Command):
    """What an agent needs on demand: opens an allocation, or adds to the one there is."""

    group: ClassVar[str] = "allocate"
    agent: Name
    request: Budget


# --- track -----------------------------------------------------------------------------------------------------------


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
    """Set ``estimate`` aside before an operation. The hold's id is this command's id."""

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


# --- enforce ---------------------------------------------------------------------------------------------------------


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


# --- reallocate ------------------------------------------------------------------------------------------------------


class Rebalance(Command):
    """Make a plan of moves now and apply it; answered with the moves."""

    group: ClassVar[str] = "reallocate"


class BorrowFromPool(Command):
    """Add to an open allocation from the parent's free balance; remembered as borrowed."""

    group: ClassVar[str] = "reallocate"
    agent: Name
    amount: Budget


class ReturnToPool(Command):
    """Give back at most what is available, borrowed first."""

    group: ClassVar[str] = "reallocate"
    agent: Name
    amount: Budget


# --- report ----------------------------------------------------------------------------------------------------------


class GenerateReport(Command):
    """What became of a workflow: its agents, how they used what they were given, and what to do better."""

    group: ClassVar[str] = "report"
    query: ClassVar[bool] = True
    workflow: Name


class Forecast(Command):
    """How long an agent's budget will last, and what the agent will have used at its end."""

    group: ClassVar[str] = "report"
    query: ClassVar[bool] = True
    agent: Name


class GetEfficiency(Command):
    """What an agent gets done with what it uses."""

    group: ClassVar[str] = "report"
    query: ClassVar[bool] = True
    agent: Name


# --- release ---------------------------------------------------------------------------------------------------------


class ReleaseBudget(Command):
    """Close an account: children released, holds cancelled, the unused back to the parent."""

    group: ClassVar[str] = "release"
    agent: Name


# --- operate ---------------------------------------------------------------------------------------------------------


class BudgetChange(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The dimensions of the total to replace: a number sets, null removes the limit, left out stays."""

    tokens: int | msgspec.UnsetType | None = msgspec.UNSET
    time_seconds: Decimal | msgspec.UnsetType | None = msgspec.UNSET
    cost_usd: Decimal | msgspec.UnsetType | None = msgspec.UNSET


class SetTotalBudget(Command):
    """Replace the dimensions of the fleet's total that ``budget`` names."""

    group: ClassVar[str] = "operate"
    budget: BudgetChange


class PauseAll(Command):
    """Stop everything: every action becomes ``stop``, every `Reserve` is refused."""

    group: ClassVar[str] = "operate"
    reason: Reason


class ResumeAll(Command):
    """End `PauseAll`."""

    group: ClassVar[str] = "operate"


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


class ReleaseReserve(Command):
    """Open the emergency reserve for critical agents, as a crisis does by itself."""

    group: ClassVar[str] = "operate"
    reason: Reason


class LoadConfig(Command):
    """Put a configuration in force: the keys given, over the packaged defaults."""

    group: ClassVar[str] = "operate"
    config: dict[str, Any]


WIRE: tuple[type[Command], ...] = (
    AllocateBudget,
    AllocateEqual,
    AllocateProportional,
    AllocateByPriority,
    AllocateFromPool,
    ReportUsage,
    Reserve,
    Settle,
    CancelHold,
    Heartbeat,
    GetStatus,
    GetGlobalStatus,
    CheckEnforcement,
    Throttle,
    Stop,
    Resume,
    Rebalance,
    BorrowFromPool,
    ReturnToPool,
    GenerateReport,
    Forecast,
    GetEfficiency,
    ReleaseBudget,
    SubmitTask,
    GetTask,
    CompleteTask,
    CancelTask,
    GetQueue,
    SetTotalBudget,
    PauseAll,
    ResumeAll,
    OverridePriority,
    ApproveLimit,
    ResetBreaker,
    ReleaseReserve,
    LoadConfig,
)
