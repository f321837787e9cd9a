"""What may be asked: one Struct per message of the wire contract, and the proposals that only our own people make.

A command says what its sender wants; whether it happens is decided in ``decide``. Wire names and fields are those of
the specification; amounts are still as people write them (`Budget`), because a refusal must be able to name the field.
"""

from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from tallystick.config.kinds import Priority
from tallystick.events.amounts import Amounts, Budget
from tallystick.events.command import HOUSE as HOUSE
from tallystick.events.command import MESSAGES_MAX as MESSAGES_MAX
from tallystick.events.command import NAME_MAX as NAME_MAX
from tallystick.events.command import PRIORITIES as PRIORITIES
from tallystick.events.command import Command as Command
from tallystick.events.command import Name as Name
from tallystick.events.command import Reason as Reason
from tallystick.events.day_commands import ApproveLimit as ApproveLimit
from tallystick.events.day_commands import BeginDay as BeginDay
from tallystick.events.day_commands import OverridePriority as OverridePriority
from tallystick.events.day_commands import ResetBreaker as ResetBreaker
from tallystick.events.foretold import Anomaly, Outcome, Prediction, WhyForecast
from tallystick.events.task_commands import CancelTask as CancelTask
from tallystick.events.task_commands import CompleteTask as CompleteTask
from tallystick.events.task_commands import ExpireLease as ExpireLease
from tallystick.events.task_commands import GetQueue as GetQueue
from tallystick.events.task_commands import GetTask as GetTask
from tallystick.events.task_commands import PlaceTask as PlaceTask
from tallystick.events.task_commands import PreemptTask as PreemptTask
from tallystick.events.task_commands import RecordOverdue as RecordOverdue
from tallystick.events.task_commands import Standpoint as Standpoint
from tallystick.events.task_commands import StartTask as StartTask
from tallystick.events.task_commands import SubmitTask as SubmitTask
from tallystick.events.task_commands import TaskOutcome as TaskOutcome
from tallystick.events.task_commands import TellQueue as TellQueue
from tallystick.events.task_commands import TellTask as TellTask

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


class ReleaseReserve(Command):
    """Open the emergency reserve for critical agents, as a crisis does by itself."""

    group: ClassVar[str] = "operate"
    reason: Reason


class LoadConfig(Command):
    """Put a configuration in force: the keys given, over the packaged defaults."""

    group: ClassVar[str] = "operate"
    config: dict[str, Any]


# --- proposals of our own people; refused at the wire ----------------------------------------------------------------


class LoadPrices(Command):
    """Put a price list in force: what a file says (US dollars per million tokens, by model), over what is published."""

    group: ClassVar[str] = "internal"
    prices: dict[str, Any]
    published: dict[str, Any] = msgspec.field(default_factory=dict)


class ExpireHolds(Command):
    """Time has passed: holds whose time to live is over are given back."""

    group: ClassVar[str] = "internal"


class RenewPeriod(Command):
    """Time has passed: the budget period is over."""

    group: ClassVar[str] = "internal"


Strategy = Literal["idle", "demand", "priority"]


class Move(msgspec.Struct, frozen=True, omit_defaults=True, rename={"source": "from", "target": "to"}):
    """One step of a plan: ``source`` and ``target`` are an account and its parent, in either order."""

    source: Name
    target: Name
    amount: Amounts
    reason: str
    strategy: Strategy


class ApplyMoves(Command):
    """The reallocator's plan, applied whole or refused whole."""

    group: ClassVar[str] = "internal"
    moves: list[Move]
    asked: bool = False
    """Somebody asked for it (`Rebalance`) and waits for the answer."""


class WarnAgent(Command):
    """Exhaustion is near: agent and operators are told, once."""

    group: ClassVar[str] = "internal"
    agent: Name
    exhausted_in_seconds: int
    method: str


class RecordDelivery(Command):
    """An address has accepted an alert: it is not sent there again."""

    group: ClassVar[str] = "internal"
    alert: str
    to: Name
    address: str


class GiveUpDelivery(Command):
    """An address has not accepted an alert in so many attempts: it is not sent there any more."""

    group: ClassVar[str] = "internal"
    alert: str
    to: Name
    address: str
    attempts: int


class RecordForecast(Command):
    """A forecast that was shown or acted on, or made at a new stage, to be scored when the truth is known."""

    group: ClassVar[str] = "internal"
    agent: Name
    why: WhyForecast
    predictions: list[Prediction]


class RecordScore(Command):
    """The truth about earlier forecasts of an agent is known."""

    group: ClassVar[str] = "internal"
    agent: Name
    dimension: str
    actual: float
    forecasts: list[Outcome]
    agent_type: Name | None = None
    model: Name | None = None


class RecordRun(Command):
    """A run has ended, and teaches forecasts of later ones."""

    group: ClassVar[str] = "internal"
    agent: Name
    steps: int
    consumed: Amounts
    elapsed_ms: int
    growth: list[float]
    agent_type: Name | None = None
    model: Name | None = None
    exhausted: bool = False


class RecordAnomaly(Command):
    """A step stands out."""

    group: ClassVar[str] = "internal"
    agent: Name
    anomaly: Anomaly
    dimension: str
    step: int
    amount: int
    message: str
    low: int | None = None
    high: int | None = None


class RecordSnapshot(Command):
    """The hash of the state at ``position`` goes into the log, so that a snapshot can be trusted or ignored."""

    group: ClassVar[str] = "internal"
    position: int
    sha256: str


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
INTERNAL: tuple[type[Command], ...] = (
    LoadPrices,
    ExpireHolds,
    RenewPeriod,
    BeginDay,
    ApplyMoves,
    WarnAgent,
    RecordDelivery,
    GiveUpDelivery,
    RecordForecast,
    RecordScore,
    RecordRun,
    RecordAnomaly,
    PlaceTask,
    StartTask,
    PreemptTask,
    ExpireLease,
    RecordOverdue,
    TellTask,
    TellQueue,
    RecordSnapshot,
)
BY_NAME: dict[str, type[Command]] = {command.__name__: command for command in (*WIRE, *INTERNAL)}
