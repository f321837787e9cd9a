"""The bound of an account's overdraft: what others may cover for it, and what happens beyond that (spec 1).

Every account on the way of a cover whose own money is not enough is covered itself, so what passes through to a
sub-agent counts for all that it passes. Who goes beyond its bound is stopped, with all below it; nothing more is
covered for it, and usage that would need it is charged to the fleet.
"""

from collections.abc import Sequence

from tallystick.config.amounts import DIMENSIONS, Amounts
from tallystick.events import catalog as e
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.obstacles import why_overdrawn
from tallystick.events.decide.turn import Turn
from tallystick.events.state.accounts import Account

OVERDRAFT_MAX = "overdraft_max"
"""The cause of a cover for the fleet's own account, where it is charged for one that is beyond its bound."""


def beyond(
    charged: Account, event: "e.UsageReported | e.HoldSettled", lacking: Sequence[tuple[int, int]]
) -> Account | None:
    """The account beyond its bound for which a use is charged to the fleet; None where it is charged as ever.

    Of an account that is beyond, every report is; a settlement, and usage of others, only where a cover would pass it.
    """
    if charged.overdrawn and type(event) is e.UsageReported:
        return charged
    for d, needed in lacking:
        payer, short = charged.payers[d], needed
        while payer.parent is not None and (short := short - payer.free[d]) > 0:
            if payer.overdrawn:
                return payer
            payer = payer.source(d)
    return None


def note_overdrafts(turn: Turn) -> None:
    """Stop every account that the covers of this command have brought beyond its bound."""
    accounts = turn.ledger.accounts
    covered = [event.target for event in turn.events[turn.own :] if type(event) is e.Covered]
    for name in dict.fromkeys(covered):
        account = accounts.get(name)
        if account is None or account.overdrawn or not account.is_beyond:
            continue
        limits = account.terms.overdraft_max
        shown = [None if limits[d] is None else account.cover[d] for d in DIMENSIONS]
        turn.record(e.OverdraftExceeded(agent=name, covered=Amounts(*shown), overdraft_max=Amounts(*limits)))
        alert(turn, "overdraft_exceeded", why_overdrawn(account), name)
