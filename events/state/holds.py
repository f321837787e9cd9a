"""The holds that stand, found by account and by when they expire. No money is moved here: see `evolve.usage`."""

import datetime as dt
import heapq
from collections.abc import Iterable

from tallystick.events.state.accounts import Hold
from tallystick.events.state.calendar import later
from tallystick.events.state.ledger import Ledger


def list_hold(ledger: Ledger, hold: Hold) -> None:
    """A hold that stands from now on is found by its account, and by when it expires."""
    account = hold.account
    if account.holds is None:
        account.holds = {}
    account.holds[hold.id] = hold
    heapq.heappush(ledger.expiries, (hold.expires_at, hold.id))


def list_expiry(ledger: Ledger, hold: Hold) -> None:
    """A hold expires at another time than before."""
    heapq.heappush(ledger.expiries, (hold.expires_at, hold.id))
    _drop_stale(ledger)


def move_expiries(ledger: Ledger, by: dt.timedelta) -> None:
    """Every hold that stands expires so much later: it keeps the time that it had left."""
    ledger.expiries = []
    for hold in ledger.holds.values():
        hold.expires_at = later(hold.expires_at, by)
        ledger.expiries.append((hold.expires_at, hold.id))
    heapq.heapify(ledger.expiries)


def unlist_holds(ledger: Ledger, holds: Iterable[Hold]) -> None:
    """Holds that stood do so no more."""
    for hold in holds:
        account = hold.account
        if account.holds is not None:
            del account.holds[hold.id]
            if not account.holds:
                account.holds = None
    _drop_stale(ledger)


def _drop_stale(ledger: Ledger) -> None:
    """The first of the heap is always a hold that stands, so that it says when the next one expires."""
    expiries, holds = ledger.expiries, ledger.holds
    while expiries:
        expires_at, id = expiries[0]
        hold = holds.get(id)
        if hold is not None and hold.expires_at == expires_at:
            return
        heapq.heappop(expiries)
