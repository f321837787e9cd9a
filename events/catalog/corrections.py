"""What corrects usage that was recorded before: the record stays, and another event says what it should have said."""

from typing import ClassVar

from tallystick.config.amounts import Amounts
from tallystick.events.catalog.event import Event, Kind
from tallystick.events.catalog.usage import HoldSettled, UsageReported


class UsageCorrected(Event, kw_only=True, tag="usage-corrected.v1"):
    """An operator replaced what the report or settlement ``record`` said; ``record`` is its event, as it is in the log.

    ``before`` is what counted until now (the record, or its last correction), ``after`` what counts from here on;
    ``tokens``, ``time_ms`` and ``cost_nanos`` are the difference, negative where something is taken back. ``charged``
    names the account that pays the difference (left out: the fleet). ``product``, ``agent_type`` and ``model`` are what
    the record counted for, ``day`` the day in which it was recorded, and ``closed_period`` whether that was in an
    earlier period of the budget: then opening and total move with what was spent.
    """

    kind: ClassVar[Kind] = "fact"
    agent: str
    reason: str
    record: UsageReported | HoldSettled
    before: Amounts
    after: Amounts
    tokens: int = 0
    time_ms: int = 0
    cost_nanos: int = 0
    charged: str | None = None
    product: str | None = None
    agent_type: str | None = None
    model: str | None = None
    day: str
    closed_period: bool = False

    @property
    def difference(self) -> tuple[int, int, int]:
        """What is added to the record's figures, by dimension."""
        return (self.tokens, self.time_ms, self.cost_nanos)
