"""An operator's orders to the whole fleet."""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, ClassVar

import msgspec

from tallystick.config.amounts import Usage
from tallystick.config.kinds import Priority
from tallystick.events.messages.command import Command, LimitName, Name, Reason
from tallystick.events.messages.track import Count


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


class MaxChange(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The measures of a limit to raise: a number raises, null ends that, left out stays."""

    tokens: int | msgspec.UnsetType | None = msgspec.UNSET
    time_seconds: Decimal | msgspec.UnsetType | None = msgspec.UNSET
    cost_usd: Decimal | msgspec.UnsetType | None = msgspec.UNSET
    input_tokens: int | msgspec.UnsetType | None = msgspec.UNSET
    output_tokens: int | msgspec.UnsetType | None = msgspec.UNSET
    requests: int | msgspec.UnsetType | None = msgspec.UNSET
    concurrent: int | msgspec.UnsetType | None = msgspec.UNSET


class ApproveLimit(Command):
    """Raise limits of the day until it ends; the breaker closes if no condition holds then.

    With ``limit`` raise that one, for one ``value`` of its scope or for all, until its window ends: a rolling one for
    one window's length, a total until it is revoked (by null, or by an empty ``max``).
    """

    group: ClassVar[str] = "operate"
    max_cost_usd: Decimal | None = None
    max_tokens_total: int | None = None
    limit: LimitName | None = None
    value: Name | None = None
    max: MaxChange | None = None
    reason: Reason | None = None


class ResetBreaker(Command):
    """Close the breaker. A condition that still holds trips it no more today."""

    group: ClassVar[str] = "operate"
    reason: Reason


class ReleaseReserve(Command):
    """Open the emergency reserve for critical agents, as a crisis does by itself."""

    group: ClassVar[str] = "operate"
    reason: Reason


class CorrectUsage(Command):
    """Replace what the report or settlement at a position of the log said; what it does not name stays.

    With a ``model``, or the tokens by their kinds, a cost that is not named is priced as that of a report would be.
    """

    group: ClassVar[str] = "operate"
    position: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    reason: Reason
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


class RecordReconciliation(Command):
    """Keep what came of a provider's ``bill`` (a digest of it) beside the reports: of the days from ``first_day`` to
    ``last_day``, what was billed, how much of that is explained, and how much agents had reported by themselves.
    ``short`` are the agents that had reported less than was billed. The same bill is kept once.
    """

    group: ClassVar[str] = "operate"
    bill: Name
    provider: Name
    first_day: dt.date
    last_day: dt.date
    billed_usd: Decimal
    explained_usd: Decimal
    reported_usd: Decimal
    short: Annotated[list[Name], msgspec.Meta(max_length=1_000)] = msgspec.field(default_factory=list)


class AcceptClock(Command):
    """Confirm that the machine's clock, which stepped ahead, is right: the time of the fleet follows it."""

    group: ClassVar[str] = "operate"
    reason: Reason | None = None


class LoadConfig(Command):
    """Put a configuration in force: the keys given replace those in force, the others stay; null removes a limit.

    Addresses and paths are not taken from a message.
    """

    group: ClassVar[str] = "operate"
    config: dict[str, Any]
