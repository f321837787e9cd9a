"""Queries: answered from the state, without an event and without a memory of ids."""

import bisect

from tallystick.config.amounts import COST, DIMENSIONS, EDGE_NAMES, NOTHING, TOKENS, Triple, dollars
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import enforcement, status
from tallystick.events.decide.bills import bill_statuses
from tallystick.events.decide.fleet_response import pressure
from tallystick.events.decide.own_limits import ratio
from tallystick.events.decide.refusals import unknown_agent
from tallystick.events.decide.subtree import known_below
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import (
    BudgetStatus,
    DelegationStatus,
    Efficiency,
    Enforcement,
    GlobalStatus,
    Refusal,
    shown,
)
from tallystick.events.state.estimates import is_good
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import limited, minus, money


def get_status(turn: Turn, command: c.GetStatus) -> BudgetStatus | Refusal:
    """One account."""
    ledger = turn.ledger
    account = ledger.accounts.get(command.agent)
    return unknown_agent(ledger, command.agent) if account is None else status(turn, account, known_below(ledger))


def get_global_status(turn: Turn, command: c.GetGlobalStatus) -> GlobalStatus:
    """The fleet, and one page of its open accounts in the order of their ids."""
    ledger = turn.ledger
    first = 0 if command.after is None else bisect.bisect_right(ledger.names, command.after)
    page = ledger.names[first : first + command.limit]
    root = ledger.root
    highest, _ = pressure(ledger)
    memory = known_below(ledger)
    return GlobalStatus(
        total=shown(ledger.total),
        total_allocated=shown(limited(root.allocated, minus(root.delegated, ledger.reserve.granted))),
        total_consumed=shown(ledger.consumed),
        pool_available=shown(ledger.pool),
        reserve=shown(ledger.in_reserve),
        overdraft=shown(ledger.overdraft),
        pressure=round(float(highest), 6),
        response=e.RESPONSES[ledger.response],
        paused=ledger.is_paused,
        agent_count=len(ledger.accounts),
        agent_statuses=[status(turn, ledger.accounts[name], memory) for name in page],
        position=ledger.position,
        given_up=list(ledger.given_up),
        clock_apart_seconds=ledger.clock_apart_ms // 1000,
        delegation=_delegation(ledger),
        bills=bill_statuses(ledger.bills),
    )


def _delegation(ledger: Ledger) -> DelegationStatus | None:
    own = ledger.delegation
    if own is None:
        return None
    granted = own.granted or NOTHING
    back = limited(granted, own.returned)
    return DelegationStatus(own.account, shown(granted), shown(back), own.booked, ledger.stopped_above)


def get_efficiency(turn: Turn, command: c.GetEfficiency) -> Efficiency | Refusal:
    """What an agent made of its budget, also shortly after its release."""
    ledger = turn.ledger
    account, closed = ledger.accounts.get(command.agent), ledger.released.get(command.agent)
    if account is not None:
        allocated: Triple = account.allocated
        consumed = (account.consumed(0), account.consumed(1), account.consumed(2))
    elif closed is not None:
        allocated, consumed = closed.allocated, money(closed.consumed)
    else:
        return unknown_agent(ledger, command.agent)
    utilization = {
        EDGE_NAMES[d]: round(consumed[d] / limit, 6) if limit else None
        for d in DIMENSIONS
        if (limit := allocated[d]) is not None
    }
    done, estimated, good = _tasks_done(ledger, command.agent, consumed[TOKENS])
    if not done:
        return Efficiency(command.agent, None, None, None, None, utilization, None)
    return Efficiency(
        command.agent,
        done,
        round(1_000 * done / consumed[TOKENS], 6) if consumed[TOKENS] else None,
        round(consumed[TOKENS] / done, 1),
        dollars(round(consumed[COST] / done)),
        utilization,
        round(good / estimated, 6) if estimated else None,
    )


def _tasks_done(ledger: Ledger, agent: str, tokens: int) -> tuple[int, int, int]:
    """How many completed tasks an account was, or paid for, how many of them were estimated, and how many well."""
    task = ledger.tasks.get(agent)
    if task is not None and task.state == "completed":
        return (1, 0, 0) if task.estimated is None else (1, 1, int(is_good(task.estimated, tokens)))
    return ledger.done.get(agent, (0, 0, 0))


def check_enforcement(turn: Turn, command: c.CheckEnforcement) -> Enforcement | Refusal:
    """What an agent may do now."""
    ledger = turn.ledger
    account = ledger.accounts.get(command.agent)
    if account is not None:
        answer = enforcement(turn, account.id, account, ratio(ledger, account), None)
        answer.obstacles = answer.obstacles or []
        return answer
    if command.agent in ledger.stops:
        return enforcement(turn, command.agent, None, 0.0, None, ledger.released.get(command.agent))
    return unknown_agent(ledger, command.agent)
