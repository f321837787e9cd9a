"""What agents used, what they set aside before it, and signs of life."""

import datetime as dt
from typing import ClassVar, Literal

from tallystick.config.amounts import Amounts
from tallystick.events.catalog.event import Event, Kind

EndOfHold = Literal["expired", "cancelled", "released"]


class UsageReported(Event, kw_only=True, tag="usage-reported.v1"):
    """Usage, as reported and priced. ``hold`` names the ended hold that a late settlement was for.

    Where the agent has no open account, ``charged`` names the one that pays (left out: the fleet). The state forgets
    released accounts after a time, so that it cannot be asked for this again. ``lease`` names the run of a task that
    was over: the account of a later run, which has the same name, does not pay for it.
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

    @property
    def account(self) -> str | None:
        """Whose open account is charged, if there is one."""
        return self.agent if self.lease is None else None


class HoldPlaced(Event, kw_only=True, tag="hold-placed.v1"):
    """An amount was set aside before an operation; ``ttl_ms`` is what a heartbeat extends it by."""

    kind: ClassVar[Kind] = "decision"
    hold: str
    agent: str
    amount: Amounts
    ttl_ms: int
    expires_at: dt.datetime


class HoldExtended(Event, kw_only=True, tag="hold-extended.v1"):
    """A heartbeat moved a hold's expiry on."""

    kind: ClassVar[Kind] = "decision"
    hold: str
    agent: str
    expires_at: dt.datetime


class HoldSettled(Event, kw_only=True, tag="hold-settled.v1"):
    """A hold was replaced by what was really used, in one step."""

    kind: ClassVar[Kind] = "fact"
    hold: str
    agent: str
    tokens: int = 0
    time_ms: int = 0
    cost_nanos: int = 0


class HoldEnded(Event, kw_only=True, tag="hold-ended.v1"):
    """A hold was given back unused: it expired, was cancelled, or its account was released."""

    kind: ClassVar[Kind] = "decision"
    hold: str
    agent: str
    how: EndOfHold


class AgentHeard(Event, kw_only=True, tag="agent-heard.v1"):
    """A sign of life."""

    kind: ClassVar[Kind] = "fact"
    agent: str
