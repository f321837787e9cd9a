"""Whether two ways of applying the same events have led to the same state."""

from typing import Any

from tallystick.events.log import snapshot
from tallystick.events.state.ledger import Ledger
from tests.support.core import dump


def is_same(one: Ledger, other: Ledger) -> bool:
    """Equal in all that is kept, and in what is found again from it."""
    return said(one) == said(other)


def said(ledger: Ledger) -> tuple[Any, ...]:
    """All that a state says. Of the heap of expiries, entries that are no longer true say nothing."""
    state = dump(ledger)
    standing = {(hold.expires_at, hold.id) for hold in ledger.holds.values()}
    state["expiries"] = sorted(standing.intersection(state["expiries"]))
    near = None if ledger.day.near is None else ledger.day.near.value
    return state, snapshot.dump(ledger), near, ledger.due_at(), ledger.day.held_by_product
