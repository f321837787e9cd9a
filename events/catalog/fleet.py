"""What happens to the fleet as a whole: what is in force, its total, its pauses and its alerts."""

import datetime as dt
from typing import Any, ClassVar, Literal

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.events.catalog.event import Event, Kind
from tallystick.events.catalog.rules_version import FIRST_RULES, check_known

RESPONSES = ("none", "throttle", "degrade", "stop", "stop_all")
"""The fleet's response, by rising pressure (spec 2)."""


class ConfigLoaded(Event, kw_only=True, tag="config-loaded.v1"):
    """A configuration came into force: the whole of it, so that a replay next year uses what was in force then.

    ``date`` is the day that it is in its zone, until ``day_ends_at``. The first of a fleet says by which version of the
    ``rules`` the fleet begins to decide. ``limit_windows``: when the calendar windows that limits need end, by kind.
    """

    kind: ClassVar[Kind] = "fact"
    config: dict[str, Any]
    sha256: str
    date: str | None = None
    day_ends_at: dt.datetime | None = None
    rules: int = FIRST_RULES
    limit_windows: dict[str, dt.datetime] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_known(self.rules)


class PricesLoaded(Event, kw_only=True, tag="prices-loaded.v1"):
    """A price list came into force: the ``prices`` of a file over the ``published`` ones; the hash is of both."""

    kind: ClassVar[Kind] = "fact"
    prices: dict[str, Any]
    sha256: str
    published: dict[str, Any] = {}


class TotalBudgetSet(Event, kw_only=True, tag="total-budget-set.v1"):
    """The fleet's total was replaced. A dimension left out is not limited.

    ``budget`` is what a period grants; ``total`` is that and what had been spent before the current period (the
    root's balance runs on through all periods).
    """

    kind: ClassVar[Kind] = "decision"
    budget: Amounts
    total: Amounts
    reserve: Amounts
    overdraft: Amounts
    period_ends_at: dt.datetime | None = None


class PeriodRenewed(Event, kw_only=True, tag="period-renewed.v1"):
    """A budget period began: what was spent so far plus the period's budget is the new total."""

    kind: ClassVar[Kind] = "decision"
    began_at: dt.datetime
    period_ends_at: dt.datetime | None
    budget: Amounts
    total: Amounts
    reserve: Amounts
    overdraft: Amounts


class FleetOpened(Event, kw_only=True, tag="fleet-opened.v1"):
    """The fleet is open again, after nothing was heard since ``down_since``; it is recorded where that matters.

    What the manager was not there to hear does not count: each lease lasts until ``leases_until`` (left out: no task
    runs).
    """

    kind: ClassVar[Kind] = "fact"
    down_since: dt.datetime
    leases_until: dt.datetime | None = None


class ClockApart(Event, kw_only=True, tag="clock-apart.v1"):
    """The machine's clock is ``apart_ms`` ahead of the time of the log, or behind it where that is negative.

    The time of the log goes on by the time that passes.
    """

    kind: ClassVar[Kind] = "fact"
    apart_ms: int


class ClockTogether(Event, kw_only=True, tag="clock-together.v1"):
    """The machine's clock and the time of the log agree again."""

    kind: ClassVar[Kind] = "fact"


class ClockAccepted(Event, kw_only=True, tag="clock-accepted.v1"):
    """An operator confirmed that the machine's clock, which was found ``ahead_ms`` ahead, is right: it is followed.

    The step is no operation. ``keeps_time_left``: each hold and lease ends so much later, and keeps the time that it
    had left; logs of earlier rules leave their ends where they were.
    """

    kind: ClassVar[Kind] = "fact"
    ahead_ms: int
    reason: str | None = None
    keeps_time_left: bool = False


class FleetPaused(Event, kw_only=True, tag="fleet-paused.v1"):
    """An operator stopped everything."""

    kind: ClassVar[Kind] = "fact"
    reason: str


class FleetResumed(Event, kw_only=True, tag="fleet-resumed.v1"):
    """An operator ended the pause."""

    kind: ClassVar[Kind] = "fact"


class ReserveReleased(Event, kw_only=True, tag="reserve-released.v1"):
    """The emergency reserve is open for critical agents until the next period or total."""

    kind: ClassVar[Kind] = "fact"
    reason: str


class FleetResponseChanged(Event, kw_only=True, tag="fleet-response-changed.v1"):
    """Pressure crossed a line; every agent's action follows from this one event."""

    kind: ClassVar[Kind] = "decision"
    before: str
    response: str
    pressure: float
    dimension: str


class PoolExhausted(Event, kw_only=True, tag="pool-exhausted.v1"):
    """The first refusal for lack of pool: every open agent learns of it, once, with its next reply."""

    kind: ClassVar[Kind] = "decision"
    available: Amounts


class AlertRaised(Event, kw_only=True, tag="alert-raised.v1"):
    """Something an operator should know, for the names of ``notifications`` in ``notify``; ``alert`` is unique."""

    kind: ClassVar[Kind] = "decision"
    alert: str
    code: str
    message: str
    agent: str | None = None
    notify: list[str] = []


class AlertDelivered(Event, kw_only=True, tag="alert-delivered.v1"):
    """An address (its mark, see ``config.addresses``) accepted an alert, which is never sent there again."""

    kind: ClassVar[Kind] = "fact"
    alert: str
    to: str
    address: str


class AlertDeliveryFailed(Event, kw_only=True, tag="alert-delivery-failed.v1"):
    """An alert is no longer sent to an address: it was refused too often, or too many alerts wait."""

    kind: ClassVar[Kind] = "decision"
    alert: str
    to: str
    address: str
    reason: Literal["not_accepted", "outbox_full"]
    attempts: int = 0


class SpecialistGivenUp(Event, kw_only=True, tag="specialist-given-up.v1"):
    """A specialist has failed too often to be replaced: what needs it is refused until the fleet restarts."""

    kind: ClassVar[Kind] = "fact"
    specialist: str
    reason: str


class SpecialistRestored(Event, kw_only=True, tag="specialist-restored.v1"):
    """The fleet was started again, and with it a specialist that had been given up."""

    kind: ClassVar[Kind] = "fact"
    specialist: str
