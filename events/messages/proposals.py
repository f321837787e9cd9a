"""What the specialists propose to the manager: commands as any other, but refused at the wire."""

import datetime as dt
from typing import Any, ClassVar

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.events.catalog import BudgetAllocated, HoldSettled, Strategy, UsageCorrected, UsageReported
from tallystick.events.catalog.forecasts import Anomaly, Outcome, Prediction, WhyForecast
from tallystick.events.catalog.tasks import WhyUnknown
from tallystick.events.messages.command import Command, Name
from tallystick.events.messages.delegation import AskDraw, AskReturn, HearParent, ReportRange
from tallystick.events.messages.operate import CorrectUsage
from tallystick.events.messages.tasks import SubmitTask
from tallystick.events.messages.track import ReportUsage, Settle


class LoadPrices(Command):
    """Put a price list in force: what a file says (US dollars per million tokens, by model), over what is published."""

    group: ClassVar[str] = "internal"
    prices: dict[str, Any]
    published: dict[str, Any] = msgspec.field(default_factory=dict)


class AdoptRules(Command):
    """Decide by this version of the rules from now on: the program that writes the log is newer than its last one."""

    group: ClassVar[str] = "internal"
    rules: int


class Move(msgspec.Struct, frozen=True, omit_defaults=True, rename={"source": "from", "target": "to"}):
    """One step of a plan: ``source`` and ``target`` are an account and its parent, in either order."""

    source: Name
    target: Name
    amount: Amounts
    reason: str
    strategy: Strategy
    opened_at: dt.datetime | None = None
    """When the account was opened that gives up or gets: another one under its id is not meant."""


class ApplyMoves(Command):
    """The reallocator's plan, applied whole or refused whole."""

    group: ClassVar[str] = "internal"
    moves: list[Move]
    asked: bool = False
    """A client asked for it (`Rebalance`) and waits for the answer."""
    kept: list[Name] = msgspec.field(default_factory=list)
    """The aged tasks whose money no move may take, in the allocator's order; the manager adds them."""


class WarnAgent(Command):
    """Exhaustion is near: agent and operators are warned, once."""

    group: ClassVar[str] = "internal"
    agent: Name
    exhausted_in_seconds: int
    method: str
    opened_at: dt.datetime | None = None
    """When the account was opened that is meant."""


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
    opened_at: dt.datetime | None = None
    """When the account was opened that it is about."""


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
    head: list[float] = msgspec.field(default_factory=list)
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


class RecordGivenUp(Command):
    """A specialist has failed too often to be replaced."""

    group: ClassVar[str] = "internal"
    specialist: Name
    reason: str


class RecordRestored(Command):
    """A specialist that had been given up is there again: the fleet was started anew."""

    group: ClassVar[str] = "internal"
    specialist: Name


class RecordSnapshot(Command):
    """The hash of the state at ``position`` goes into the log, so that a snapshot can be trusted or ignored."""

    group: ClassVar[str] = "internal"
    position: int
    sha256: str


# --- tasks, from the allocator ---


class PlaceTask(Command):
    """A submitted task with the allocator's judgement of it, to be admitted or queued in one transaction.

    ``behind`` is a waiting task that ranks higher, can start, and needs the same slot; ``kept_for`` is an aged one that
    cannot start yet, for which what this one needs is kept; ``victim`` is a running task that should give its slot up
    for it. ``unknown`` says why there is no ``expected_start``.
    """

    group: ClassVar[str] = "internal"
    submitted: SubmitTask
    aged: bool = False
    behind: Name | None = None
    kept_for: Name | None = None
    victim: Name | None = None
    expected_start: dt.datetime | None = None
    unknown: WhyUnknown | None = None


class StartTask(Command):
    """The next of the queue gets a free slot."""

    group: ClassVar[str] = "internal"
    task: Name
    aged: bool = False


class PreemptTask(Command):
    """A running task gives its slot to a waiting one of higher priority, in one transaction."""

    group: ClassVar[str] = "internal"
    task: Name
    beneficiary: Name
    aged: bool = False


class RecordOverdue(Command):
    """A task has waited longer than its priority allows."""

    group: ClassVar[str] = "internal"
    task: Name


class TellTask(Command):
    """Answer `GetTask`, with what the allocator expects; ``kept_for`` as in `PlaceTask`.

    ``not_before`` is there where the start that was announced last is still about right, and has passed: it is shown
    as this time.
    """

    group: ClassVar[str] = "internal"
    task: Name
    expected_start: dt.datetime | None = None
    unknown: WhyUnknown | None = None
    kept_for: Name | None = None
    not_before: dt.datetime | None = None


class QueueView(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a waiting task stands in the queue, for display; scores to 6 places."""

    task: Name
    score: float
    priority: float
    wait: float
    blocking: float
    aged: bool = False
    expected_start: dt.datetime | None = None
    unknown: WhyUnknown | None = None
    kept_for: Name | None = None


class TellQueue(Command):
    """Answer `GetQueue`, in the allocator's order; ``not_before`` as in `TellTask`, for all of them."""

    group: ClassVar[str] = "internal"
    waiting: list[QueueView]
    not_before: dt.datetime | None = None


class OpenFleet(Command):
    """Go on after the fleet was closed, before anything that became due meanwhile: leases get their whole time anew."""

    group: ClassVar[str] = "internal"


class NoteClock(Command):
    """Record that the machine's clock is so many milliseconds ahead of the ledger's time (or behind); 0: no longer."""

    group: ClassVar[str] = "internal"
    apart_ms: int


class ApplyCorrection(Command):
    """`CorrectUsage`, with what the log has at that position: the event, where it is usage, and its stored name.

    ``last`` is its last correction, ``day`` the day and ``model`` the model that it counts for, and ``openings`` are
    those of the accounts that it was charged to and below, where the state has forgotten them.
    """

    group: ClassVar[str] = "internal"
    asked: CorrectUsage
    record: UsageReported | HoldSettled | None = None
    last: UsageCorrected | None = None
    openings: tuple[BudgetAllocated, ...] = ()
    day: str = ""
    model: str | None = None
    found: str | None = None


class ApplySource(Command):
    """`ReportUsage` or `Settle` of a source that is recorded, with its record and the last correction of that.

    Where it says more than they do, ``day``, ``model`` and ``openings`` are as in `ApplyCorrection`.
    """

    group: ClassVar[str] = "internal"
    asked: ReportUsage | Settle
    record: UsageReported | HoldSettled
    last: UsageCorrected | None = None
    openings: tuple[BudgetAllocated, ...] = ()
    day: str = ""
    model: str | None = None


class RefuseLoosening(Command):
    """Refuse a message of another process that loosens a limit, and has not shown the operator's key.

    ``asked`` is the message, ``loosens`` what it would do, in words; ``shown`` says that another key was shown.
    """

    group: ClassVar[str] = "internal"
    asked: dict[str, Any]
    loosens: str
    shown: bool = False


class RefuseAccess(Command):
    """Refuse a message that its sender may not send.

    ``request`` and ``agent`` are the message's; what else it says is not kept, since anybody with a key may send it.
    ``why`` is what keeps the sender from it, in words; ``role`` is the sender's.
    """

    group: ClassVar[str] = "internal"
    request: str
    why: str
    role: str
    agent: str | None = None


class RecordMisuse(Command):
    """A key was shown that has expired, or was revoked."""

    group: ClassVar[str] = "internal"
    key: Name


INTERNAL: tuple[type[Command], ...] = (
    LoadPrices,
    AdoptRules,
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
    RecordOverdue,
    TellTask,
    TellQueue,
    RecordSnapshot,
    RecordGivenUp,
    RecordRestored,
    OpenFleet,
    NoteClock,
    ApplyCorrection,
    ApplySource,
    RefuseLoosening,
    RefuseAccess,
    RecordMisuse,
    AskDraw,
    AskReturn,
    ReportRange,
    HearParent,
)
