"""How the budgets of accounts change: opened, granted more, covered by others, closed."""

import bisect

from tallystick.config.amounts import DIMENSIONS
from tallystick.events import catalog as e
from tallystick.events.evolve.transfers import delegate, fill_reserve, grant, pay_cover
from tallystick.events.state.accounts import ZERO, Account, Closed, less, minus, money, only, plus
from tallystick.events.state.estimates import is_good
from tallystick.events.state.ledger import Ledger


def open_account(ledger: Ledger, event: e.BudgetAllocated) -> None:
    """An account opens with what it is granted from its sources."""
    parent = ledger.root if event.parent is None else ledger.accounts[event.parent]
    account = Account.open(
        event.agent,
        parent,
        event.amount.triple,
        event.at,
        event.priority,
        event.agent_type,
        event.product,
        event.workflow,
    )
    account.pool_notice = ledger.pool_exhausted_at
    ledger.accounts[account.id] = account
    bisect.insort(ledger.names, account.id)
    ledger.released.pop(account.id, None)
    if parent is not ledger.root:
        if parent.children is None:
            parent.children = {}
        parent.children[account.id] = account
    for d in DIMENSIONS:
        if account.allocated[d] is not None:
            delegate(account.source(d), d, account.granted[d])
    if event.on_demand:
        account.drawn = account.granted


def close_account(ledger: Ledger, event: e.BudgetReleased) -> None:
    """An account closes: what it used stays with its sources, what it did not use goes back to them."""
    account = ledger.accounts.pop(event.agent)
    parent = account.parent
    assert parent is not None
    del ledger.names[bisect.bisect_left(ledger.names, account.id)]
    if parent.children is not None:
        parent.children.pop(account.id, None)
        if not parent.children:
            parent.children = None
    for d in DIMENSIONS:
        if account.allocated[d] is not None:
            source = account.source(d)
            delegate(source, d, -account.granted[d])
            consumed = account.consumed(d)
            source.free[d] -= consumed
            source.closed = plus(source.closed, only(d, consumed))
    ledger.done.pop(account.id, None)
    position = event.position
    ledger.released[account.id] = Closed(
        account.id,
        parent.id,
        account.priority,
        event.allocated.triple,
        event.consumed.triple,
        position,
        account.budget_product,
    )
    ledger.released_order.append((position, account.id))


def _topped_up(account: Account) -> None:
    account.warned = False
    account.warning = None


def draw(ledger: Ledger, event: e.BudgetDrawn) -> None:
    """An account is granted more; a warning that its budget runs out is void."""
    account = ledger.accounts[event.agent]
    grant(account, event.amount.triple, 1)
    units = money(event.amount.triple)
    account.drawn = plus(account.drawn, units)
    if event.borrowed:
        account.borrowed = plus(account.borrowed, units)
    _topped_up(account)


def give_back(ledger: Ledger, event: e.BudgetReturned) -> None:
    """An account gives budget back, what it borrowed first."""
    account = ledger.accounts[event.agent]
    units = money(event.amount.triple)
    grant(account, event.amount.triple, -1)
    account.borrowed = less(account.borrowed, units)
    account.drawn = less(account.drawn, units)


def move(ledger: Ledger, event: e.BudgetMoved) -> None:
    """One step of a rebalancing: an idle account gives budget up, or another account gets some."""
    if event.strategy == "idle":
        account = ledger.accounts[event.source]
        grant(account, event.amount.triple, -1)
        account.reclaimed = True
    else:
        account = ledger.accounts[event.target]
        grant(account, event.amount.triple, 1)
        account.drawn = plus(account.drawn, money(event.amount.triple))
        _topped_up(account)


def give_unused_back(ledger: Ledger, event: e.UnusedReturned) -> None:
    """An account that turned black gives back what it has free; its level is measured as if it had not."""
    account = ledger.accounts[event.agent]
    grant(account, event.amount.triple, -1)
    account.given_back = plus(account.given_back, money(event.amount.triple))


def restore_unused(ledger: Ledger, event: e.UnusedRestored) -> None:
    """An account that is no longer black gets back what it gave."""
    account = ledger.accounts[event.agent]
    grant(account, event.amount.triple, 1)
    account.given_back = ZERO


def cover(ledger: Ledger, event: e.Covered) -> None:
    """The source pays what an account lacks; reserve and overdraft pay what the pool lacks."""
    pay_cover(ledger, event.source, event.target, event.amount, 1)


def repay_cover(ledger: Ledger, event: e.CoverRepaid) -> None:
    """What an account no longer needs of its cover goes back to its source."""
    pay_cover(ledger, event.target, event.source, event.amount, -1)


def draw_reserve(ledger: Ledger, event: e.ReserveDrawn) -> None:
    """The reserve puts an amount into the pool."""
    fill_reserve(ledger, minus(ZERO, money(event.amount.triple)))


def count_done_task(ledger: Ledger, event: e.TaskCompleted) -> None:
    """The open account that pays for a task counts it as done, and whether its estimate was good."""
    parent = ledger.tasks.known[event.task].parent
    if event.outcome == "completed" and parent is not None:
        done, good = ledger.done.get(parent, (0, 0))
        ledger.done[parent] = done + 1, good + is_good(event.estimated_tokens, event.consumed.tokens or 0)
