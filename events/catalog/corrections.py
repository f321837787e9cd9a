"""What corrects usage that was recorded before: the record stays, and another event says what it should have said."""

from typing import ClassVar

from tallystick.config.amounts import Amounts
from tallystick.events.catalog.event import Event, Kind
from tallystick.events.catalog.usage import HoldSettled, HoldSpent, Said, UsageReported


class UsageCorrected(Event, kw_only=True, tag="usage-corrected.v1"):
    """An operator replaced what the report or settlement ``record`` said; ``record`` is its event, as it is in the log.

    ``counted`` is what counted until now (the record, or its last correction), ``counts`` what counts from here on;
    ``tokens``, ``time_ms`` and ``cost_nanos`` are the difference, negative where something is taken back. ``charged``
    names the open account that pays the difference (left out: the fleet). ``closed`` is the account that was charged
    with the record, where that is released, ``life`` the position at which it was opened, and ``closed_in`` the
    dimensions in which what it used is part of what the paying account's closed sub-agents used. ``product``,
    ``agent_type``, ``workflow`` and ``model`` are what the record counted for until now, ``run`` the task in whose run
    it was used, and ``model_after`` the model that it counts for from here on (left out: the same). ``day`` is the day
    in which it was recorded, and ``closed_period`` says whether that was in an earlier period of the budget: then
    opening and total move with what was spent. ``settles``: it is no operator, but the late settlement of a hold whose
    expiry had booked what it had; ``partial``: a part of it, another may follow. ``source_id`` is the source of what
    counts now; ``repeats``: it is no operator, but a later and larger figure of that source. ``source_most`` is the
    most that the source has said, where an operator has said something else.
    """

    kind: ClassVar[Kind] = "fact"
    agent: str
    reason: str
    record: UsageReported | HoldSettled | HoldSpent
    counted: Said
    counts: Said
    tokens: int = 0
    time_ms: int = 0
    cost_nanos: int = 0
    charged: str | None = None
    closed: str | None = None
    life: int | None = None
    closed_in: list[str] = []
    product: str | None = None
    agent_type: str | None = None
    workflow: str | None = None
    run: str | None = None
    model: str | None = None
    model_after: str | None = None
    day: str
    closed_period: bool = False
    settles: bool = False
    partial: bool = False
    source_id: str | None = None
    repeats: bool = False
    source_most: Amounts | None = None

    @property
    def difference(self) -> tuple[int, int, int]:
        """What is added to the figures of the record, by dimension."""
        return (self.tokens, self.time_ms, self.cost_nanos)

    @property
    def is_own(self) -> bool:
        """Whether the agent's own account was charged with the record, be it open or released now."""
        account = self.record.account
        return account is not None and account == (self.closed or self.charged)
