"""How levels, an operator's orders and warnings change an account."""

from decimal import Decimal

from tallystick.events import catalog as e
from tallystick.events.state.accounts import Balances
from tallystick.events.state.agent_leases import hear
from tallystick.events.state.ledger import Ledger


def change_level(balances: Balances, event: e.LevelChanged) -> None:
    """An account has another level."""
    balances.accounts[event.agent].level = e.LEVELS.index(event.level)


def throttle(balances: Balances, event: e.AgentThrottled) -> None:
    """An operator slows an account."""
    balances.accounts[event.agent].throttle = Decimal(event.rate)


def stop(balances: Balances, event: e.AgentStopped) -> None:
    """An operator stops an account; an id without one is stopped by `stop_id`."""
    account = balances.accounts.get(event.agent)
    if account is not None:
        account.stopped = event.reason


def stop_id(ledger: Ledger, event: e.AgentStopped) -> None:
    """An operator stops an id without an open account."""
    if event.agent not in ledger.accounts:
        ledger.stops[event.agent] = event.reason


def resume(balances: Balances, event: e.AgentResumed) -> None:
    """An operator's throttle and stop of an account end."""
    account = balances.accounts.get(event.agent)
    if account is not None:
        account.throttle = None
        account.stopped = None
        account.overdrawn = False


def overdraw(balances: Balances, event: e.OverdraftExceeded) -> None:
    """An account is stopped for what others cover for it."""
    balances.accounts[event.agent].overdrawn = True


def repay(balances: Balances, event: e.OverdraftRepaid) -> None:
    """An account is stopped no longer for what others cover for it."""
    balances.accounts[event.agent].overdrawn = False


def resume_id(ledger: Ledger, event: e.AgentResumed) -> None:
    """An operator's stop of an id without an open account ends."""
    ledger.stops.pop(event.agent, None)


def warn(balances: Balances, event: e.ExhaustionWarned) -> None:
    """An account is warned, once, that its budget runs out; its next reply carries the warning."""
    account = balances.accounts[event.agent]
    account.warned = True
    account.warning = event.exhausted_in_seconds


def give_last_call(balances: Balances, event: e.LastCallGiven) -> None:
    """An account was given its last call."""
    account = balances.accounts[event.agent]
    account.called = max(account.called, 1)


_BY_AGENTS = frozenset({"Reserve", "AllocateFromPool", "BorrowFromPool", "ReturnToPool"})
"""What agents ask for themselves: also where it is refused, they are alive."""


def hear_refused(balances: Balances, event: e.RequestRefused) -> None:
    """A request that was refused is a sign of life of the agent that made it."""
    account = balances.accounts.get(event.agent or "") if event.request in _BY_AGENTS else None
    if account is not None:
        hear(account, event.at)


Orders = e.AgentThrottled | e.AgentStopped | e.AgentResumed | e.OverdraftExceeded | e.OverdraftRepaid


def forget_orders(ledger: Ledger, event: Orders) -> None:
    """Another order is in force for an account and all below it."""
    ledger.orders.forget()
