"""Levels of accounts, and the action that applies to an agent: decided in the transaction that causes them.

An agent's action is derived when it asks, never written to every account: a fleet of any size is stopped by one event.
"""

import datetime as dt
from collections.abc import Iterable
from copy import copy
from decimal import Decimal
from functools import cache

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts
from tallystick.config.limits import MEASURES
from tallystick.events import catalog as e
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.cover import settle_cover
from tallystick.events.decide.limits import Passed
from tallystick.events.decide.own_limits import is_by_limits, own_level, percentage
from tallystick.events.decide.turn import Turn
from tallystick.events.state.accounts import Account
from tallystick.events.state.calendar import later
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.remembered import Closed

CONTINUE, WARN, THROTTLE, DEGRADE, STOP = range(5)
BLACK = 4
NORMAL_SPEED = Decimal(1)
NO_SPEED = Decimal(0)
WAIT_MAX_MS = 60_000
MILLISECOND = dt.timedelta(milliseconds=1)
_OWN = {"tokens": "tokens", "time_seconds": "time", "cost_usd": "dollars"}

# --- an account's own level ------------------------------------------------------------------------------------------


def level_of(ledger: Ledger, account: Account) -> tuple[int, str, str | None]:
    """The level that the exact ratios call for, the dimension that does, and of an account without a carve-out the
    limit of which that is a measure.
    """
    if is_by_limits(account):
        called_for = own_level(ledger, account)
        rule = called_for.rule
        return called_for.level, MEASURES[called_for.measure], None if rule is None else rule.name
    level, dimension = 0, 0
    for d in DIMENSIONS:
        if account.allocated[d] is not None:
            own = ledger.rules.level_of(account.consumed(d), account.base(d))
            if own > level:
                level, dimension = own, d
    return level, EDGE_NAMES[dimension], None


def relevel(turn: Turn, account: Account, own_usage: bool = False) -> None:
    """Record the level that an account has come to, and what follows from black, entered or left."""
    _relevel_one(turn, account, own_usage)
    _relevel_moved(turn)


def relevel_owners(turn: Turn, owners: Iterable[Account]) -> None:
    """Limits of accounts count otherwise than before: of accounts without a carve-out, the levels may follow."""
    for owner in owners:
        if owner.carves_nothing:
            _relevel_one(turn, owner)


def relevel_under(turn: Turn, account: Account) -> None:
    """An account has used something, or has taken it back: `relevel_owners` of the limits that it is under."""
    if account.caps:
        owners = dict.fromkeys(rule.owner or "" for rule in account.caps)
        relevel_owners(turn, (turn.ledger.accounts[owner] for owner in owners))


def relevel_above(turn: Turn, account: Account) -> None:
    """What an account was granted or has used is no longer free above it: the levels of those that pay may follow.

    Who does not pay does not change, so the cost grows with the covers of this turn and not with the depth.
    """
    relevel_above_all(turn, (account,))


def relevel_above_all(turn: Turn, accounts: Iterable[Account]) -> None:
    """`relevel_above` for many accounts at once."""
    payers: dict[Account, None] = {}
    for account in accounts:
        assert account.parent is not None
        payers.update(dict.fromkeys(account.parent.payers))
    for payer in payers:
        _relevel_one(turn, payer)
    _relevel_moved(turn)


def _relevel_moved(turn: Turn) -> None:
    """The levels of all accounts between which this turn has moved money since the last look, nearest first."""
    accounts = turn.ledger.accounts
    while turn.leveled < len(turn.events):
        fresh = turn.events[turn.leveled :]
        turn.leveled = len(turn.events)
        touched: dict[Account, None] = {}
        # Covers are recorded from the top down.
        for event in reversed(fresh):
            if isinstance(event, e.Covered | e.CoverRepaid):
                names = (event.target, event.source)
                touched.update(dict.fromkeys(accounts[name] for name in names if name in accounts))
            elif isinstance(event, e.UnusedReturned | e.UnusedRestored):
                account = accounts[event.agent]
                assert account.parent is not None
                touched.update(dict.fromkeys((account, *account.parent.payers)))
        for account in touched:
            _relevel_one(turn, account)


def _relevel_one(turn: Turn, account: Account, own_usage: bool = False) -> None:
    ledger = turn.ledger
    if account is ledger.root:
        return
    level, dimension, limit = level_of(ledger, account)
    before = account.level
    if level == before:
        return
    turn.record(
        e.LevelChanged(
            agent=account.id,
            before=e.LEVELS[before],
            level=e.LEVELS[level],
            percentage=percentage(ledger, account),
            dimension=dimension,
            limit_name=limit,
        )
    )
    if account.carves_nothing:
        # Its limits alert operators, and it has nothing to give back.
        return
    if level == BLACK:
        alert(turn, "budget_exhausted", f"{account.id} has used up its {_OWN[dimension]}", account.id)
        if own_usage and not account.terms.handed_over:
            _give_back_unused(turn, account)
    elif before == BLACK and any(account.given_back):
        _restore_unused(turn, account)


def _give_back_unused(turn: Turn, account: Account) -> None:
    """A stopped agent's free balance in its other dimensions goes back to its parent."""
    unused = [
        account.free[d] if account.allocated[d] is not None and not used_up(turn.ledger, account, d) else 0
        for d in DIMENSIONS
    ]
    if any(unused):
        turn.record(e.UnusedReturned(agent=account.id, amount=Amounts(*(units or None for units in unused))))
        assert account.parent is not None
        settle_cover(turn, account.parent)


def _restore_unused(turn: Turn, account: Account) -> None:
    """What black gave back, as far as the parent has it free; the rest with later top-ups."""
    restored = [0, 0, 0]
    for d in DIMENSIONS:
        source, given = account.source(d), account.given_back[d] + account.owed[d]
        # Nothing limits the root in a dimension that the fleet's total does not name.
        restored[d] = given if source.allocated[d] is None else min(given, source.free[d])
    if not any(restored) and not any(account.given_back):
        return
    turn.record(e.UnusedRestored(agent=account.id, amount=Amounts(*(units or None for units in restored))))
    # What was used since then in a dimension that had been given back was covered by others.
    settle_cover(turn, account)


def restore_more(turn: Turn, account: Account) -> None:
    """An account that is not black was topped up: what it gave back when it was black may be there again."""
    if account.level != BLACK and any(account.owed):
        _restore_unused(turn, account)


def used_up(ledger: Ledger, account: Account, dimension: int) -> bool:
    """Whether an account is black in a dimension that it limits."""
    return ledger.rules.level_of(account.consumed(dimension), account.base(dimension)) == BLACK


# --- the action that applies
# -------------------------------------------------------------------------------------------


class Enforced:
    """The most severe of all that speaks to an agent, and which of them it was."""

    __slots__ = ("action", "decided_by", "rate", "slowed_by")

    def __init__(self, action: int, rate: Decimal, decided_by: str) -> None:
        self.action = action
        self.rate = rate
        self.decided_by = decided_by
        self.slowed_by: str | None = None
        """Who set the rate, where ``decided_by`` is a last call, which slows nothing."""


def enforced(ledger: Ledger, account: Account | None) -> Enforced:
    """The effective action for an account, or for an id without one (which the fleet's own measures reach)."""
    slow = ledger.rules.throttle_rate
    by_level = _by_account(ledger, account, slow)
    if not (ledger.response or ledger.paused or ledger.rules.pauses or ledger.stopped_above) and _is_plain(
        ledger, account
    ):
        return by_level
    best = copy(by_level)
    if account is not None:
        if account.overdrawn:
            best.action, best.rate, best.decided_by = STOP, NO_SPEED, "overdraft"
        if has_nothing(account):
            _worse(best, STOP, NO_SPEED, "zero_budget")
        _worse_by_ancestors(best, ledger, account)
    if ledger.response:
        _worse_by_fleet(best, ledger.response, account is not None and account.priority == "critical", slow)
    if account is not None and account.product in ledger.rules.paused_products:
        _worse(best, STOP, NO_SPEED, "product_pause")
    if ledger.is_paused:
        best.action, best.rate, best.decided_by = STOP, NO_SPEED, ledger.paused_by
    if account is not None:
        if account.throttle is not None:
            _worse(best, THROTTLE, account.throttle, "throttle")
        if account.called and ledger.rules.last_call is not None:
            best.slowed_by = best.decided_by
            _worse(best, DEGRADE, NORMAL_SPEED, "last_call")
        if account.stopped is not None:
            # Nothing is more severe, and what an operator ordered is named before what the budget says.
            best.action, best.rate, best.decided_by = STOP, NO_SPEED, "stop"
    return best


def _is_plain(ledger: Ledger, account: Account | None) -> bool:
    """Whether only its level speaks to an account: no order, no account above, and it has a budget."""
    return account is None or (
        account.parent is ledger.root
        and account.throttle is None
        and account.stopped is None
        and not account.overdrawn
        and not account.called
        and not has_nothing(account)
    )


def _worse_by_ancestors(best: Enforced, ledger: Ledger, account: Account) -> None:
    """An order, a pause of its product and a budget that is used up reach all that is below an account."""
    above = ledger.orders_of(account.parent)
    if above.stopped is not None or above.overdrawn is not None or used_up_above(ledger, account) is not None:
        _worse(best, STOP, NO_SPEED, "ancestor_stop")
    if above.rate is not None:
        _worse(best, THROTTLE, above.rate, "ancestor_throttle")
    if above.paused:
        _worse(best, STOP, NO_SPEED, "product_pause")


def enforced_late(ledger: Ledger, agent: str, closed: Closed | None) -> Enforced:
    """The effective action for usage that no open account of its own is charged with.

    The fleet's measures reach it, and what holds for its id, its product and all that it was below, until it is
    resumed. ``closed`` is the released account that it belongs to, if one is known.
    """
    best = copy(enforced(ledger, None))
    at = closed
    while at is not None:
        if at.budget_product in ledger.rules.paused_products:
            _worse(best, STOP, NO_SPEED, "product_pause")
        if at.id != agent and at.id in ledger.stops:
            _worse(best, STOP, NO_SPEED, "ancestor_stop")
        parent = ledger.same_account(at.parent, at.parent_life)
        if parent is not None:
            above = enforced(ledger, parent)
            if above.decided_by == "product_pause":
                _worse(best, STOP, NO_SPEED, "product_pause")
            elif stopped_by(ledger, parent) is not None:
                _worse(best, STOP, NO_SPEED, "ancestor_stop")
        at = ledger.lives.get(at.parent_life)
    if stop_of(ledger, agent) is not None:
        best.action, best.rate, best.decided_by = STOP, NO_SPEED, "stop"
    return best


def paused_product_of(ledger: Ledger, account: Account) -> str | None:
    """The product that is paused, of those that an account and all above it work for; None for none."""
    at: Account | None = account
    while at is not None and at is not ledger.root:
        if at.product in ledger.rules.paused_products:
            return at.product
        at = at.parent
    return None


def stop_of(ledger: Ledger, agent: str) -> str | None:
    """Why an operator has stopped an id, whether it has an open account or not; None where it is not stopped."""
    account = ledger.accounts.get(agent)
    return ledger.stops.get(agent) if account is None else account.stopped


@cache
def _by_level(level: int, slow: Decimal) -> Enforced:
    """What an account's own level alone calls for."""
    rate = slow if level in (THROTTLE, DEGRADE) else (NO_SPEED if level == BLACK else NORMAL_SPEED)
    return Enforced(level, rate, "level")


def _by_account(ledger: Ledger, account: Account | None, slow: Decimal) -> Enforced:
    """What the level of an account calls for. Without a carve-out it is that of its limits now, and at black the one
    that is reached says so.
    """
    if account is None or not is_by_limits(account):
        return _by_level(0 if account is None else account.level, slow)
    own = own_level(ledger, account)
    if own.level == BLACK and own.rule is not None:
        return Enforced(STOP, NO_SPEED, f"limit:{own.rule.name}")
    return _by_level(own.level, slow)


def has_nothing(account: Account) -> bool:
    """Whether an account was allocated zero in all that it limits: it may use nothing, also before its first use."""
    return not any(account.allocated) and bool(account.dims)


def used_up_above(ledger: Ledger, account: Account) -> Account | None:
    """The nearest account above that is charged in a dimension that it has used up.

    What the account was granted itself stays good (spec 1): a parent that has handed on all it had is black, and its
    children have only begun.
    """
    for d, payer in enumerate(account.payers):
        if payer is not account and payer is not ledger.root and payer.level == BLACK and used_up(ledger, payer, d):
            return payer
    return None


def stopped_by(ledger: Ledger, account: Account) -> Account | None:
    """The account, or the nearest ancestor, that an operator has stopped."""
    return ledger.orders_of(account).stopped


def _worse_by_fleet(best: Enforced, response: int, critical: bool, slow: Decimal) -> None:
    if response == 4 or (response == 3 and not critical):
        _worse(best, STOP, NO_SPEED, "fleet_response")
    elif response >= 2 and not critical:
        _worse(best, DEGRADE, slow, "fleet_response")
    else:
        _worse(best, THROTTLE, slow, "fleet_response")


def _worse(best: Enforced, action: int, rate: Decimal, decided_by: str) -> None:
    """Take a measure over where it is more severe, or slower by as severe a measure."""
    if action > best.action or (action == best.action and rate < best.rate):
        best.action, best.decided_by = action, decided_by
    best.rate = min(best.rate, rate)


_BY_LIMIT = {"stop": (STOP, NO_SPEED), "wait": (THROTTLE, NORMAL_SPEED), "warn": (WARN, NORMAL_SPEED)}


def under_limits(best: Enforced, passed: Passed | None) -> int:
    """What limits that are passed add to what speaks to an agent; the wait that they ask for, in milliseconds."""
    if passed is None:
        return 0
    action, rate = _BY_LIMIT[passed.then]
    _worse(best, action, rate, passed.decided_by)
    return 0 if best.action == STOP else passed.wait_ms


def wait_left_ms(turn: Turn, account: Account, measure: Enforced) -> int:
    """What is left of a throttled agent's wait since its last report.

    The wait is the last operation's time x (1/rate - 1), or else the time between the last two reports x the same,
    at most 60 s; it is derived when it is asked for, so that a top-up ends it and a new throttle reaches it.
    """
    until = throttled_until(account, measure)
    return 0 if until is None or until <= turn.now else -((turn.now - until) // MILLISECOND)


def throttled_until(account: Account, measure: Enforced) -> dt.datetime | None:
    """When a throttled agent's wait ends, or ended; None where it has none (see `wait_left_ms`)."""
    if measure.action == STOP or measure.rate >= NORMAL_SPEED or account.last_report_at is None:
        return None
    wait_ms = min(WAIT_MAX_MS, int(account.pace_ms * (1 / measure.rate - 1)))
    return later(account.last_report_at, wait_ms * MILLISECOND)


def cheaper_model(ledger: Ledger, model: str | None) -> str | None:
    """The next cheaper model of the catalogue, named as ``model`` was (alias or model id); None where there is none."""
    if model is None:
        return None
    catalogue = ledger.rules.config.models
    for alias, entry in catalogue.items():
        if model in (alias, entry.id):
            if entry.degrades_to is None:
                return None
            return entry.degrades_to if model == alias else catalogue[entry.degrades_to].id
    return None
