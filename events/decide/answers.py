"""What is answered, read off the state after all that a command has caused."""

import datetime as dt
from copy import copy

from tallystick.config.amounts import COST, DIMENSIONS, NOTHING, TOKENS, Triple, seconds
from tallystick.events import catalog as e
from tallystick.events.decide.delegated import child_account
from tallystick.events.decide.facts import limit_of
from tallystick.events.decide.levels import (
    DEGRADE,
    MILLISECOND,
    THROTTLE,
    cheaper_model,
    enforced,
    enforced_late,
    under_limits,
    wait_left_ms,
)
from tallystick.events.decide.limit_readings import has_limits, matches_of, near
from tallystick.events.decide.limits import passed
from tallystick.events.decide.obstacles import obstacles_of
from tallystick.events.decide.own_limits import level_now, percentage, remaining
from tallystick.events.decide.subtree import Memory, subtree
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import (
    Allocation,
    BudgetStatus,
    EdgeAmounts,
    Enforcement,
    Held,
    Overrides,
    Subtree,
    Today,
    Totals,
    shown,
)
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limits import Match
from tallystick.events.state.money import Money, limited
from tallystick.events.state.remembered import Closed


def stamp(at: dt.datetime) -> str:
    """A time as every edge shows it: RFC 3339, UTC."""
    return at.isoformat().replace("+00:00", "Z")


def allocation(ledger: Ledger, account: Account) -> Allocation:
    """How an account stands after a grant or a return."""
    return Allocation(
        account.id,
        shown(account.allocated),
        shown(remaining(ledger, account)),
        shown(ledger.pool),
        lease_end(ledger, account),
    )


def lease_end(ledger: Ledger, account: Account) -> str | None:
    """When an account closes if no more messages come; None where it has no lease, where leases are frozen, and
    where only views are asked.
    """
    if not account.terms.lease_ms or ledger.is_paused or account not in ledger.leases:
        return None
    return stamp(ledger.leases.ends_at(account))


def enforcement(
    turn: Turn,
    agent: str,
    account: Account | None,
    ratio: float,
    warnings: list[str] | None,
    closed: Closed | None = None,
    limited: list[Match] | None = None,
) -> Enforcement:
    """The reply that lets an agent go on without another question. ``ratio`` is the account's (see `own_limits`).

    ``closed``: without an account, the released one that the answer is about. ``limited``: the limits that the report
    counts in; None: those that the account's next operation would count in.
    """
    ledger = turn.ledger
    if limited is None and has_limits(ledger, account):
        found = [] if account is None else matches_of(ledger, account, turn.now, account.model)
        limited = near(ledger, found)
    if account is None:
        late = enforced_late(ledger, agent, closed)
        late_ms = under_limits(late, passed(turn, limited)) if limited else 0
        return Enforcement(
            agent,
            0.0,
            e.LEVELS[0],
            e.ACTIONS[late.action],
            float(late.rate),
            seconds(late_ms),
            late.decided_by,
            shown(NOTHING),
            obstacles=obstacles_of(turn, agent, None, late) or None,
        )
    measure = enforced(ledger, account)
    in_the_way = obstacles_of(turn, agent, account, measure, limited) or None
    wait_ms = 0
    said = passed(turn, limited) if limited else None
    if said is not None:
        measure = copy(measure)
        wait_ms = under_limits(measure, said)
    action = measure.action
    slowed = action >= THROTTLE
    return Enforcement(
        agent,
        round(ratio, 6),
        e.LEVELS[level_now(ledger, account)],
        e.ACTIONS[action],
        float(measure.rate) if slowed else 1.0,
        seconds(max(wait_ms, wait_left_ms(turn, account, measure))) if slowed else 0,
        measure.decided_by,
        shown(remaining(ledger, account)),
        cheaper_model(ledger, account.model) if action == DEGRADE else None,
        warnings=warnings,
        obstacles=in_the_way,
    )


def held_reply(hold: Hold, *, to_come: bool = False) -> Held:
    """A hold, and what is left free beside it. ``to_come``: it is not set aside yet, and shown as if it were."""
    account = hold.account
    available: list[int | None] = [None, None, None]
    for d, payer in enumerate(account.payers):
        if hold.amount[d] and payer.allocated[d] is not None:
            available[d] = payer.free[d] - (hold.amount[d] if to_come else 0)
    return held_beside(hold, (available[0], available[1], available[2]), stamp(hold.expires_at))


def held_beside(hold: Hold, available: Triple, expires_at: str) -> Held:
    """A hold beside which so much is free, and when it expires, as edges show that."""
    tokens, time_ms, cost_nanos = hold.amount
    return Held(
        hold.id,
        hold.agent,
        shown((tokens or None, time_ms or None, cost_nanos or None)),
        shown(available),
        expires_at,
    )


def overrides(ledger: Ledger, agent: str) -> Overrides:
    """What applies to an agent after an operator's order, or to an id without an open account."""
    account, closed = ledger.accounts.get(agent), ledger.released.get(agent)
    measure = enforced_late(ledger, agent, closed) if account is None else enforced(ledger, account)
    return Overrides(agent, e.ACTIONS[measure.action], float(measure.rate), measure.decided_by)


def totals(ledger: Ledger) -> Totals:
    """How the fleet stands after an operator's order."""
    return Totals(
        shown(ledger.total),
        shown(ledger.pool),
        shown(ledger.in_reserve),
        shown(ledger.overdraft),
        ledger.is_paused,
    )


def status(turn: Turn, account: Account, memory: Memory | None = None) -> BudgetStatus:
    """The whole of one account. ``consumed`` shows every dimension that was used, limited or not.

    ``memory`` is what the answer has found of subtrees; None where the accounts below are not known.
    """
    ledger = turn.ledger
    measure, under = enforced(ledger, account), None
    if has_limits(ledger, account):
        under = near(ledger, matches_of(ledger, account, turn.now, account.model))
        measure = copy(measure)
        under_limits(measure, passed(turn, under))
    limits = account.allocated
    overrun = [0 if limits[d] is None else max(0, account.consumed(d) - (limits[d] or 0)) for d in DIMENSIONS]
    return BudgetStatus(
        agent=account.id,
        agent_type=account.agent_type,
        product=account.product,
        workflow=account.workflow,
        priority=account.priority,
        parent=None if account.parent is None or account.parent is ledger.root else account.parent.id,
        state="stopped" if account.stopped is not None or account.overdrawn else "open",
        allocated=shown(limits),
        delegated=shown(limited(limits, account.delegated)),
        consumed=shown(used(account)),
        held=shown(limited(limits, account.held)),
        borrowed=shown(limited(limits, account.borrowed)),
        overrun=shown(limited(limits, overrun)),
        remaining=shown(remaining(ledger, account)),
        percentage=percentage(ledger, account),
        status=e.LEVELS[level_now(ledger, account)],
        action=e.ACTIONS[measure.action],
        decided_by=measure.decided_by,
        throttle_rate=float(measure.rate),
        idle_seconds=seconds(max(0, (turn.now - account.activity_at) // MILLISECOND)),
        obstacles=obstacles_of(turn, account.id, account, measure, under),
        covered=shown(limited(limits, account.cover)),
        subtree=None if memory is None else _below(account, memory),
        overdraft_max=shown(account.terms.overdraft_max),
        lease_seconds=seconds(account.terms.lease_ms) if account.terms.lease_ms else None,
        lease_expires_at=None if memory is None else lease_end(ledger, account),
        child=child_account(ledger, account),
    )


def _below(account: Account, memory: Memory) -> Subtree:
    consumed, held = subtree(account, memory)
    return Subtree(_some(account, consumed), _some(account, held))


def _some(account: Account, units: Money) -> EdgeAmounts:
    """Amounts in the dimensions that an account limits, or in which there is something."""
    found = [units[d] if units[d] or account.allocated[d] is not None else None for d in DIMENSIONS]
    return shown((found[0], found[1], found[2]))


def used(account: Account) -> Triple:
    """What an account consumed: every dimension that it limits or has used."""
    shown_in: list[int | None] = [None, None, None]
    for d in DIMENSIONS:
        consumed = account.consumed(d)
        if consumed or account.allocated[d] is not None:
            shown_in[d] = consumed
    return (shown_in[0], shown_in[1], shown_in[2])


def today(ledger: Ledger) -> Today:
    """How the day stands. Limits that there are not are left out."""
    day, used = ledger.day, ledger.used_today
    return Today(
        date=day.date,
        ends_at=stamp(day.ends_at),
        used=shown((used[TOKENS], None, used[COST])),
        held=shown((ledger.held[TOKENS], None, ledger.held[COST])),
        limits=shown((limit_of(ledger, TOKENS), None, limit_of(ledger, COST))),
        breaker=day.tripped,
        silenced=list(day.silenced),
    )
