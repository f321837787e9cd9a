"""Allocate: all or nothing, exactly, and only what is there."""

from decimal import Decimal

from tallystick.config.amounts import (
    DIMENSIONS,
    EDGE_NAMES,
    NOTHING,
    Amounts,
    Budget,
    InvalidAmount,
    Triple,
    at_edge,
    split_exactly,
)
from tallystick.config.errors import ConfigError
from tallystick.config.kinds import Priority
from tallystick.config.limits import ACCOUNT_LIMITS_MAX, AccountLimit
from tallystick.config.loader import account_limits
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.amounts import not_empty, span_ms
from tallystick.events.decide.answers import allocation
from tallystick.events.decide.cover import settle_cover
from tallystick.events.decide.daily_limits import no_new_accounts
from tallystick.events.decide.delegated import bind, foreign_child, may_be_opened, misnumbered, only_its_fleet
from tallystick.events.decide.levels import STOP, enforced, relevel, relevel_above, restore_more, stopped_by
from tallystick.events.decide.limit_windows import windows_opened
from tallystick.events.decide.openings import is_stopped, is_taken, nested
from tallystick.events.decide.pool import lacking, open_reserve_for, over_pool_share
from tallystick.events.decide.refusals import unknown_agent
from tallystick.events.decide.spelling import bad_name, first_misspelling, free_labels
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Allocation, Allocations, Refusal, Share, shown
from tallystick.events.state.accounts import Account
from tallystick.events.state.money import ZERO


def allocate_budget(turn: Turn, command: c.AllocateBudget) -> Allocation | Refusal:
    """Open one account.

    Raises:
        InvalidAmount: a malformed or empty budget, or a lease that is not positive.
    """
    ledger = turn.ledger
    limits = _limits(command)
    if isinstance(limits, Refusal):
        return limits
    # A budget of zero is a limit: nothing may be used.
    budget = NOTHING if command.budget is None else not_empty(command.budget, "budget", may_be_zero=True)
    overdraft_max = _overdraft_max(command, budget)
    lease_ms = 0 if command.lease_seconds is None else span_ms(command.lease_seconds, "lease_seconds")
    refusal = bad_name(ledger, command.agent, "agent") or first_misspelling(ledger, _labels(command))
    if refusal is not None:
        return refusal
    parent = ledger.root
    if command.parent is not None:
        named = ledger.accounts.get(command.parent)
        if named is None:
            return Refusal("unknown_parent", f"no account is open for {command.parent}", {"parent": command.parent})
        parent = named
    refusal = only_its_fleet(parent, "it opens accounts of its own, in that fleet") or may_be_opened(parent, command)
    if refusal is None and limits:
        refusal = _too_deep(parent)
    if refusal is not None:
        return refusal
    taken = is_taken(ledger, command.agent) or is_stopped(ledger, command.agent, command.product)
    if taken is not None:
        return taken
    refusal = no_new_accounts(ledger)
    if refusal is not None:
        return refusal
    if parent is not ledger.root and enforced(ledger, parent).action == STOP:
        return Refusal("agent_stopped", f"{parent.id} is stopped: it cannot open sub-agents", {"parent": parent.id})
    refusal = lacking(ledger, parent.payers, budget, command.priority == "critical")
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    open_reserve_for(turn, command.agent, parent.payers, budget)
    account = open_account(
        turn,
        e.BudgetAllocated(
            agent=command.agent,
            amount=Amounts(*budget),
            priority=command.priority,
            parent=command.parent,
            agent_type=command.agent_type,
            product=command.product,
            workflow=command.workflow,
            overdraft_max=overdraft_max,
            lease_ms=lease_ms,
            labels=command.labels or None,
            limits=limits,
            limit_windows=windows_opened(ledger, limits, turn.now),
            delegated=command.delegated,
        ),
    )
    return allocation(ledger, account)


def _limits(command: c.AllocateBudget) -> tuple[AccountLimit, ...] | Refusal:
    """The limits that an account shall have; a refusal where one is malformed, or there is neither one nor a budget."""
    try:
        limits = account_limits(command.limits or ())
    except ConfigError as error:
        return Refusal("invalid_message", str(error))
    if command.budget is None and not limits:
        return Refusal("invalid_message", "AllocateBudget: found neither budget nor limits, allowed is one or both")
    return limits


def _too_deep(parent: Account) -> Refusal | None:
    """Why an account with limits may not be opened below another: too many above it have limits."""
    above = nested(parent)
    if above < ACCOUNT_LIMITS_MAX:
        return None
    text = f"parent: {above} accounts with limits are at or above {parent.id}, allowed are {ACCOUNT_LIMITS_MAX} nested"
    return Refusal("too_deep", text, {"parent": parent.id, "found": above + 1, "allowed": ACCOUNT_LIMITS_MAX})


def _overdraft_max(command: c.AllocateBudget, budget: Triple) -> Amounts | None:
    """What others may cover for the account at most, in dimensions that its budget limits."""
    if command.overdraft_max is None:
        return None
    most = not_empty(command.overdraft_max, "overdraft_max", may_be_zero=True)
    for d, name in enumerate(EDGE_NAMES):
        if most[d] is not None and budget[d] is None:
            raise InvalidAmount(f"overdraft_max.{name}", at_edge(most[d] or 0, d), "a dimension that the budget limits")
    return Amounts(*most)


def _labels(command: c.AllocateBudget) -> list[tuple[str, str | None]]:
    named = [("agent_type", command.agent_type), ("product", command.product), ("workflow", command.workflow)]
    return [*named, *free_labels(command.labels)]


def allocate_equal(turn: Turn, command: c.AllocateEqual) -> Allocations | Refusal:
    """Split equally; the first agents get the units that do not divide."""
    weights: dict[str, Decimal] = {}
    for agent in command.agents:
        if agent in weights:
            return Refusal("invalid_message", f"agents: {agent} is named twice")
        weights[agent] = Decimal(1)
    return _allocate_split(turn, weights, command.total, "agents")


def allocate_proportional(turn: Turn, command: c.AllocateProportional) -> Allocations | Refusal:
    """Split by weights: exact decimals, not negative, not all zero.

    Raises:
        InvalidAmount: a weight that is negative or not finite, or only zeros.
    """
    for agent, weight in command.weights.items():
        if not weight.is_finite() or not 0 <= weight <= _WEIGHT_MAX or _is_long(weight):
            raise InvalidAmount(
                f"weights.{agent}",
                weight,
                f"an exact decimal from 0 to {_WEIGHT_MAX}, of at most 18 digits, none finer than 1E-18",
            )
    if command.weights and not any(command.weights.values()):
        raise InvalidAmount("weights", "only zeros", "at least one weight above zero")
    return _allocate_split(turn, command.weights, command.total, "weights")


_WEIGHT_DIGITS = 18
_WEIGHT_MAX = 10**_WEIGHT_DIGITS - 1


def _is_long(weight: Decimal) -> bool:
    """Whether a weight is so large, small or fine that splitting by it would take long."""
    return len(weight.as_tuple().digits) > _WEIGHT_DIGITS or abs(weight.adjusted()) > _WEIGHT_DIGITS


def allocate_by_priority(turn: Turn, command: c.AllocateByPriority) -> Allocations | Refusal:
    """Split by the configured weight of each agent's priority."""
    by_priority = turn.ledger.rules.weights
    weights = {agent: by_priority[priority] for agent, priority in command.agents.items()}
    if weights and not any(weights.values()):
        raise InvalidAmount("agents", "only priorities of weight zero", "at least one weight above zero")
    return _allocate_split(turn, weights, command.total, "agents", command.agents)


def _allocate_split(
    turn: Turn,
    weights: dict[str, Decimal],
    total: Budget,
    field: str,
    priorities: dict[str, Priority] | None = None,
) -> Allocations | Refusal:
    """All agents or none, to the last unit."""
    ledger = turn.ledger
    budget = not_empty(total, "total")
    if not weights:
        return Refusal("invalid_message", f"{field}: found none, allowed are one or more agents")
    if len(weights) > c.MESSAGES_MAX:
        return Refusal("invalid_message", f"{field}: found {len(weights)}, allowed are up to {c.MESSAGES_MAX} agents")
    for agent in weights:
        refusal = bad_name(ledger, agent, field)
        if refusal is not None:
            return refusal
    for agent in weights:
        taken = is_taken(ledger, agent) or is_stopped(ledger, agent)
        if taken is not None:
            return taken
    critical = priorities is not None and all(priority == "critical" for priority in priorities.values())
    refusal = no_new_accounts(ledger) or lacking(ledger, ledger.root.payers, budget, critical)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    shares = list(weights.values())
    parts = [None if budget[d] is None else split_exactly(budget[d] or 0, shares) for d in DIMENSIONS]
    answer = []
    for i, agent in enumerate(weights):
        amount = Amounts(*(None if part is None else part[i] for part in parts))
        open_reserve_for(turn, agent, ledger.root.payers, amount.triple)
        priority: Priority = "normal" if priorities is None else priorities[agent]
        account = open_account(turn, e.BudgetAllocated(agent=agent, amount=amount, priority=priority))
        answer.append(Share(account.id, shown(account.allocated)))
    return Allocations(answer, shown(ledger.pool))


def allocate_from_pool(turn: Turn, command: c.AllocateFromPool) -> Allocation | Refusal:
    """What an agent needs on demand: opens an allocation, or adds to the one there is.

    Raises:
        InvalidAmount: a malformed or empty request, or a dimension that the allocation does not limit.
    """
    ledger = turn.ledger
    wanted = not_empty(command.request, "request")
    account = ledger.accounts.get(command.agent)
    if account is not None:
        return draw(turn, account, wanted, "request", borrowed=False)
    refusal = bad_name(ledger, command.agent, "agent") or is_taken(ledger, command.agent)
    refusal = refusal or is_stopped(ledger, command.agent)
    if refusal is None:
        refusal = no_new_accounts(ledger) or over_pool_share(ledger, ZERO, wanted)
    if refusal is not None:
        return refusal
    refusal = lacking(ledger, ledger.root.payers, wanted, critical=False)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    account = open_account(turn, e.BudgetAllocated(agent=command.agent, amount=Amounts(*wanted), on_demand=True))
    return allocation(ledger, account)


def borrow_from_pool(turn: Turn, command: c.BorrowFromPool) -> Allocation | Refusal:
    """Add to an open allocation, remembered as borrowed.

    Raises:
        InvalidAmount: a malformed or empty amount, or a dimension that the allocation does not limit.
    """
    wanted, child = not_empty(command.amount, "amount"), command.child
    account = turn.ledger.accounts.get(command.agent)
    if account is None:
        return unknown_agent(turn.ledger, command.agent)
    if child is None:
        return draw(turn, account, wanted, "amount", borrowed=True)
    refusal = misnumbered(child, of_range=False) or foreign_child(turn.ledger, account.id, child)
    if refusal is not None:
        return refusal
    if child.number <= turn.ledger.delegated[account.id].number:
        return allocation(turn.ledger, account)
    return draw(turn, account, wanted, "amount", borrowed=True, child=child)


def draw(
    turn: Turn, account: Account, wanted: Triple, field: str, *, borrowed: bool, child: c.FromChild | None = None
) -> Allocation | Refusal:
    """Grant an open account more from its parent; new budget first repays its cover, and may end black.

    ``child``: the fleet that draws it, of a delegated account.
    """
    ledger = turn.ledger
    only_limited(account, wanted, field)
    stopped = stopped_by(ledger, account)
    if stopped is not None:
        return Refusal("agent_stopped", f"{stopped.id} was stopped: {stopped.stopped}", {"agent": account.id})
    refusal = over_pool_share(ledger, account.drawn, wanted)
    if refusal is not None:
        return refusal
    assert account.parent is not None
    sources = account.parent.payers
    refusal = lacking(ledger, sources, wanted, account.priority == "critical")
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    number = 0
    if child is not None:
        number = child.number
        bind(turn, account.id, child)
    open_reserve_for(turn, account.id, sources, wanted)
    turn.record(e.BudgetDrawn(agent=account.id, amount=Amounts(*wanted), borrowed=borrowed, number=number))
    settle_cover(turn, account)
    relevel(turn, account)
    restore_more(turn, account)
    relevel_above(turn, account)
    return allocation(ledger, account)


def only_limited(account: Account, amount: Triple, field: str) -> None:
    """A draw or return names only dimensions that the allocation limits."""
    for d in DIMENSIONS:
        if amount[d] is not None and account.allocated[d] is None:
            limits = [name for i, name in enumerate(EDGE_NAMES) if account.allocated[i] is not None]
            raise InvalidAmount(f"{field}.{EDGE_NAMES[d]}", amount[d], f"what the allocation limits: {limits}")


def open_account(turn: Turn, event: e.BudgetAllocated) -> Account:
    """Open an account that can be paid for."""
    turn.record(event)
    account = turn.ledger.accounts[event.agent]
    relevel_above(turn, account)
    return account
