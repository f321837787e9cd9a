"""Obstacles: all that would refuse the next hold of an agent, the one answer to "may I go on?".

A `Reserve` is refused by the first of them (`refused_to_run`), a reply about an agent names them all. Far from every
limit a few comparisons show that there is none.
"""

from collections.abc import Iterator

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, at_edge
from tallystick.events.decide.auto_accounts import unopened
from tallystick.events.decide.daily_limits import breaker_open
from tallystick.events.decide.fleet_response import pressure
from tallystick.events.decide.last_call import USED, kept_free
from tallystick.events.decide.levels import (
    BLACK,
    THROTTLE,
    Enforced,
    has_nothing,
    paused_product_of,
    stopped_by,
    used_up,
    used_up_above,
    wait_left_ms,
)
from tallystick.events.decide.limit_readings import has_limits, matches_of, matches_today, near
from tallystick.events.decide.limits import LEAST, refusals
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Obstacle, Refusal, shown
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limits import Match
from tallystick.events.state.money import ZERO, limited

_SHOWN = frozenset(Obstacle.__struct_fields__)


def refused_to_run(turn: Turn, account: Account, measure: Enforced, *, last_call: bool = False) -> Refusal | None:
    """Why an agent may not start anything now: stopped before any question of money, then its budget, then slowed.

    A last call passes throttling.
    """
    if measure.action < THROTTLE:
        return None
    found = _refusals_to_run(turn, account, measure)
    return next((refusal for refusal in found if not last_call or refusal.code != "throttled"), None)


def obstacles_of(
    turn: Turn, agent: str, account: Account | None, measure: Enforced, limited: list[Match] | None = None
) -> list[Obstacle]:
    """All that would refuse the next hold of an agent, in the order in which a `Reserve` looks; and an open breaker,
    which refuses new accounts and tasks. ``limited`` are the limits that it would count in, if they are known.
    """
    ledger = turn.ledger
    if account is None:
        if agent in ledger.accounts:
            return []  # of an earlier account, or run
        opening = unopened(turn, agent)
        found = [_obstacle(opening)] if isinstance(opening, Refusal) else []
        reason = ledger.stops.get(agent)
        if reason is not None:
            found.insert(0, Obstacle("agent_stopped", f"{agent} was stopped: {reason}", "stop"))
        return found
    if limited is None and has_limits(ledger, account):
        limited = near(ledger, matches_of(ledger, account, turn.now, account.model))
    limits: list[Obstacle] = []
    if limited:
        limits = [_obstacle(refusal) for refusal in refusals(turn, account, limited, LEAST, named=False)]
    if _is_far(ledger, account, measure):
        return limits
    found = [_obstacle(refusal) for refusal in _refusals_to_run(turn, account, measure)]
    found += [
        _without_room(account, d) for d in DIMENSIONS if _has_no_room(account, d) and not _is_named(ledger, account, d)
    ]
    found += _kept(ledger, account)
    today = matches_today(ledger, account.budget_product)
    found += [_obstacle(refusal) for refusal in refusals(turn, account, today, LEAST, named=False)]
    found += limits
    breaker = breaker_open(ledger)
    if breaker is not None:
        found.append(Obstacle(breaker.code, breaker.detail, "breaker", refuses="new_work"))
    return found


def _is_far(ledger: Ledger, account: Account, measure: Enforced) -> bool:
    """Whether nothing can be in the way. Every report asks this."""
    if measure.action >= THROTTLE or ledger.day.tripped is not None or ledger.rules.last_call is not None:
        return False
    watch, spent, held = ledger.watch, ledger.spent, ledger.held
    if watch is None or spent[0] + held[0] >= watch.full[0] or spent[2] + held[2] >= watch.full[1]:
        return False
    first, second, third = account.payers
    if (
        (first.free_tokens <= 0 and first.allocated[0] is not None)
        or (second.free_ms <= 0 and second.allocated[1] is not None)
        or (third.free_nanos <= 0 and third.allocated[2] is not None)
    ):
        return False
    product = account.budget_product
    rule = ledger.rules.limits.products.get(product) if product is not None else None
    if rule is None or product is None:
        return True
    counter = ledger.day.products[product].counters[product]
    return counter.used[0] + counter.held[0] < rule.maxes[0]


def _obstacle(refusal: Refusal) -> Obstacle:
    numbers = {name: value for name, value in refusal.numbers.items() if name in _SHOWN}
    return Obstacle(refusal.code, refusal.detail, **({"decided_by": "account"} | numbers))


# --- stops, levels and throttles --------------------------------------------------------------------------------------


def _refusals_to_run(turn: Turn, account: Account, measure: Enforced) -> Iterator[Refusal]:
    """In the order in which they are named: an operator's word, then what is used up, then a wait."""
    ledger = turn.ledger
    stopped = stopped_by(ledger, account)
    if stopped is not None:
        decided_by = "stop" if stopped is account else "ancestor_stop"
        who = f"{stopped.id} was stopped: {stopped.stopped}"
        yield Refusal("agent_stopped", who, {"decided_by": decided_by, "retry_after_seconds": None})
    over = ledger.orders_of(account).overdrawn
    if over is not None:
        decided_by = "overdraft" if over is account else "ancestor_stop"
        yield Refusal("agent_stopped", why_overdrawn(over), {"decided_by": decided_by, "retry_after_seconds": None})
    if ledger.is_paused:
        why = ledger.paused or f"paused {ledger.pause_cause}"
        yield Refusal("paused", why, {"decided_by": ledger.paused_by, "retry_after_seconds": None})
    yield from _used_up(ledger, account)
    product = paused_product_of(ledger, account) if ledger.rules.paused_products else None
    if product is not None:
        why = f"{product} is paused by configuration"
        yield Refusal("paused", why, {"decided_by": "product_pause", "retry_after_seconds": None})
    wait_ms = wait_left_ms(turn, account, measure)
    if wait_ms:
        by = measure.slowed_by or measure.decided_by
        detail = f"throttled to {measure.rate} of normal speed by {by}"
        numbers = {"retry_after_seconds": wait_ms / 1000, "decided_by": by}
        yield Refusal("throttled", detail, numbers)


def why_overdrawn(account: Account) -> str:
    """Why an account is stopped for what others cover for it: the dimension in which it is most is named."""
    for d, most in enumerate(account.terms.overdraft_max):
        if most is not None and account.cover[d] > most:
            covered = f"{EDGE_NAMES[d]}: others cover {at_edge(account.cover[d], d)} for it"
            return f"{account.id} was stopped: {covered}, at most {at_edge(most, d)} is allowed"
    return f"{account.id} was stopped: others cover more for it than is allowed"


def _used_up(ledger: Ledger, account: Account) -> Iterator[Refusal]:
    """What stops an agent for lack of budget: its own, that of an account above that pays, or the fleet's."""
    if account.level == BLACK and not account.carves_nothing:
        yield _stop_for_budget(account, "the budget is used up", "level", shown(account.remaining_all()))
    above = used_up_above(ledger, account)
    if above is not None:
        yield _stop_for_budget(account, f"the budget of {above.id}, which pays, is used up", "ancestor_stop")
    if fleet_stops(ledger, account):
        yield _stop_for_budget(account, "the fleet's budget is used up", "fleet_response")
    if account.level != BLACK and has_nothing(account):
        yield _stop_for_budget(account, f"{account.id} was allocated nothing", "zero_budget")


def fleet_stops(ledger: Ledger, account: Account) -> bool:
    """Whether the fleet's budget is used up for this account."""
    return ledger.response == 4 or (ledger.response == 3 and account.priority != "critical")


def _stop_for_budget(account: Account, detail: str, decided_by: str, available: object = None) -> Refusal:
    there = shown(limited(account.allocated, ZERO)) if available is None else available
    numbers = {"available": there, "decided_by": decided_by, "retry_after_seconds": None}
    return Refusal("budget_exhausted", detail, numbers)


# --- room -------------------------------------------------------------------------------------------------------------


def _has_no_room(account: Account, d: int) -> bool:
    payer = account.payers[d]
    return payer.allocated[d] is not None and payer.free[d] <= 0


def _is_named(ledger: Ledger, account: Account, d: int) -> bool:
    """Whether a stop for lack of budget says already why nothing is free in a dimension: one cause, one obstacle."""
    payer = account.payers[d]
    if payer.overdrawn and payer.cover[d]:
        return True
    if payer is ledger.root:
        return fleet_stops(ledger, account) and pressure(ledger)[1] == d
    if payer is not account:
        return payer is used_up_above(ledger, account) and used_up(ledger, payer, d)
    if account.level == BLACK:
        # What it had in other dimensions it gave back when it turned black.
        return used_up(ledger, account, d) or account.given_back[d] > 0
    return has_nothing(account)


def _kept(ledger: Ledger, account: Account) -> Iterator[Obstacle]:
    """All that is free in a dimension is kept for a last call: a hold that names it is refused, however small."""
    for d, units in enumerate(kept_free(ledger, account) if account.level != BLACK else ZERO):
        payer = account.payers[d]
        if not 0 < payer.free[d] <= units:
            continue
        left = f"{at_edge(payer.free[d], d)} is free, and kept for a last call"
        if payer is not account:
            left = f"{left} of {payer.id}, which pays"
        elif account.called == USED:
            left = f"{at_edge(account.free[d], d)} is free and kept for a last call, which was used"
        yield Obstacle("budget_exhausted", f"{EDGE_NAMES[d]}: {left}", "last_call", dimension=EDGE_NAMES[d])


def _without_room(account: Account, d: int) -> Obstacle:
    """Nothing is free in a dimension: a hold that names it is refused, however small."""
    payer = account.payers[d]
    whose = "" if payer is account else f" in {'the pool' if payer.parent is None else payer.id}, which pays"
    return Obstacle(
        "budget_exhausted", f"{EDGE_NAMES[d]}: {at_edge(0, d)} is free{whose}", "room", dimension=EDGE_NAMES[d]
    )
