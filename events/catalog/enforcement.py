"""Levels, an operator's orders to single agents, early warnings, and refused requests."""

from typing import Any, ClassVar

from tallystick.config.amounts import Amounts
from tallystick.events.catalog.event import Event, Kind

LEVELS = ("green", "yellow", "orange", "red", "black")
ACTIONS = ("continue", "warn", "throttle", "degrade", "stop")


class LevelChanged(Event, kw_only=True, tag="level-changed.v1"):
    """An account crossed a threshold, in either direction; the ratio that decided is exact, shown to 6 places."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    before: str
    level: str
    percentage: float
    dimension: str
    limit_name: str | None = None
    """Of an account without a carve-out: which of its limits; ``dimension`` is a measure of that."""


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


class LastCallGiven(Event, kw_only=True, tag="last-call-given.v1"):
    """The next operation of an account may reach into what is ``kept`` of its allocation for a last one; ``left`` is
    what it has free.
    """

    kind: ClassVar[Kind] = "decision"
    agent: str
    kept: Amounts
    left: Amounts
