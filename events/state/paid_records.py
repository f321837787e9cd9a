"""Who pays for a record of usage now: the account that was charged with it, or what that left its spending to.

An account is one life of its id. Where the one that was charged is released, the nearest account pays that it was below
and that is still open, or the fleet: as for a late report. What is no longer remembered of released accounts is found
in the log by who asks.
"""

from collections.abc import Callable
from typing import NamedTuple

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Triple
from tallystick.events.catalog import BudgetAllocated, HoldSettled, UsageReported
from tallystick.events.state.accounts import ROOT, Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.remembered import Closed

Find = Callable[[str, int], BudgetAllocated | None]
"""The opening of the account that was open under an id at a position, out of the log; None where none was."""


class Life(NamedTuple):
    """A released account; ``position`` is where it was opened, ``parent`` None where the pool had granted it."""

    id: str
    position: int
    parent: str | None
    parent_life: int | None
    limits: Triple
    product: str | None
    agent_type: str | None
    workflow: str | None


class Paid(NamedTuple):
    """``payer`` is open and pays now; ``closed`` are the released accounts between it and what was charged, which is
    the first of them.
    """

    payer: Account
    closed: tuple[Life, ...] = ()

    @property
    def closed_in(self) -> list[str]:
        """The dimensions in which one of the released accounts left what it had used to the payer when it closed."""
        return [EDGE_NAMES[d] for d in DIMENSIONS if any(life.limits[d] is not None for life in self.closed)]

    @property
    def product(self) -> str | None:
        """The product that the account that was charged worked for."""
        named = (life.product for life in self.closed if life.product is not None)
        return next(named, self.payer.budget_product)


class Forgotten(NamedTuple):
    """Neither the state nor the log knows the account that was open under an id at a position."""

    agent: str
    position: int


def paid(ledger: Ledger, record: UsageReported | HoldSettled, find: Find) -> Paid | Forgotten:
    """Who pays for a record now."""
    name, position = charged_with(record), record.position
    parent_life: int | None = None
    closed: list[Life] = []
    while name is not None and name != ROOT:
        account = ledger.accounts.get(name)
        if account is not None and account.life < position:
            # What is open now, and was opened before, was open then.
            return Paid(account, tuple(closed))
        life = _remembered(ledger, name, position, parent_life)
        if life is None:
            opening = find(name, position)
            if opening is None and not closed and isinstance(record, UsageReported) and record.late:
                break  # in an old log, a late settlement does not say that the account was released
            if opening is None:
                return Forgotten(name, position)
            life = _of(opening)
        closed.append(life)
        name, position, parent_life = life.parent, life.position, life.parent_life
    return Paid(ledger.root, tuple(closed))


def charged_with(record: UsageReported | HoldSettled) -> str | None:
    """The account that was charged with a record; None for the fleet."""
    if isinstance(record, HoldSettled):
        return record.agent
    if record.charged is not None:
        return record.charged
    without = record.unallocated or (record.late and record.hold is None)
    return None if without else record.account


def is_own(record: UsageReported | HoldSettled) -> bool:
    """Whether the agent's own account was charged with a record, which was open then."""
    return record.account is not None and charged_with(record) == record.account


def _remembered(ledger: Ledger, name: str, position: int, life: int | None) -> Life | None:
    """A released account that the state remembers: by its life where that is known, or the one that was open then."""
    if life:
        closed = ledger.lives.get(life)
        return None if closed is None else _of_closed(closed)
    last = ledger.released.get(name)
    if last is not None and last.life < position < last.position:
        return _of_closed(last)
    for closed in reversed(ledger.lives.values()):
        if closed.id == name and closed.life < position < closed.position:
            return _of_closed(closed)
    return None


def _of_closed(closed: Closed) -> Life:
    return Life(
        closed.id,
        closed.life,
        None if closed.parent == ROOT else closed.parent,
        closed.parent_life,
        closed.allocated,
        closed.budget_product,
        closed.agent_type,
        closed.workflow,
    )


def _of(opening: BudgetAllocated) -> Life:
    return Life(
        opening.agent,
        opening.position,
        opening.parent,
        None,
        opening.amount.triple,
        opening.product,
        opening.agent_type,
        opening.workflow,
    )
