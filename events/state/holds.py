"""The holds that stand, found by id, by account and by when they expire. No money is moved here: see ``transfers``."""

import datetime as dt
import heapq

from tallystick.events.state.accounts import Hold
from tallystick.events.state.ledger import Ledger


def add_hold(ledger: Ledger, hold: Hold) -> None:
    """A hold stands from now on."""
    ledger.holds[hold.id] = hold
    account = hold.account
    if account.holds is None:
        account.holds = {}
    account.holds[hold.id] = hold
    heapq.heappush(ledger.expiries, (hold.expires_at, hold.id))


def extend_hold(ledger: Ledger, hold: Hold, expires_at: dt.datetime) -> None:
    """A hold stands until ``expires_at``."""
    hold.expires_at = expires_at
    heapq.heappush(ledger.expiries, (expires_at, hold.id))
    _drop_stale(ledger)


def remove_hold(ledger: Ledger, hold_id: str) -> Hold:
    """A hold that stood does so no more."""
    hold = ledger.holds.pop(hold_id)
    account = hold.account
    if account.holds is not None:
        del account.holds[hold_id]
        if not account.holds:
            account.holds = None
    _drop_stale(ledger)
    return hold


def _drop_stale(ledger: Ledger) -> None:
    """The first of the heap is always a hold that stands, so that it says when the next one expires."""
    while ledger.expiries and _is_stale(ledger, ledger.expiries[0]):
        heapq.heappop(ledger.expiries)


def _is_stale(ledger: Ledger, entry: tuple[dt.datetime, str]) -> bool:
    hold = ledger.holds.get(entry[1])
    return hold is None or hold.expires_at != entry[0]
