"""How the budgets of accounts change: opened, granted more, covered by others, closed.

The steps that take `Balances` are shared with the account read model; those that take a `Ledger` are the core's alone.
"""

import bisect
from functools import lru_cache

from tallystick.config.amounts import DIMENSIONS, NOTHING, Triple
from tallystick.events import catalog as e
from tallystick.events.evolve.transfers import delegate, fill_reserve, grant, pay_cover
from tallystick.events.state.accounts import Account, Balances
from tallystick.events.state.agent_leases import hear
from tallystick.events.state.estimates import is_good
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO, less, limited_dimensions, minus, money, only, plus
from tallystick.events.state.remembered import Closed
from tallystick.events.state.terms import Terms, shared


@lru_cache(maxsize=4_096)
def _shared(amount: Triple) -> Triple:
    """The same amount, as one object: many accounts are opened with equal ones."""
    return amount


def open_account(balances: Balances, event: e.BudgetAllocated) -> None:
    """An account opens with what it is granted from its sources."""
    parent = balances.root if event.parent is None else balances.accounts[event.parent]
    account = balances.accounts[event.agent] = Account.open(
        event.agent,
        parent,
        _shared(event.amount.triple),
        event.at,
        event.priority,
        event.agent_type,
        event.product,
        event.workflow,
        event.position,
        _terms(event),
    )
    if event.for_task:
        account.run = account.id
    for d in DIMENSIONS:
        if account.allocated[d] is not None:
            delegate(account.source(d), d, account.granted[d])
    if event.on_demand:
        account.drawn = account.granted
    if not event.for_task:
        hear(parent, event.at)


def _terms(event: e.BudgetAllocated) -> Terms:
    overdraft_max = NOTHING if event.overdraft_max is None else event.overdraft_max.triple
    return shared(Terms(overdraft_max, event.lease_ms, event.labels, event.limits, event.auto, event.delegated))


def list_account(ledger: Ledger, event: e.BudgetAllocated) -> None:
    """An account that has opened is found by its name and below its parent."""
    account = ledger.accounts[event.agent]
    account.pool_notice = ledger.pool_exhausted_at
    # In an older log, a stop ended with its account.
    ledger.stops.pop(account.id, None)
    bisect.insort(ledger.names, account.id)
    ledger.released.pop(account.id, None)
    ledger.orders.forget(account.id)
    if account.terms.lease_ms:
        ledger.leases.list_account(account)
    ledger.count_account(account, 1)
    parent = account.parent
    assert parent is not None
    if parent is not ledger.root:
        if parent.children is None:
            parent.children = {}
        parent.children[account.id] = account


def unlist_account(ledger: Ledger, event: e.BudgetReleased) -> None:
    """An account that is about to close is found no more, but remembered for late reports."""
    account = ledger.accounts[event.agent]
    parent = account.parent
    assert parent is not None
    del ledger.names[bisect.bisect_left(ledger.names, account.id)]
    if parent.children is not None:
        parent.children.pop(account.id, None)
        if not parent.children:
            parent.children = None
    if account.terms.lease_ms:
        ledger.leases.unlist_account(account)
    ledger.count_account(account, -1)
    ledger.done.pop(account.id, None)
    ledger.orders.forget(account.id)
    position = event.position
    ledger.lives[account.life] = ledger.released[account.id] = Closed(
        account.id,
        parent.id,
        account.priority,
        event.allocated.triple,
        event.consumed.triple,
        position,
        account.budget_product,
        account.life,
        parent.life,
        account.agent_type,
        account.budget_workflow if ledger.limits.states else account.workflow,
        account.all_labels,
        account.terms.auto,
    )
    ledger.released_order.append((position, account.life))
    if account.stopped is not None:
        ledger.stops[account.id] = account.stopped


def close_account(balances: Balances, event: e.BudgetReleased) -> None:
    """An account closes: what it used stays with its sources, what it did not use goes back to them."""
    account = balances.accounts.pop(event.agent)
    for d in DIMENSIONS:
        if account.allocated[d] is not None:
            source = account.source(d)
            delegate(source, d, -account.granted[d])
            consumed = account.consumed(d)
            source.free = minus(source.free, only(d, consumed))
            source.closed = plus(source.closed, only(d, consumed))
    # It names itself there, and would stay in memory until it is looked for.
    account.leased = None
    parent = account.parent
    if parent is None or parent is balances.root:
        return
    if event.id:
        # A message asked for it, and not the end of a lease.
        hear(parent, event.at)
    for d in DIMENSIONS:
        if parent.allocated[d] is None:
            # An account above has paid; it is shown as the parent's use all the same.
            parent.closed = plus(parent.closed, only(d, account.consumed(d)))


def _topped_up(account: Account) -> None:
    account.warned = False
    account.warning = None
    account.called = 0


def draw(balances: Balances, event: e.BudgetDrawn) -> None:
    """An account is granted more; a warning that its budget runs out is void."""
    account = balances.accounts[event.agent]
    grant(account, event.amount.triple, 1)
    units = money(event.amount.triple)
    account.drawn = plus(account.drawn, units)
    if event.borrowed:
        account.borrowed = plus(account.borrowed, units)
    _topped_up(account)
    hear(account, event.at)


def give_back(balances: Balances, event: e.BudgetReturned) -> None:
    """An account gives budget back, what it borrowed first."""
    account = balances.accounts[event.agent]
    units = money(event.amount.triple)
    grant(account, event.amount.triple, -1)
    account.borrowed = less(account.borrowed, units)
    account.drawn = less(account.drawn, units)
    hear(account, event.at)


def move(balances: Balances, event: e.BudgetMoved) -> None:
    """One step of a rebalancing: an idle account gives budget up, or another account gets some."""
    if event.strategy == "idle":
        account, units = balances.accounts[event.source], money(event.amount.triple)
        grant(account, event.amount.triple, -1)
        account.borrowed, account.drawn = less(account.borrowed, units), less(account.drawn, units)
        account.reclaimed = True
    else:
        account = balances.accounts[event.target]
        grant(account, event.amount.triple, 1)
        account.drawn = plus(account.drawn, money(event.amount.triple))
        _topped_up(account)


def give_unused_back(balances: Balances, event: e.UnusedReturned) -> None:
    """An account that turned black gives back what it has free; its level is measured as if it had not."""
    account = balances.accounts[event.agent]
    grant(account, event.amount.triple, -1)
    account.given_back = plus(account.given_back, money(event.amount.triple))


def restore_unused(balances: Balances, event: e.UnusedRestored) -> None:
    """An account that is no longer black gets back what it gave."""
    account = balances.accounts[event.agent]
    grant(account, event.amount.triple, 1)
    account.owed = less(plus(account.owed, account.given_back), money(event.amount.triple))
    account.given_back = ZERO


def cover(balances: Balances, event: e.Covered) -> None:
    """The source pays what an account lacks; reserve and overdraft pay what the pool lacks."""
    pay_cover(balances, event.source, event.target, event.amount, 1)


def repay_cover(balances: Balances, event: e.CoverRepaid) -> None:
    """What an account no longer needs of its cover goes back to its source."""
    pay_cover(balances, event.target, event.source, event.amount, -1)


def draw_reserve(balances: Balances, event: e.ReserveDrawn) -> None:
    """The reserve puts an amount into the pool."""
    fill_reserve(balances, minus(ZERO, money(event.amount.triple)))


def set_total(balances: Balances, event: "e.TotalBudgetSet | e.PeriodRenewed") -> None:
    """Put the root's total, reserve and overdraft where the event says; the pool is the rest."""
    root = balances.root
    root.allocated, root.dims = event.total.triple, limited_dimensions(event.total.triple)
    root.cover = money(event.overdraft.triple)
    fill_reserve(balances, minus(money(event.reserve.triple), balances.reserve.granted))
    root.free = minus(root.granted, plus(plus(root.held, root.spent), plus(root.delegated, root.closed)))


def renew_period(balances: Balances, event: e.PeriodRenewed) -> None:
    """A period begins: what was spent so far is its opening."""
    balances.opening = (balances.spent[0], balances.spent[1], balances.spent[2])
    set_total(balances, event)


def count_done_task(ledger: Ledger, event: e.TaskCompleted) -> None:
    """The open account that pays for a task counts it as done, whether it was estimated, and whether that was good."""
    parent = ledger.tasks.known[event.task].parent
    if event.outcome == "completed" and parent is not None:
        done, estimated, good = ledger.done.get(parent, (0, 0, 0))
        was_good = not event.assumed and is_good(event.estimated_tokens, event.consumed.tokens or 0)
        ledger.done[parent] = done + 1, estimated + (not event.assumed), good + was_good
