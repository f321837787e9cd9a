"""What happens to limits: their windows, how near they are, what operators raise and providers refuse."""

import datetime as dt
from typing import ClassVar

import msgspec

from tallystick.events.catalog.event import Event, Kind


class LimitWindowsBegan(Event, kw_only=True, tag="limit-windows-began.v1"):
    """Calendar windows of limits began in the fleet's time zone: ``window_ends`` says when each kind (hour, day, week,
    month) ends. Those that begin because a limit needs them begin with their `ConfigLoaded`.
    """

    kind: ClassVar[Kind] = "decision"
    window_ends: dict[str, dt.datetime]


class LimitLine(Event, kw_only=True, tag="limit-line.v1"):
    """The use in a counter came to a percentage of its limit, for the first time in its window. ``used_units`` and
    ``max_units`` are in units of ``measure`` (tokens, milliseconds, nano-dollars, requests).
    """

    kind: ClassVar[Kind] = "decision"
    limit_name: str
    scope_value: str
    percent: str
    measure: str
    used_units: int
    max_units: int


class LimitRaised(Event, kw_only=True, tag="limit-raised.v1"):
    """An operator raised a limit, for one value of its scope or for all. ``raised_to`` are all measures that are raised
    now, in whole units; none: as it is configured. ``raised_until`` is left out where it stays until it is revoked.
    """

    kind: ClassVar[Kind] = "fact"
    limit_name: str
    scope_value: str | None = None
    raised_to: dict[str, int] = msgspec.field(default_factory=dict)
    raised_until: dt.datetime | None = None
    reason: str | None = None


class ClosedCounter(msgspec.Struct, frozen=True, gc=False):
    """A counter of a limit that grants nothing until a time."""

    limit_name: str
    scope_value: str
    until: dt.datetime


class ProviderRefused(Event, kw_only=True, tag="provider-refused.v1"):
    """A provider has refused a request for its pace, as reported. ``closed_counters`` are those of limits that pace
    such requests: they grant nothing until then. ``retry_after_ms`` is left out where the provider did not say it.
    """

    kind: ClassVar[Kind] = "fact"
    agent: str
    model: str | None = None
    retry_after_ms: int | None = None
    closed_counters: list[ClosedCounter] = msgspec.field(default_factory=list)
