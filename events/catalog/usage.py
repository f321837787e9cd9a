"""What agents used, what they set aside before it, and signs of life."""

import datetime as dt
from typing import ClassVar, Literal, Self

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.config.price import Tokens
from tallystick.events.catalog.event import Event, Kind

EndOfHold = Literal["expired", "cancelled", "released", "settled"]
EstimatedBy = Literal["quantile", "maximum"]
"""From the last outputs of the agent type on the model, or from the most that was named."""


class UsageReported(Event, kw_only=True, tag="usage-reported.v1"):
    """Usage, as reported and priced. ``hold`` names the ended hold that a late settlement was for.

    Where the agent has no open account, ``charged`` names the one that pays (left out: the fleet). The state forgets
    released accounts after a time, so that it cannot be asked for this again. ``lease`` names the run of a task that
    was over: the account of a later run, which has the same name, does not pay for it. ``life`` is likewise the
    position at which the account was opened that this belongs to, where that one is released: another that is open
    under its id does not pay. Then ``product``, ``agent_type`` and ``workflow`` say what it counts for. ``base_tier``:
    a total of several requests that was priced as none of them alone would have reached a tier of long requests.
    ``after_outage``: the fleet was not there at some time since the report before, so that the time between the two
    says nothing of the agent's pace. ``partial``: a part of a late settlement; another may follow. ``repaired``: a name
    in the report was misspelled, and is recorded as what it shows. ``source_id`` is the provider's id of what was used:
    it is recorded once. ``counts_on`` is the day on which it counts, where it may have to be known later.
    ``occurred_at`` is when it was used, where that was before it was reported; ``history``: before the period of the
    budget, so that it is charged to nothing; ``past_windows`` are the calendar windows of limits that were over since.
    ``child_first`` and ``child_upto`` are the positions of a child fleet's log that it is the use of.
    """

    kind: ClassVar[Kind] = "fact"
    agent: str
    tokens: int = 0
    time_ms: int = 0
    cost_nanos: int = 0
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    operation: str | None = None
    hold: str | None = None
    lease: str | None = None
    charged: str | None = None
    priced_as: str | None = None
    unpriced: bool = False
    late: bool = False
    unallocated: bool = False
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    requests: int | None = None
    base_tier: bool = False
    life: int | None = None
    product: str | None = None
    agent_type: str | None = None
    workflow: str | None = None
    after_outage: bool = False
    partial: bool = False
    labels: dict[str, str] | None = None
    reason: str | None = None
    repaired: bool = False
    overdrawn: str | None = None
    """The account that is beyond its ``overdraft_max``, and would have to be covered: the fleet is charged instead."""
    source_id: str | None = None
    counts_on: str | None = None
    occurred_at: dt.datetime | None = None
    history: bool = False
    past_windows: list[str] = []
    child_first: int = 0
    child_upto: int = 0

    @property
    def account(self) -> str | None:
        """Whose open account is charged, if there is one; None where it is of a run or an account that is over."""
        return self.agent if self.lease is None and self.life is None else None

    @property
    def used_at(self) -> dt.datetime:
        """When it was used."""
        return self.occurred_at or self.at


class HoldPlaced(Event, kw_only=True, tag="hold-placed.v1"):
    """An amount was set aside before an operation; ``ttl_ms`` is what a heartbeat extends it by. Tokens as they were
    told apart, and requests, are recorded where limits count them.

    Its cost is that of ``model``, by the price of ``priced_as``, where the estimate named none. ``rejects_overage``: a
    settlement above it is refused. ``spends``: its expiry books what it still has as used.
    ``last_call``: it was the last call of its account. ``estimated_by``: how its output was found, where the message
    named none. ``waited_since``: it had waited for room.
    """

    kind: ClassVar[Kind] = "decision"
    hold: str
    agent: str
    amount: Amounts
    ttl_ms: int
    expires_at: dt.datetime
    model: str | None = None
    priced_as: str | None = None
    unpriced: bool = False
    base_tier: bool = False
    rejects_overage: bool = False
    spends: bool = False
    last_call: bool = False
    estimated_by: EstimatedBy | None = None
    labels: dict[str, str] | None = None
    operation: str | None = None
    reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    requests: int | None = None
    waited_since: dt.datetime | None = None


class HoldExtended(Event, kw_only=True, tag="hold-extended.v1"):
    """A heartbeat moved a hold's expiry on; ``amount`` was set aside in addition."""

    kind: ClassVar[Kind] = "decision"
    hold: str
    agent: str
    expires_at: dt.datetime
    amount: Amounts | None = None


class HoldSettled(Event, kw_only=True, tag="hold-settled.v1"):
    """A hold was replaced by what was really used, in one step; as reported and priced. ``after_outage`` as in
    `UsageReported`. ``partial``: a part of the use was booked, and what the hold had beyond it stays set aside.
    ``repaired``, ``source_id`` and what follows it as in `UsageReported`.
    """

    kind: ClassVar[Kind] = "fact"
    hold: str
    agent: str
    tokens: int = 0
    time_ms: int = 0
    cost_nanos: int = 0
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    priced_as: str | None = None
    unpriced: bool = False
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    requests: int | None = None
    base_tier: bool = False
    after_outage: bool = False
    partial: bool = False
    labels: dict[str, str] | None = None
    operation: str | None = None
    reason: str | None = None
    repaired: bool = False
    overdrawn: str | None = None
    """As in `UsageReported`; what was set aside is given back."""
    source_id: str | None = None
    counts_on: str | None = None
    occurred_at: dt.datetime | None = None
    history: bool = False
    past_windows: list[str] = []

    @property
    def account(self) -> str:
        """Whose open account is charged."""
        return self.agent

    @property
    def used_at(self) -> dt.datetime:
        """When it was used."""
        return self.occurred_at or self.at


class HoldSpent(HoldSettled, kw_only=True, tag="hold-spent.v1"):
    """A hold expired, or its agent or run fell silent, and what it still had counts as used: the provider may have
    billed it. It counts on ``day``. A late settlement replaces it (see `UsageCorrected`).
    """

    kind: ClassVar[Kind] = "decision"
    day: str


class Said(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True, gc=False):
    """What a report or a settlement says that was used, and how it was priced; the fields are those of its event."""

    tokens: int = 0
    time_ms: int = 0
    cost_nanos: int = 0
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    requests: int | None = None
    priced_as: str | None = None
    unpriced: bool = False
    base_tier: bool = False

    @classmethod
    def by(cls, record: UsageReported | HoldSettled) -> Self:
        """What a record says."""
        return cls(**{name: getattr(record, name) for name in cls.__struct_fields__})

    @property
    def units(self) -> tuple[int, int, int]:
        """What was used, by dimension."""
        return (self.tokens, self.time_ms, self.cost_nanos)


def tokens_of(event: UsageReported | HoldSettled | Said) -> Tokens:
    """The tokens that were used as prices tell them apart: without a split all is input, and what a total has beyond
    the split is output.
    """
    sent, got = event.input_tokens, event.output_tokens
    if sent is None and got is None:
        sent, got = event.tokens, 0
    sent, got = sent or 0, got or 0
    return Tokens(
        sent,
        got + max(0, event.tokens - sent - got),
        event.cached_tokens or 0,
        event.cache_write_tokens or 0,
        event.cache_write_1h_tokens or 0,
        event.audio_input_tokens or 0,
        event.audio_output_tokens or 0,
    )


class HoldEnded(Event, kw_only=True, tag="hold-ended.v1"):
    """What a hold still had was given back unused: it expired, was cancelled, or its account was released; or it was
    settled with what had been recorded from another source before, at the position ``recorded_position``.
    """

    kind: ClassVar[Kind] = "decision"
    hold: str
    agent: str
    how: EndOfHold
    labels: dict[str, str] | None = None
    operation: str | None = None
    reason: str | None = None
    recorded_position: int | None = None


class AgentHeard(Event, kw_only=True, tag="agent-heard.v1"):
    """A sign of life."""

    kind: ClassVar[Kind] = "fact"
    agent: str
