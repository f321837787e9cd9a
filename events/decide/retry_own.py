"""Which refusals of a hold are a matter of the account's own holds alone, and until when they stand."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal

from tallystick.config.amounts import DIMENSIONS, Triple
from tallystick.events.decide.levels import enforced, throttled_until
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.accounts import Account
from tallystick.events.state.calendar import NEVER
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO, plus


def is_alone(ledger: Ledger, account: Account, wanted: Triple) -> bool:
    """Whether an account pays for all of ``wanted`` that is limited, and nothing is below it that could give back."""
    if account.children is not None:
        return False
    return all(
        not wanted[d] or payer is account or (payer is ledger.root and payer.allocated[d] is None)
        for d, payer in enumerate(account.payers)
    )


def own_due(
    ledger: Ledger, account: Account, wanted: Triple, refusal: Refusal, own: Iterable[tuple[dt.datetime, str]]
) -> dt.datetime | None:
    """Until when an account is refused for sure; `NEVER` for ever; None where more than its ``own`` holds matter.

    It is as `is_alone` says. Its level does not change by time: what it used stays used.
    """
    if refusal.code == "throttled":
        return None if ledger.response else throttled_until(account, enforced(ledger, account))
    if refusal.code != "budget_exhausted":
        return None
    decided_by = refusal.numbers.get("decided_by")
    if decided_by in ("level", "zero_budget"):
        return NEVER
    return _room_at(ledger, account, wanted, own) if decided_by is None else None


def _room_at(ledger: Ledger, account: Account, wanted: Triple, own: Iterable[tuple[dt.datetime, str]]) -> dt.datetime:
    """When the ends of its own holds have brought back what an account lacks. What others cover is repaid first."""
    lacks = {
        d: units + account.cover[d] - account.free[d]
        for d in DIMENSIONS
        if (units := wanted[d]) and account.payers[d] is account
    }
    back = ZERO
    if any(lacks[d] > account.held[d] for d in lacks):
        return NEVER
    for expires_at, name in sorted(own):
        hold = ledger.holds.get(name)
        if hold is None:
            continue
        back = plus(back, hold.amount)
        if all(back[d] >= lacks[d] for d in lacks):
            return expires_at
    return NEVER


def is_used_up(refusal: Refusal) -> bool:
    """Whether a limit of the day is reached by what was used, so that no hold that ends makes room under it."""
    if refusal.code != "daily_limit_reached":
        return False
    limit, used = refusal.numbers["limit"], refusal.numbers["used"]
    return Decimal(str(used)) >= Decimal(str(limit))
