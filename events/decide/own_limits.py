"""Accounts without a carve-out: how much of their limits they have used, and what they may still use.

An account that was granted nothing of its own has no balance that could say so: its limits do, and the free balance of
the accounts that pay for it. What a limit says of some use only (``match``) is no figure of the account as a whole.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tallystick.config.amounts import DIMENSIONS, Triple
from tallystick.events.decide.limit_readings import Reading, matches_of, reading
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import CONCURRENT, LimitRule
from tallystick.events.state.slot_time import micros


class OwnLevel(NamedTuple):
    """A level (0 green … 4 black), and the limit and the measure of it that call for that; None at green."""

    level: int
    rule: LimitRule | None
    measure: int


def is_by_limits(account: Account) -> bool:
    """Whether the level of an account is that of its limits; never on a ledger of views, which has no counters."""
    return account.carves_nothing and bool(account.terms.limits) and bool(account.caps)


def _own(ledger: Ledger, account: Account) -> Iterator[tuple[LimitRule, Reading]]:
    """Each measure of which an account has used something, of its own limits that count all that it uses."""
    now = micros(max(ledger.looked_at, ledger.now))
    for rule in account.caps[-len(account.terms.limits) :]:
        state = ledger.limits.states.get(rule.name)
        counter = None if state is None else state.counters.get(account.id)
        if state is None or counter is None or rule.match:
            continue
        for place, measure in enumerate(rule.measures):
            if measure != CONCURRENT:
                most = state.most(account.id, place, now)
                used = counter.used_at(rule, place, ledger.limits.began_at(rule), now)
                yield rule, Reading(measure, most, used, 0, 0)


def own_level(ledger: Ledger, account: Account) -> OwnLevel:
    """The level that its limits call for now. Those that refuse, pace or warn say so themselves."""
    worst = OwnLevel(0, None, 0)
    for rule, stands in _own(ledger, account):
        if rule.then == "stop":
            level = ledger.rules.level_of(stands.used, stands.most)
            if level > worst.level:
                worst = OwnLevel(level, rule, stands.measure)
    return worst


def level_now(ledger: Ledger, account: Account) -> int:
    """The level of an account: of one without a carve-out as its windows are now, also before an event says so."""
    return own_level(ledger, account).level if is_by_limits(account) else account.level


def ratio(ledger: Ledger, account: Account) -> float:
    """Used / granted, the largest over the dimensions (`Account.ratio`); without a carve-out, used / max of its
    limits.
    """
    if not is_by_limits(account):
        return account.ratio()
    parts = (
        stands.used / stands.most if stands.most else float(stands.used > 0) for _, stands in _own(ledger, account)
    )
    return max(parts, default=0.0)


def percentage(ledger: Ledger, account: Account) -> float:
    """`ratio`, to 6 places; for replies and display."""
    return round(ratio(ledger, account), 6)


def remaining(ledger: Ledger, account: Account) -> Triple:
    """What an account may still use: its free balance; without a carve-out, in each dimension that is bounded the
    least of what its limits, and those of the accounts above it, have left, and of what is free in who pays.
    """
    if account.dims or account.is_run:
        return account.remaining_all()
    left: list[int | None] = [None, None, None]
    for d, payer in enumerate(account.payers):
        if payer.allocated[d] is not None:
            left[d] = max(0, payer.free[d])
    if account.caps:
        at = max(ledger.looked_at, ledger.now)
        now = micros(at)
        for match in matches_of(ledger, account, at):
            if match.rule.owner is None or match.rule.match or match.rule.then == "warn":
                continue
            for place, d in enumerate(match.rule.measures):
                if d in DIMENSIONS:
                    stands = reading(ledger, match, place, now)
                    room = max(0, stands.most - stands.used - stands.held - stands.committed)
                    found = left[d]
                    left[d] = room if found is None else min(found, room)
    return (left[0], left[1], left[2])
