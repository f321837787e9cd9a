"""What our own people propose to the manager: commands as any other, but refused at the wire."""

from typing import Any, ClassVar

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.events.catalog import Strategy
from tallystick.events.catalog.forecasts import Anomaly, Outcome, Prediction, WhyForecast
from tallystick.events.messages.command import Command, Name
from tallystick.events.messages.task_proposals import ExpireLease as ExpireLease
from tallystick.events.messages.task_proposals import PlaceTask as PlaceTask
from tallystick.events.messages.task_proposals import PreemptTask as PreemptTask
from tallystick.events.messages.task_proposals import QueueView as QueueView
from tallystick.events.messages.task_proposals import RecordOverdue as RecordOverdue
from tallystick.events.messages.task_proposals import StartTask as StartTask
from tallystick.events.messages.task_proposals import TellQueue as TellQueue
from tallystick.events.messages.task_proposals import TellTask as TellTask


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


class BeginDay(Command):
    """Time has passed: it is another day in the fleet's zone."""

    group: ClassVar[str] = "internal"


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
