"""What agents use, what they set aside before it, signs of life, and how the budgets stand."""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from tallystick.config.amounts import Budget, Usage
from tallystick.events.messages.command import Command, Labels, LimitName, Name, Reason
from tallystick.events.messages.from_child import FromChild

Moment = Annotated[dt.datetime, msgspec.Meta(tz=True)]
Count = int | float | None
"""Tokens. What was used may be said finer than it is counted, as ``0.1 + 0.2`` is; it is rounded up."""


class ReportUsage(Command):
    """What an agent or a task says that it spent: a fact, never refused, never dropped.

    ``lease`` is the run of the task that it is of; left out, the one that goes on is meant. ``provider_usage`` is the
    provider's own usage object, from which the counts are read that the message does not name (see ``provider_usage``).
    ``requests``: how many requests this is the total of. ``rate_limited``: the provider of ``model`` has refused a
    request for its pace; it may be asked again after ``retry_after_seconds``, if it says so. ``source_id``: the
    provider's id of the message or request: what is reported or settled under it again is not recorded again.
    ``occurred_at``: when it was used, where that is not now. ``child``: the fleet of a delegated account says what it
    has used between two positions of its log.
    """

    group: ClassVar[str] = "track"
    agent: Name | None = None
    task: Name | None = None
    lease: Name | None = None
    usage: Usage | None = None
    model: Name | None = None
    input_tokens: Count = None
    output_tokens: Count = None
    cached_tokens: Count = None
    operation: Name | None = None
    cache_write_tokens: Count = None
    reasoning_tokens: Count = None
    audio_input_tokens: Count = None
    audio_output_tokens: Count = None
    requests: int | None = None
    provider_usage: Any = None
    labels: Labels | None = None
    rate_limited: bool = False
    retry_after_seconds: Decimal | None = None
    source_id: Name | None = None
    occurred_at: Moment | None = None
    child: FromChild | None = None


class Reserve(Command):
    """Hold ``estimate`` before an operation. The hold's id is this command's id.

    With a ``model`` the tokens are priced as a report of them would be, where the estimate names no cost. With
    ``dry_run`` nothing is held or recorded: the answer is what the same message without it would be answered now.
    ``overage``: whether a settlement above the hold is booked, as usage is a fact, or refused.
    ``on_expiry``: whether what it still has when it expires is given back, or counts as used, as where the provider may
    have billed it. ``last_call``: it may use, once, what is kept of the allocation. Without an estimate and an output,
    but with ``model`` and ``input_tokens``, the output is what earlier ones were, at most ``max_output_tokens``.
    ``wait_seconds``: where there is no room, the answer waits for it, at most so long.
    """

    group: ClassVar[str] = "track"
    agent: Name
    estimate: Budget | None = None
    ttl_seconds: Decimal | None = None
    model: Name | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    requests: int | None = None
    provider_usage: Any = None
    dry_run: bool = False
    overage: Literal["book", "reject"] = "book"
    on_expiry: Literal["release", "spend"] = "release"
    last_call: bool = False
    max_output_tokens: int | None = None
    wait_seconds: Decimal | None = None
    labels: Labels | None = None
    operation: Name | None = None
    reason: Reason | None = None

    @property
    def is_query(self) -> bool:
        return self.dry_run


class Settle(Command):
    """Replace a hold by what the operation really used, in the form of `ReportUsage`.

    Without ``final`` it is a part of the use, as of a response that streams: the rest stays held. ``source_id`` and
    ``occurred_at`` as in `ReportUsage`.
    """

    group: ClassVar[str] = "track"
    hold: Name
    usage: Usage | None = None
    model: Name | None = None
    input_tokens: Count = None
    output_tokens: Count = None
    cached_tokens: Count = None
    cache_write_tokens: Count = None
    reasoning_tokens: Count = None
    audio_input_tokens: Count = None
    audio_output_tokens: Count = None
    requests: int | None = None
    provider_usage: Any = None
    final: bool = True
    labels: Labels | None = None
    operation: Name | None = None
    reason: Reason | None = None
    source_id: Name | None = None
    occurred_at: Moment | None = None


class CancelHold(Command):
    """Give a hold back unused."""

    group: ClassVar[str] = "track"
    hold: Name
    labels: Labels | None = None
    operation: Name | None = None
    reason: Reason | None = None


class Heartbeat(Command):
    """A sign of life of an agent, a task or a hold (exactly one of them).

    It moves the end of a task's lease, or a hold's expiry: by its time to live, or by ``ttl_seconds``, from now on, or
    by ``extend_seconds`` from when it would expire; ``amount`` is held in addition, if there is room. ``lease`` is the
    run of the task. ``child``: the fleet of a delegated account has begun; no other one may take the account.
    """

    group: ClassVar[str] = "track"
    agent: Name | None = None
    task: Name | None = None
    lease: Name | None = None
    hold: Name | None = None
    ttl_seconds: Decimal | None = None
    extend_seconds: Decimal | None = None
    amount: Budget | None = None
    child: FromChild | None = None


HoldState = Literal["open", "settled", "cancelled", "expired"]


class GetHolds(Command):
    """Holds of an agent, one hold, or those of the fleet, by id: ``limit`` of them whose id sorts behind ``after``.

    Holds that have ended are shown while they are remembered.
    """

    group: ClassVar[str] = "track"
    query: ClassVar[bool] = True
    agent: Name | None = None
    hold: Name | None = None
    state: HoldState | None = None
    limit: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 100
    after: str | None = None


class GetLimits(Command):
    """The limits that an agent is under, or one limit, or all: by counter, nearest to exhaustion first, at most
    ``count`` of them. With ``after`` those of a limit by value, of which that sorts behind it.
    """

    group: ClassVar[str] = "track"
    query: ClassVar[bool] = True
    agent: Name | None = None
    limit: LimitName | None = None
    value: Name | None = None
    count: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 100
    after: str | None = None


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


Spending = ReportUsage | Reserve | Settle
"""Messages whose tokens are counted, and priced where they name a model."""

Sourced = ReportUsage | Settle
"""Messages that may name the source of what was used."""
