"""What is remembered of what is over: released accounts, and holds that have ended."""

import datetime as dt

import msgspec

from tallystick.config.amounts import Triple
from tallystick.config.kinds import Priority
from tallystick.events.catalog.usage import HoldSpent, Said
from tallystick.events.state.accounts import Notes
from tallystick.events.state.limited_holds import Limited
from tallystick.events.state.money import Money


class Closed(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is remembered of a released account: one life of its id, with the life of its parent.

    So late reports find what pays for them, and what they count for, whatever was opened under these ids since.
    """

    id: str
    parent: str
    priority: Priority
    allocated: Triple
    consumed: Triple
    position: int
    """Where it was released."""
    budget_product: str | None
    """The product that its tokens counted for."""
    life: int
    parent_life: int
    agent_type: str | None
    workflow: str | None
    labels: dict[str, str] | None = None
    auto: bool = False


class EndedName(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Of a hold that has ended: its id, how it ended, and whose it was."""

    id: str
    how: str
    agent: str


class EndedHold(EndedName, array_like=True, frozen=True, gc=False):
    """What is remembered of a hold that has ended, beside that: of which run and account it was, and so on."""

    position: int
    """Where it ended."""
    lease: str | None
    life: int
    at: dt.datetime
    placed: Money
    booked: Money
    placed_at: dt.datetime
    notes: Notes | None
    spent: HoldSpent | None = None
    """What its expiry booked, until a late settlement replaces it."""
    counted: Said | None = None
    """What counts of that since an operator corrected it."""
    limited: Limited | None = None
    """How it had counted in limits: what is said of its use later counts as if it stood."""
