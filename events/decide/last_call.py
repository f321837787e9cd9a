"""Last call: what is kept of an account's allocation for one last operation, so that a stopped agent can still write
down what it has.

Kept is a part of the allocation (``enforcement.last_call.percent``), at least the largest operation so far, in each
dimension that the account limits. Ordinary holds do not reach into it. An agent hears of it once, before an operation
as large as its largest would.
"""

from math import ceil

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.decide.turn import Turn
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO, Money, limited

USED = 2


def kept(ledger: Ledger, account: Account) -> Money:
    """What ordinary holds of an account leave free in the dimensions that it limits; nothing where it is off."""
    part = ledger.rules.last_call
    if part is None:
        return ZERO
    units = [0, 0, 0]
    for d in account.dims:
        allocated = account.allocated[d] or 0
        units[d] = min(allocated, max(ceil(part * allocated), account.largest[d]))
    return (units[0], units[1], units[2])


def kept_free(ledger: Ledger, account: Account, *, last_call: bool = False) -> Money:
    """What a hold of an account must leave free with each that pays: what that keeps for its own last call. A last
    call may use what its own account keeps.
    """
    if ledger.rules.last_call is None:
        return ZERO
    units = [0, 0, 0]
    for d, payer in enumerate(account.payers):
        if payer.allocated[d] is not None and payer is not ledger.root and not (last_call and payer is account):
            units[d] = kept(ledger, payer)[d]
    return (units[0], units[1], units[2])


def is_near(ledger: Ledger, account: Account) -> bool:
    """Whether an operation as large as the largest so far may reach into what is kept. What is held counts as there: it
    may come back.
    """
    keeps = kept(ledger, account)
    for d in account.dims:
        there = account.free[d] + account.held[d]
        if there > 0 and (there <= keeps[d] or there < keeps[d] + account.largest[d]):
            return True
    return False


def is_far(ledger: Ledger, account: Account) -> bool:
    """Whether what an account has free is more than what is kept and another operation as large as its largest."""
    if ledger.rules.last_call is None:
        return True
    keeps, free, largest = kept(ledger, account), account.free, account.largest
    return all(free[d] > keeps[d] and free[d] >= keeps[d] + largest[d] for d in account.dims)


def give(turn: Turn, account: Account) -> bool:
    """Record, once until it is granted more, that an account is near its last call; whether that was now."""
    ledger = turn.ledger
    if account.called or e.LEVELS[account.level] == "black" or not is_near(ledger, account):
        return False
    turn.record(
        e.LastCallGiven(
            agent=account.id,
            kept=Amounts(*limited(account.allocated, kept(ledger, account))),
            left=Amounts(*account.remaining_all()),
        )
    )
    return True
